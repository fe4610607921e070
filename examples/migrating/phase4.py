"""Phase 4: each process records its own rows, and devices are not waited for. No metric is gathered."""

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

            with sl.record_timing("rollout") as rollout_timing:
                rollout_timing.since(params["position"])  # what is left of the last update is not its time
                completions = task.rollout(params, prompts, step)

            with sl.record_timing("reward"):
                rewards, parts = task.score(completions)
                advantages = task.group_advantages(rewards)

            lengths = completions.mask.sum(axis=1)
            length = task.longest(lengths)  # no metric: the batch must have one shape everywhere

            with sl.record_timing("update") as update_timing:
                batch = task.shard(mesh, completions, advantages, length)
                params, meta = task.update(params, batch)
                update_timing.until(meta["loss"])  # the time ends when the device is done; nobody waits

        tokens = int(lengths.sum())
        with sl.scope("train"):
            sl.scalar(loss=meta["loss"], entropy=meta["entropy"])
            sl.scalar("batch/local", len(rewards))
            sl.total("batch/global", len(rewards))
            sl.total("valid_tokens", tokens)
            sl.rate("valid_tokens", tokens, over="step")
            sl.summary("seq_len/prompt", (prompts >= 0).sum(axis=1), emit=("mean", "max"))
            sl.summary("completion_length", lengths, emit=("mean", "max"))
            sl.summary("reward/total", rewards)
            sl.summary("advantage", advantages)
            for name, values in parts.items():
                sl.summary(f"reward/{name}", values, emit=("mean",))
        run.commit(step)

        if step % options.eval_every == 0:
            with sl.scope("eval"):
                with sl.record_timing("generate"):
                    correct = task.evaluate(params, task.test_prompts())
                sl.summary("accuracy", correct, emit=("mean",))
                sl.text("accuracy/split", "test")
            run.commit(step)


if __name__ == "__main__":
    main()
