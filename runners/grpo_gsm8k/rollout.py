"""One step's completions: what sampling gave and what it is worth, on the host, and what the update needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


class Batch(NamedTuple):
    """One micro-batch, rows split over the mesh. P and C: prompt and completion length."""

    tokens: Any  # (B, P + C) int32
    valid: Any  # (B, P + C) bool: prompt and completion tokens that exist
    mask: Any  # (B, C) bool: completion tokens that are trained
    advantages: Any  # (B,) float32
    old_logprobs: Any  # (B, C) float32 under the policy that sampled
    ref_logprobs: Any  # (B, C) float32 under the frozen reference; zeros when there is none


@dataclass(frozen=True)
class Rollout:
    """This process's rows. Q prompts, R = Q * group completions (a prompt's group together)."""

    prompts: np.ndarray  # (R, P) int32, each prompt repeated for its group
    prompt_valid: np.ndarray  # (R, P) bool
    tokens: np.ndarray  # (R, C) int32
    mask: np.ndarray  # (R, C) bool, up to and including the end token
    logprobs: np.ndarray  # (R, C) float32 when sampled
    ref_logprobs: np.ndarray  # (R, C) float32 under the reference; zeros when there is none
    rewards: np.ndarray  # (R,) float64, the weighted total
    reward_parts: dict[str, np.ndarray]  # each (R,) float64
    zero_variance: np.ndarray  # (Q,) bool
    advantages: np.ndarray  # (R,) float32
    flow: int = 0  # the timeline's arrow from where all this was made; 0: there is none

    def micro_batches(self, count: int) -> list[Batch]:
        """The rows in `count` equal parts, still on the host."""
        whole = Batch(
            tokens=np.concatenate([self.prompts, self.tokens], axis=1),
            valid=np.concatenate([self.prompt_valid, self.mask], axis=1),
            mask=self.mask,
            advantages=self.advantages,
            old_logprobs=self.logprobs,
            ref_logprobs=self.ref_logprobs,
        )
        return [Batch(*part) for part in zip(*(np.split(x, count) for x in whole), strict=True)]

    def with_reference(self, ref_logprobs: np.ndarray) -> Rollout:
        """The same rows with the reference's log-probabilities, (R, C) float32."""
        return replace(self, ref_logprobs=ref_logprobs)
