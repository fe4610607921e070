"""Another runner as it was: a trainer with callbacks, which log by hand, under names of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np

from examples.migrating import sft_task as task
from examples.migrating.task import initialize, make_mesh, parse_options
from examples.migrating.wandb_utils import maybe_init_wandb


class Callback(Protocol):
    def on_step(self, step: int, loss: float, seconds: float) -> None: ...
    def on_evaluate(self, step: int, ranks: np.ndarray) -> None: ...


class LogToWandb:
    """What the trainer tells, in the names of this runner; on process 0."""

    def __init__(self, wandb: Any) -> None:
        self.wandb = wandb
        self.best = (-1.0, 0)

    def on_step(self, step: int, loss: float, seconds: float) -> None:
        metrics = {
            "train/loss": loss,
            "train/effective_batch_size": task.BATCH,
            "train/step_time_sec": seconds,
            "train/samples_per_sec": task.BATCH / seconds,
        }
        self.wandb.log(metrics, step=step)

    def on_evaluate(self, step: int, ranks: np.ndarray) -> None:
        metrics: dict[str, Any] = {"eval/invalid_prediction_count": int((ranks >= task.ITEMS).sum())}
        for k in (1, 10):
            metrics[f"eval/hr@{k}"] = float((ranks < k).mean())
            metrics[f"eval/ndcg@{k}"] = float(np.where(ranks < k, 1 / np.log2(ranks + 2), 0).mean())
        self.best = max(self.best, (metrics["eval/ndcg@10"], step), key=lambda best: best[0])
        metrics["eval/best_metric_value"], metrics["eval/best_metric_step"] = self.best
        self.wandb.log(metrics, step=step)


def main() -> None:
    options = parse_options()
    initialize()
    wandb = maybe_init_wandb(
        cfg=vars(options), project="items", name=options.name, mode=options.wandb_mode,
        process_index=jax.process_index(),
    )  # fmt: skip
    train(options.steps, options.eval_every, [LogToWandb(wandb)] if wandb is not None else [])
    if wandb is not None:
        wandb.finish()


def train(steps: int, eval_every: int, callbacks: Sequence[Callback]) -> None:
    mesh = make_mesh()
    params = task.initial_params(mesh)
    for step in range(1, steps + 1):
        start = time.perf_counter()
        params, device_loss = task.update(params, *task.batch(mesh, step))
        loss = float(device_loss)
        seconds = time.perf_counter() - start
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss {loss} at step {step}")
        for callback in callbacks:
            callback.on_step(step, loss, seconds)
        if step % eval_every == 0 and callbacks:
            ranks = task.rank_test_items(params)
            for callback in callbacks:
                callback.on_evaluate(step, ranks)


if __name__ == "__main__":
    main()
