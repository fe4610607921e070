"""The W&B helper of the old code base: best effort, process 0 only, and a file beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Mode = Literal["online", "offline", "disabled"]


class LoggedRun:
    """What the runner takes for the `wandb` module."""

    def __init__(self, path: Path, run: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")
        self.run = run

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        print(json.dumps({"step": step, **metrics}), file=self._file, flush=True)
        if self.run is not None:
            self.run.log(dict(metrics), step=step)

    def finish(self) -> None:
        self._file.close()
        if self.run is not None:
            self.run.finish()


def maybe_init_wandb(
    *, cfg: Mapping[str, Any], project: str, name: str, mode: Mode, process_index: int | None = None
) -> LoggedRun | None:
    """A run on process 0, None elsewhere."""
    if process_index not in (None, 0):
        return None
    folder = Path(cfg["output"]) / name
    run = None
    if mode != "disabled":
        import wandb

        run = wandb.init(project=project, name=name, mode=mode, config=dict(cfg), dir=str(folder.parent))
    return LoggedRun(folder / "log.jsonl", run)
