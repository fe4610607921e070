"""A loop that does it right, and names its metrics as the conventions have them."""

import jax
import numpy as np

import sightline as sl

from .model import train_step

tracker = sl.tracker("rollouts")


def record_rollout(rewards, lengths, functions):
    """Call inside scope `train`."""
    sl.summary("reward/total", rewards)  # lookalike: SL105
    for name, values in functions.items():
        sl.summary(f"reward/{name}", values, emit=("mean",))  # lookalike: SL105
    sl.summary("completion_length", lengths, emit=("mean", "max"))  # lookalike: SL105
    sl.total(valid_tokens=int(lengths.sum()))  # lookalike: SL105


@sl.scope("eval")
def evaluate(state, problems):
    with sl.record_timing("generate"):  # lookalike: SL105
        answers = state.answer(problems)
    sl.ratio("accuracy", np.sum(answers.correct), len(problems))  # lookalike: SL105
    sl.scalar("pass@1", answers.first.mean())  # lookalike: SL105
    sl.text(split="test")  # lookalike: SL105
    return answers


class Reporter:
    def __init__(self, stats: sl.StatsTracker):
        self.stats = stats

    def session(self, seconds, prefix):
        with self.stats.scope("rollout"), self.stats.scope("session"):
            self.stats.summary("total_s", seconds, quantiles=(0.5, 0.99))  # lookalike: SL105
        self.stats.scalar(f"{prefix}Score", 1.0)  # lookalike: SL105


def main(state, loader):
    with sl.start("runs", name="good", namespaces=("actor",)) as run:
        for step in run.steps(1000):
            with sl.scope("train"):
                with sl.record_timing("update") as timing:  # lookalike: SL104
                    state, metrics = train_step(state, next(loader))
                    timing.until(metrics["loss"])
                sl.scalar(loss=metrics["loss"], grad_norm=metrics["grad_norm"])  # lookalike: SL103
                sl.last(lr=3e-4)
                sl.rate("tokens", 4096, over="update")  # lookalike: SL105
                sl.scalar("time_limit", 3.0)  # lookalike: SL105
            sl.scalar("actor/entropy", metrics["entropy"])  # lookalike: SL105
            sl.scalar("time/train/step_avg_last10_s", timing.seconds)  # lookalike: SL104
            run.commit(step)
    with run.directory() as folder:
        folder.scalar("Not Ours", 1.0)  # lookalike: SL105
    return jax.device_get(state)
