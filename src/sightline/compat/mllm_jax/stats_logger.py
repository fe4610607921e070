"""MLLM-JAX's ``StatsLogger``: the one writer of a runner, over the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sightline.compat.mllm_jax.saying import say_once
from sightline.compat.mllm_jax.wandb_module import SETTINGS, maybe_init_wandb
from sightline.config import StatsLoggerConfig


@dataclass(frozen=True)
class WandbRunSpec:
    """The run that a runner would make with W&B.

    Attributes:
        project, name: where it lies: ``runs/<project>/<name>``.
        mode: see :func:`maybe_init_wandb`.
    """

    project: str
    mode: str = "online"
    name: str | None = None


class StatsLogger:
    """Commits dicts of values; make one on every process, of which the first writes.

    Args:
        cfg: the run's configuration.
        wandb: the run.
        process_index: None: found out, without starting a back end of JAX.
        settings: see :func:`maybe_init_wandb`.

    Example:
        >>> import dataclasses, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     here = dataclasses.replace(SETTINGS, log_dir=folder)
        ...     logger = StatsLogger(cfg={}, wandb=WandbRunSpec("demo"), process_index=0, settings=here)
        ...     steps = [logger.commit({"loss": 0.5}), logger.commit([{"loss": 0.4}, {"loss": 0.3}], step=7)]
        ...     logger.finish()
        >>> steps
        [0, 8]
    """

    def __init__(
        self,
        *,
        cfg: Any,
        wandb: WandbRunSpec,
        process_index: int | None = None,
        settings: StatsLoggerConfig = SETTINGS,
    ) -> None:
        self._wandb = maybe_init_wandb(
            cfg=cfg,
            project=wandb.project,
            name=wandb.name,
            mode=wandb.mode,
            process_index=process_index,
            settings=settings,
        )
        self._last_step = -1

    def commit(
        self, data: Mapping[str, Any] | Iterable[Mapping[str, Any]], *, step: int | None = None
    ) -> int:
        """Commits one dict, or several at consecutive steps; returns the last step used.

        Args:
            data: names and values. ``<key>__count`` are counts, which the journal keeps apart.
            step: of the first; None: the step after the last one. A lower step than the last counts as that.
        """
        try:
            several = [data] if isinstance(data, Mapping) else list(data)
            at = self._last_step + 1 if step is None else max(int(step), self._last_step)
        except (TypeError, ValueError) as error:
            say_once("commit", "a commit is not kept: %s", error)
            return self._last_step
        for offset, each in enumerate(several):
            if self._wandb is not None:
                self._wandb.log(each, step=at + offset)
            self._last_step = max(self._last_step, at + offset)
        return self._last_step

    def finish(self) -> None:
        """Ends the run, once all is written."""
        if self._wandb is not None:
            self._wandb.finish()
