"""What the loop tells whoever wants to know, beside what it records itself."""

from __future__ import annotations

from dataclasses import dataclass

from runners.common import callbacks
from runners.minionerec_rl.rollout import Batch, Rollout
from runners.recommendation.evaluation import Evaluation


@dataclass(frozen=True)
class Step:
    """One GRPO step, as this process sees it."""

    step: int
    rollout: Rollout  # this process's prompts


@dataclass(frozen=True)
class Evaluated:
    """One evaluation. There is one on the root alone."""

    step: int
    scope: str  # "eval" or "eval_full"
    evaluation: Evaluation


Callback = callbacks.Callback[Batch, Step, Evaluated]
