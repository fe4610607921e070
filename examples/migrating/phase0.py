"""Phase 0: the runner as it was. Times by hand, arrays gathered for each metric, `wandb.log` on process 0."""

from __future__ import annotations

import argparse
import time
from collections import deque
from typing import Any

import jax

from examples.migrating import task
from examples.migrating.wandb_utils import maybe_init_wandb


def main() -> None:
    options = task.parse_options()
    task.initialize()
    wandb = maybe_init_wandb(
        cfg=vars(options), project="adding", name=options.name, mode=options.wandb_mode,
        process_index=jax.process_index(),
    )  # fmt: skip
    train(options, wandb)
    if wandb is not None:
        wandb.finish()


def train(options: argparse.Namespace, wandb: Any) -> None:
    print(f"[{jax.process_index()}] {len(task.my_rows(task.PROMPTS))} of {task.PROMPTS} prompts a step")
    mesh = task.make_mesh()
    params = task.initial_params(mesh)
    step_times: deque[float] = deque(maxlen=10)
    for step in range(1, options.steps + 1):
        times = {}
        step_start = time.perf_counter()
        prompts = task.draw_prompts(step)

        start = time.perf_counter()
        completions = task.rollout(params, prompts, step)
        times["rollout"] = time.perf_counter() - start

        start = time.perf_counter()
        rewards, parts = task.score(completions)
        advantages = task.group_advantages(rewards)
        times["reward"] = time.perf_counter() - start

        lengths = completions.mask.sum(axis=1)
        length = task.longest(lengths)  # no metric: the batch must have one shape everywhere

        start = time.perf_counter()
        batch = task.shard(mesh, completions, advantages, length)
        params, meta = task.update(params, batch)
        loss, entropy = float(meta["loss"]), float(meta["entropy"])
        times["update"] = time.perf_counter() - start

        times["step"] = time.perf_counter() - step_start
        step_times.append(times["step"])

        all_rewards = task.gather(rewards)
        all_advantages = task.gather(advantages)
        all_parts = {name: task.gather(values) for name, values in parts.items()}
        prompt_lengths = task.gather((prompts >= 0).sum(axis=1))
        all_lengths = task.gather(lengths)
        tokens = int(task.gather(lengths.sum(keepdims=True)).sum())
        rows = int(task.gather(lengths * 0 + 1).sum())
        metrics = {
            "train-other/loss": loss,
            "train-other/entropy": entropy,
            "train-other/batch_global": rows,
            "train-other/batch_local": len(rewards),
            "train-other/total_valid_token_count": tokens,
            "train-seq_len/prompt/mean": float(prompt_lengths.mean()),
            "train-seq_len/prompt/max": int(prompt_lengths.max()),
            "train-seq_len/completion/mean": float(all_lengths.mean()),
            "train-seq_len/completion/max": int(all_lengths.max()),
            "throughput/train/valid_tokens_per_s": tokens / times["step"],
        }
        for name, values in all_parts.items():
            metrics[f"train-reward/func/reward_{name}/mean"] = float(values.mean())
        for name, values in {"total": all_rewards, "advantage": all_advantages}.items():
            metrics[f"train-reward/{name}/mean"] = float(values.mean())
            metrics[f"train-reward/{name}/std"] = float(values.std())
            metrics[f"train-reward/{name}/min"] = float(values.min())
            metrics[f"train-reward/{name}/max"] = float(values.max())
        for name, seconds in times.items():
            metrics[f"time/train/{name}_s"] = seconds
        if len(step_times) >= 10:
            metrics["time/train/step_avg_last10_s"] = sum(step_times) / len(step_times)
        if wandb is not None:
            wandb.log(metrics, step=step)
            print(f"step={step} loss={loss:.4f} reward={all_rewards.mean():.4f} entropy={entropy:.4f}")

        if step % options.eval_every == 0:
            start = time.perf_counter()
            correct = task.evaluate(params, task.test_prompts())
            seconds = time.perf_counter() - start
            all_correct = task.gather(correct)
            scores = {
                "eval/accuracy/mean": float(all_correct.mean()),
                "eval/accuracy/split": "test",
                "time/eval/generate_s": seconds,
            }
            if wandb is not None:
                wandb.log(scores, step=step)


if __name__ == "__main__":
    main()
