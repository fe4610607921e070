"""A sink that hands the commits of the journal on to W&B: a thread of its own, and no training step waits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Mode = Literal["online", "offline", "disabled"]
NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class WandbSink:
    """Logs each commit under its step, so that `_step` is what it was and commits of one step share a row.

    Args:
        run: what `wandb.init` gave.
    """

    name = "wandb"

    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            if record["type"] == "commit":
                odd = {key: NONFINITE[kind] for key, kind in record.get("nonfinite", {}).items()}
                self._run.log({**record["values"], **odd, **record.get("texts", {})}, step=record["step"])

    def close(self) -> None:
        self._run.finish()


def wandb_sinks(
    *, project: str, name: str, mode: Mode, config: Mapping[str, Any], folder: str
) -> list[WandbSink]:
    """The sink of a run that is to be shown in W&B; none otherwise. Call it on process 0."""
    if mode == "disabled":
        return []
    import wandb

    Path(folder).mkdir(parents=True, exist_ok=True)
    return [WandbSink(wandb.init(project=project, name=name, mode=mode, config=dict(config), dir=folder))]
