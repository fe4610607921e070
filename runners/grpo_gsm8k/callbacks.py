"""What the loop tells whoever wants to know, beside what it records itself."""

from __future__ import annotations

from dataclasses import dataclass

from runners.common import callbacks
from runners.grpo_gsm8k.evaluate import EvalResult
from runners.grpo_gsm8k.rollout import Batch, Rollout


@dataclass(frozen=True)
class Step:
    """One GRPO step, as this process sees it."""

    step: int
    rollout: Rollout  # this process's rows


@dataclass(frozen=True)
class Evaluated:
    """This process's share of an evaluation."""

    step: int
    scope: str  # "eval" or "eval_full"
    result: EvalResult


Callback = callbacks.Callback[Batch, Step, Evaluated]
