"""The same with the code base's own tracker and logger: every process records, one dict a step comes out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import jax
import numpy as np

from plugins.common.observability import StatsLogger, StatsTracker, WandbRunSpec
from plugins.common.observability.perf_tracer import PerfTracer
from plugins.common.observability.text_logging import get_logger, setup_file_logging

logger = get_logger(__name__)


@dataclass(frozen=True)
class WandbConfig:
    project: str = "toy-sft"
    mode: str = "offline"
    name: str | None = None


@dataclass(frozen=True)
class ToySftConfig:
    steps: int = 4
    wandb: WandbConfig = field(default_factory=WandbConfig)


def losses(process: int, step: int) -> np.ndarray:
    return np.random.default_rng([process, step]).normal(size=5 + process)


def run_toy_sft(cfg: ToySftConfig) -> None:
    stats_logger = StatsLogger(
        cfg=cfg,
        wandb=WandbRunSpec(project=cfg.wandb.project, mode=cfg.wandb.mode, name=cfg.wandb.name),
        process_index=jax.process_index(),
    )
    setup_file_logging("logs", process_index=jax.process_index())
    tracker, tracer = StatsTracker(), PerfTracer()

    for step in range(1, cfg.steps + 1):
        values = losses(jax.process_index(), step)
        with tracker.scope("train"), tracker.record_timing("step"):
            tracker.scalar(loss=values.mean(), tokens=len(values))
            tracker.summary("token_loss", values)
            with tracer.trace_scope("data"):
                pass
        if step == 2 and jax.process_index() == 1:
            tracker.scalar(only_here=1.0)
        log = tracker.export(reduce=True)
        log.update(tracer.export(reduce=True))
        stats_logger.commit(log, step=step)
        logger.info("step %d is done", step)

    if jax.process_index() == 0:
        stats_logger.commit({"eval/hr@10": 0.5, "eval/invalid_prediction_count": 0}, step=cfg.steps)
    stats_logger.finish()


if __name__ == "__main__":
    jax.distributed.initialize(
        os.environ["JAX_COORDINATOR_ADDRESS"],
        int(os.environ["JAX_NUM_PROCESSES"]),
        int(os.environ["JAX_PROCESS_ID"]),
    )
    run_toy_sft(ToySftConfig())
