"""What a loop tells whoever wants to know: recorders, tests, tools."""

from __future__ import annotations

from typing import Generic, TypeVar

from runners.common.optimising import State

BatchT = TypeVar("BatchT")
StepT = TypeVar("StepT")
EvaluatedT = TypeVar("EvaluatedT")


class Callback(Generic[BatchT, StepT, EvaluatedT]):
    """Override what you need. Each is called before the commit of what it is told, so it may record.

    What a step and an evaluation are, each runner says in its own `callbacks`.
    """

    def on_update(self, state: State, batches: list[BatchT]) -> None:
        """On every process: what the next optimiser step is made from, in global arrays."""

    def on_step(self, step: StepT) -> None:
        """On every process, inside scope `train`."""

    def on_evaluation(self, evaluated: EvaluatedT) -> None:
        """On every process that evaluates, inside the evaluation's scope."""
