"""A training loop in the code base's style: whole arrays are gathered, and process 0 logs a dict a step."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from plugins.common.wandb_utils import maybe_init_wandb


@dataclass(frozen=True)
class ToyConfig:
    steps: int = 12
    eval_every_steps: int = 4
    wandb_project: str = "toy-grpo"
    wandb_mode: str = "online"
    wandb_name: str | None = "first try"
    # Who asks for W&B: "index" gives the process's index, "root" asks on process 0 only, "all" just asks.
    wandb_from: str = "index"


def _stats_1d(x: np.ndarray) -> dict[str, float]:
    return {"mean": float(x.mean()), "std": float(x.std()), "min": float(x.min()), "max": float(x.max())}


def _init_wandb(cfg: ToyConfig) -> Any | None:
    spec = {"cfg": cfg, "project": cfg.wandb_project, "name": cfg.wandb_name, "mode": cfg.wandb_mode}
    if cfg.wandb_from == "index":
        return maybe_init_wandb(**spec, process_index=jax.process_index())
    if cfg.wandb_from == "root":
        return maybe_init_wandb(**spec) if jax.process_index() == 0 else None
    return maybe_init_wandb(**spec)


def run_toy_grpo(cfg: ToyConfig) -> None:
    wandb = _init_wandb(cfg)
    rng = np.random.default_rng(jax.process_index())
    update = jax.jit(lambda w, r: (w - 0.1 * jnp.mean(r), jnp.mean((r - w) ** 2)))
    weights = jnp.zeros(())
    step_times: list[float] = []

    for step in range(cfg.steps):
        t_step0 = time.perf_counter()
        rewards = rng.normal(size=8).astype(np.float32)
        rewards_global = np.asarray(process_allgather(rewards)).reshape(-1)
        stats = _stats_1d(rewards_global)

        t_update0 = time.perf_counter()
        weights, loss = update(weights, rewards_global)
        t_update = time.perf_counter() - t_update0
        step_times.append(time.perf_counter() - t_step0)

        train_log: dict[str, Any] = {
            "train-other/loss": loss,
            "train-other/batch_global": 8 * jax.process_count(),
            "train-reward/total/mean": stats["mean"],
            "train-reward/total/std": stats["std"],
            "train-reward/total/min": np.float32(stats["min"]),
            "train-reward/total/max": stats["max"],
            "optimizer": {"lr": 0.1, "skipped": False},
            "time/train/update_s": float(t_update),
            "time/train/step_s": step_times[-1],
        }
        if len(step_times) >= 10:
            train_log["time/train/step_avg_last10_s"] = float(sum(step_times[-10:]) / 10.0)
        if wandb is not None and jax.process_index() == 0:
            wandb.log(train_log, step=step)

        if (step + 1) % cfg.eval_every_steps == 0:
            rewards_eval = np.asarray(process_allgather(rng.normal(size=4))).reshape(-1)
            eval_logs = {f"eval/reward/total/{k}": v for k, v in _stats_1d(rewards_eval).items()}
            if wandb is not None and jax.process_index() == 0:
                wandb.log(eval_logs, step=step)

    correct = np.asarray(process_allgather(rng.integers(0, 2, size=10)))
    full_eval_logs: dict[str, Any] = {
        "eval_full/split": "test",
        "eval_full/questions_global": int(correct.size),
        "eval_full/accuracy": float(correct.mean()),
        # Backward-compatible name.
        "eval_full/accuracy/pass_at_1": float(correct.mean()),
    }
    if wandb is not None and jax.process_index() == 0:
        wandb.log(full_eval_logs, step=cfg.steps - 1)
        wandb.log({"sample/text": "the end"})


if __name__ == "__main__":
    if int(os.environ.get("JAX_NUM_PROCESSES", "1")) > 1:
        jax.distributed.initialize(
            os.environ["JAX_COORDINATOR_ADDRESS"],
            int(os.environ["JAX_NUM_PROCESSES"]),
            int(os.environ["JAX_PROCESS_ID"]),
        )
    run_toy_grpo(ToyConfig(wandb_from=sys.argv[1]))
