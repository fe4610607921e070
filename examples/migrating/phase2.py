"""Phase 2: a tracker records what was put into dicts. The arrays are gathered as before."""

from __future__ import annotations

import argparse
from collections import deque
from typing import Any

import jax

import sightline as sl
from examples.migrating import task
from examples.migrating.wandb_journal import maybe_init_wandb


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
        with sl.scope("train"), sl.record_timing("step") as timing:
            prompts = task.draw_prompts(step)

            with sl.record_timing("rollout"):
                completions = task.rollout(params, prompts, step)

            with sl.record_timing("reward"):
                rewards, parts = task.score(completions)
                advantages = task.group_advantages(rewards)

            lengths = completions.mask.sum(axis=1)
            length = task.longest(lengths)  # no metric: the batch must have one shape everywhere

            with sl.record_timing("update"):
                batch = task.shard(mesh, completions, advantages, length)
                params, meta = task.update(params, batch)
                loss, entropy = float(meta["loss"]), float(meta["entropy"])
        step_times.append(timing.seconds)

        all_rewards = task.gather(rewards)
        all_advantages = task.gather(advantages)
        all_parts = {name: task.gather(values) for name, values in parts.items()}
        prompt_lengths = task.gather((prompts >= 0).sum(axis=1))
        all_lengths = task.gather(lengths)
        tokens = int(task.gather(lengths.sum(keepdims=True)).sum())
        rows = int(task.gather(lengths * 0 + 1).sum())
        with sl.scope("train-other"):
            sl.scalar(loss=loss, entropy=entropy, batch_global=rows, batch_local=len(rewards))
            sl.scalar(total_valid_token_count=tokens)
        with sl.scope("train-seq_len"):
            sl.summary("prompt", prompt_lengths, emit=("mean", "max"))
            sl.summary("completion", all_lengths, emit=("mean", "max"))
        with sl.scope("train-reward"):
            sl.summary("total", all_rewards)
            sl.summary("advantage", all_advantages)
            for name, values in all_parts.items():
                sl.summary(f"func/reward_{name}", values, emit=("mean",))
        sl.scalar("throughput/train/valid_tokens_per_s", tokens / timing.seconds)
        if len(step_times) >= 10:
            sl.scalar("time/train/step_avg_last10_s", sum(step_times) / len(step_times))
        stats = sl.export(reduce="local")  # on every process, since each has recorded it
        if wandb is not None:
            wandb.log(stats, step=step)
            print(f"step={step} loss={loss:.4f} reward={all_rewards.mean():.4f} entropy={entropy:.4f}")

        if step % options.eval_every == 0:
            with sl.scope("eval"):
                with sl.record_timing("generate"):
                    correct = task.evaluate(params, task.test_prompts())
                sl.summary("accuracy", task.gather(correct), emit=("mean",))
                sl.text("accuracy/split", "test")
            stats = sl.export(reduce="local")
            if wandb is not None:
                wandb.log(stats, step=step)


if __name__ == "__main__":
    main()
