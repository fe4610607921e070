"""Phase 1's W&B helper: called as the old one, and what is logged is committed to the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sightline as sl
from examples.migrating.wandb_utils import Mode


class CommittedRun:
    """What the runner takes for the `wandb` module."""

    def __init__(self, run: sl.Run) -> None:
        self.run = run

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        self.run.commit(step, metrics)  # values that are final already; W&B reads them from the journal

    def finish(self) -> None:
        self.run.finish()


def maybe_init_wandb(
    *, cfg: Mapping[str, Any], project: str, name: str, mode: Mode, process_index: int | None = None
) -> CommittedRun | None:
    """A run on process 0, None elsewhere; but every process takes part in it, from the first phase on."""
    settings = sl.StatsLoggerConfig(
        sinks=["wandb"], wandb=sl.WandbConfig(project=project, name=name, mode=mode),
        naming="off",  # they are old names
    )  # fmt: skip
    run = sl.start(cfg["output"], name=name, config=cfg, logger=settings)
    return CommittedRun(run) if process_index in (None, 0) else None
