"""Phase 5: the other runner records under the same names. Its callback stays a callback, on every process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

import sightline as sl
from examples.migrating import sft_task as task
from examples.migrating.task import initialize, make_mesh, my_rows, parse_options


class Callback(Protocol):
    def on_step(self, step: int, loss: float) -> None: ...
    def on_evaluate(self, step: int, ranks: np.ndarray) -> None: ...


class Record:
    """What the trainer tells, in the names of all runners; each process its own share."""

    def __init__(self, run: sl.Run) -> None:
        self.run = run
        self.best = (-1.0, 0)

    def on_step(self, step: int, loss: float) -> None:
        with sl.scope("train"):
            sl.scalar(loss=loss)
            rows = len(my_rows(task.BATCH))
            sl.total("batch/global", rows)
            sl.rate("samples", rows, over="step")
        self.run.commit(step)

    def on_evaluate(self, step: int, ranks: np.ndarray) -> None:
        with sl.scope("eval"):
            sl.total(invalid_predictions=(ranks >= task.ITEMS).sum())
            for k in (1, 10):
                gains = np.where(ranks < k, 1 / np.log2(ranks + 2), 0)
                sl.ratio(f"hr@{k}", (ranks < k).sum(), ranks.size)
                sl.ratio(f"ndcg@{k}", gains.sum(), ranks.size)
            self.best = max(self.best, (float(gains.mean()), step), key=lambda best: best[0])
            sl.last("best_ndcg@10", self.best[0])
            sl.last("best_step", self.best[1])
        self.run.commit(step)


def main() -> None:
    options = parse_options()
    initialize()
    settings = sl.StatsLoggerConfig(
        sinks=["console", "wandb"], wandb=sl.WandbConfig(project="items", mode=options.wandb_mode)
    )
    with sl.start(
        options.output, name=options.name, config=vars(options), logger=settings, aliases="sid_sft"
    ) as run:
        steps = run.steps(options.steps + 1, start=1)
        train(steps, options.eval_every, [Record(run)], evaluates=run.is_root)


def train(steps: Iterable[int], eval_every: int, callbacks: Sequence[Callback], *, evaluates: bool) -> None:
    mesh = make_mesh()
    params = task.initial_params(mesh)
    for step in steps:
        with sl.scope("train"), sl.record_timing("step"):
            params, device_loss = task.update(params, *task.batch(mesh, step))
            loss = float(device_loss)  # sightline: allow the trainer stops at a loss that is not finite
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss {loss} at step {step}")
        for callback in callbacks:
            callback.on_step(step, loss)
        if step % eval_every == 0 and evaluates:
            with sl.trace_scope("evaluate"):
                ranks = task.rank_test_items(params)
            for callback in callbacks:
                callback.on_evaluate(step, ranks)


if __name__ == "__main__":
    main()
