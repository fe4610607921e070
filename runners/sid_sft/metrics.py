"""What the runner records, and under which names: the only file that knows them.

The loop calls `Recorder`, as it would any other callback. What an update gives are device arrays that hold
for all processes, which count once; what this process has, it records as its share. Nothing is gathered and
nothing waits. An evaluation is recorded by the root, which alone has it.
"""

from __future__ import annotations

import sightline as sl
from runners.recommendation.metrics import record_ranking
from runners.sid_sft.callbacks import Callback, Evaluated, Step


class Recorder(Callback):
    """Everything that is recorded but the timings, which the loop takes around what it does."""

    def on_step(self, step: Step) -> None:
        update = step.update
        sl.ratio("loss", update.loss, update.tokens)
        for task, loss in update.task_loss.items():
            sl.ratio(f"task_loss/{task}", loss, update.task_tokens[task])
        sl.scalar(grad_norm=update.grad_norm)
        sl.last(lr=update.lr)
        sl.total("batch/global", step.examples)
        sl.total("tokens", step.tokens)
        sl.rate("samples", step.examples, over="step")
        sl.rate("tokens", step.tokens, over="step")

    def on_evaluation(self, evaluated: Evaluated) -> None:
        record_ranking(evaluated.evaluation)
        sl.last(epoch=evaluated.epoch)
        sl.text(split=evaluated.split)
        if evaluated.best is not None:
            sl.last("best_ndcg@10", evaluated.best.value)
            sl.last(best_step=evaluated.best.step)
