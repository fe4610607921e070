"""Phase 3: every process commits. Names are sightline's, and aliases keep the old ones alive."""

from __future__ import annotations

import argparse

import jax

import sightline as sl
from examples.migrating import task

#: What is printed for each step, and grepped for.
LINE = "step={step} loss={train/loss:.4f} reward={train/reward/total/mean:.4f} entropy={train/entropy:.4f}"


def main() -> None:
    options = task.parse_options()
    task.initialize()
    settings = sl.StatsLoggerConfig(
        sinks=["console", "wandb"], wandb=sl.WandbConfig(project="adding", mode=options.wandb_mode)
    )
    with sl.start(
        options.output, name=options.name, config=vars(options), logger=settings,
        aliases="grpo_gsm8k", console_format=LINE,
    ) as run:  # fmt: skip
        train(options, run)


def train(options: argparse.Namespace, run: sl.Run) -> None:
    print(f"[{jax.process_index()}] {len(task.my_rows(task.PROMPTS))} of {task.PROMPTS} prompts a step")
    mesh = task.make_mesh()
    params = task.initial_params(mesh)
    for step in run.steps(options.steps + 1, start=1):
        with sl.scope("train"), sl.record_timing("step"):
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

        all_rewards = task.gather(rewards)
        all_advantages = task.gather(advantages)
        all_parts = {name: task.gather(values) for name, values in parts.items()}
        prompt_lengths = task.gather((prompts >= 0).sum(axis=1))
        all_lengths = task.gather(lengths)
        tokens = int(task.gather(lengths.sum(keepdims=True)).sum())
        rows = int(task.gather(lengths * 0 + 1).sum())
        with sl.scope("train"):
            sl.scalar(loss=loss, entropy=entropy)
            sl.scalar("batch/local", len(rewards))
            sl.total("batch/global", rows, replicated=True)
            sl.total("valid_tokens", tokens, replicated=True)
            sl.rate("valid_tokens", tokens, over="step", replicated=True)
            sl.summary("seq_len/prompt", prompt_lengths, emit=("mean", "max"), replicated=True)
            sl.summary("completion_length", all_lengths, emit=("mean", "max"), replicated=True)
            sl.summary("reward/total", all_rewards, replicated=True)
            sl.summary("advantage", all_advantages, replicated=True)
            for name, values in all_parts.items():
                sl.summary(f"reward/{name}", values, emit=("mean",), replicated=True)
        run.commit(step)

        if step % options.eval_every == 0:
            with sl.scope("eval"):
                with sl.record_timing("generate"):
                    correct = task.evaluate(params, task.test_prompts())
                sl.summary("accuracy", task.gather(correct), emit=("mean",), replicated=True)
                sl.text("accuracy/split", "test")
            run.commit(step)


if __name__ == "__main__":
    main()
