"""What the loop tells whoever wants to know. It records nothing itself but how long things take."""

from __future__ import annotations

from dataclasses import dataclass

from runners.common import callbacks
from runners.recommendation.evaluation import Evaluation
from runners.sid_sft.sft import Batch, Update


@dataclass(frozen=True)
class Step:
    """One optimiser step, as this process sees it. Nothing in `update` has been waited for."""

    step: int
    examples: int  # this process's rows
    tokens: int  # answer tokens in them
    update: Update  # of all processes


@dataclass(frozen=True)
class Evaluated:
    """One evaluation. There is one on the root alone."""

    step: int
    scope: str  # "eval" or "eval_full"
    split: str  # which users
    epoch: float  # epochs trained so far
    evaluation: Evaluation
    best: Best | None  # of the evaluations of scope "eval", this one included


@dataclass(frozen=True)
class Best:
    """The best evaluation so far, by NDCG@10."""

    value: float
    step: int


#: On the root alone, which evaluates: `on_evaluation`.
Callback = callbacks.Callback[Batch, Step, Evaluated]
