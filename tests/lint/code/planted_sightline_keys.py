"""A loop that records with sightline, under names of its own, and not all the way."""

import time

import numpy as np

import sightline as sl
from sightline import StatsTracker

from .train import train_step

tracker = sl.tracker("rewards")


def rollout_stats(rewards, lengths):
    with tracker.scope("rollout"):
        tracker.summary("meanReward", rewards)  # expect: SL105
        tracker.scalar("num_prompts", len(lengths))  # expect: SL105
        tracker.summary("length", lengths)


class Evaluator:
    def __init__(self):
        self.stats = StatsTracker("eval")

    @sl.scope("eval")
    def run(self, outputs):
        sl.ratio("accuracy_pct", outputs.hits, outputs.total)  # expect: SL105
        self.stats.masked("Score", outputs.scores, outputs.mask)  # expect: SL105
        for split, value in outputs.by_split.items():
            sl.scalar(f"avg_score/{split}", value)  # expect: SL105


def main(state, loader, evaluator):
    with sl.start("runs", name="odd") as run:
        for step in run.steps(1000):
            with sl.scope("train"):
                t0 = time.perf_counter()
                state, metrics = train_step(state, next(loader))
                sl.scalar(
                    loss=float(metrics["loss"]),  # expect: SL103
                    gradNorm=metrics["grad_norm"],  # expect: SL105
                )
                sl.scalar("step_time", time.perf_counter() - t0)  # expect: SL104, SL105
                sl.last(learning_rate_=3e-4)  # expect: SL105
                sl.rate("tokens_per_sec", 4096)  # expect: SL105
            sl.scalar("actor/entropy", metrics["entropy"])  # expect: SL105
            with sl.record_timing("Eval Time"):  # expect: SL105
                evaluator.run(state)
            sl.summary("train/reward_mean", np.zeros(3))  # expect: SL105
            run.commit(step)
