"""Weights & Biases: one row of a run's history a commit, by the SDK in a process of its own.

What is stored is read from W&B's run files (offline) or asked of the server (online), so nothing is lost or
written twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sightline.errors import ConfigurationError
from sightline.sinks.apart import ApartSink
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.lineage import Rewind, check_rewind
from sightline.sinks.settings import check_types

_FIRST_INIT_S = 10.0

#: How a mode may be spelled, and what it is.
MODES = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
    "disable": "disabled",
    "off": "disabled",
    "shared": "shared",
}


@dataclass(frozen=True)
class WandbConfig:
    """Settings of the W&B sink. What is None is as W&B's own environment variables say, or its default.

    The API key comes from ``WANDB_API_KEY`` or ``wandb login``, never from here.

    Attributes:
        mode: ``"online"``, ``"offline"``, ``"shared"`` (others write to the same run too) or ``"disabled"``,
            also spelled ``"disable"`` or ``"off"``; None: as ``WANDB_MODE`` says, or online. Without an API
            key the run is written offline, with a warning.
        project: where the run stands at W&B.
        entity: whose project that is: a user's or a team's.
        name: of the run as it is shown; None: the run directory's.
        id: of the run; None: the one it had in its first attempt, or ``WANDB_RUN_ID``, or a new one.
        group: runs that are shown together.
        job_type: what the run does in its group.
        tags: words to find the run by.
        notes: a longer description.
        dir: where W&B's folder ``wandb`` goes; None: into the run directory.
        rewind: steps that a resumed run commits again: ``"continue"`` shows both, the second ones further to
            the right on the axis ``_step`` (on the axis ``step`` where they belong), ``"skip"`` keeps the
            first ones, and ``"fork"`` begins another run.
        system_metrics: whether W&B samples the machine.
        init_timeout_s: how long a server may take to begin a run; the first try gives it 10 s, and each
            further one twice as long, so that an outage is seen soon.
        finish_timeout_s: how long the last uploads may take at the end.
    """

    mode: str | None = None
    project: str | None = None
    entity: str | None = None
    name: str | None = None
    id: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: Sequence[str] = ()
    notes: str | None = None
    dir: str | Path | None = None
    rewind: Rewind = "continue"
    system_metrics: bool = False
    init_timeout_s: float = 60.0
    finish_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        check_types("wandb", self)
        check_rewind("wandb", self.rewind)
        if self.mode is not None:
            checked_mode(self.mode, "wandb mode")
        if self.id is not None and (not self.id.strip() or re.search(r"[/\\#?%:]", self.id)):
            raise ConfigurationError(rf"wandb id={self.id!r}: expected text without any of / \ # ? % :")
        if isinstance(self.tags, str):
            raise ConfigurationError(f"wandb tags={self.tags!r}: expected a list, as in [{self.tags!r}]")
        for name in ("init_timeout_s", "finish_timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"wandb {name}={getattr(self, name)!r}: expected a positive number")


def checked_mode(mode: str, where: str) -> str:
    """A mode by its usual name.

    Raises:
        ConfigurationError: there is no such mode.

    Example:
        >>> checked_mode("off", "mode")
        'disabled'
    """
    if mode not in MODES:
        raise ConfigurationError(f"{where}={mode!r}: expected one of {', '.join(map(repr, MODES))}")
    return MODES[mode]


def make(config: WandbConfig) -> WandbSink | DisabledSink:
    """The sink of these settings, in the mode that they or ``WANDB_MODE`` say.

    Raises:
        ConfigurationError: a ``WANDB_MODE`` that is none; without ``pip install 'sightline[wandb]'``, unless
            it is disabled.
    """
    if config.mode is not None:
        mode = checked_mode(config.mode, "wandb mode")
    else:
        mode = checked_mode(os.environ.get("WANDB_MODE") or "online", "WANDB_MODE")
    return DisabledSink() if mode == "disabled" else WandbSink(replace(config, mode=mode))


class DisabledSink:
    """Stores nothing, and so is behind with nothing."""

    name = "wandb"
    is_disabled = True

    def write(self, records: Sequence[Record]) -> None:
        """Nothing becomes of them."""

    def close(self) -> None:
        """Nothing is open."""


class WandbSink(ApartSink):
    """Writes a W&B run; the SDK is loaded in a child process only, where :mod:`sightline.sinks.wandb_run`
    uses it.

    Args:
        config: which run, and how; its mode is set.
    """

    name = "wandb"
    stores_at_close = True

    def __init__(self, config: WandbConfig) -> None:
        self.rewind: Rewind = config.rewind
        super().__init__(
            "sightline.sinks.wandb_run:make",
            config,
            open_s=config.init_timeout_s + 60.0,
            close_s=config.finish_timeout_s,
            without=["WANDB_SERVICE"],  # where W&B's own service for the training process listens, if any
        )
        self._longest_s = config.init_timeout_s
        self._given_s = min(_FIRST_INIT_S, self._longest_s)
        self.need("wandb", "sightline[wandb]", otherwise=", or set mode='disabled'")

    def open(self, run: SinkRun) -> int | None:
        """Begins or goes on with the W&B run; returns the ``seq`` of the last commit that it has."""
        self.settings["init_timeout_s"] = self._given_s
        self._given_s = min(2 * self._given_s, self._longest_s)
        return super().open(run)
