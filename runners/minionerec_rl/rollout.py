"""One step's candidates: what was found and what it is worth, on the host, and what the update needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from runners.recommendation.decoding import Candidates


class Batch(NamedTuple):
    """One micro-batch, prompts split over the mesh. P: prompt length, K candidates of C = L + 1 tokens."""

    prompts: Any  # (B, P) int32
    valid: Any  # (B, P) bool
    tokens: Any  # (B, K, L) int32: semantic ids; the end token follows
    mask: Any  # (B, K, C) bool: tokens that are trained, which is all of them
    advantages: Any  # (B, K) float32
    old_logprobs: Any = None  # (B, K, C) float32 under the policy that found the candidates
    ref_logprobs: Any = None  # (B, K, C) float32 under the frozen reference, when there is one


@dataclass(frozen=True)
class Rollout:
    """This process's prompts: Q of them, with K candidates each, likeliest first."""

    prompts: np.ndarray  # (Q, P) int32
    prompt_valid: np.ndarray  # (Q, P) bool
    items: np.ndarray  # (Q, K) int32: indices of the catalogue
    tokens: np.ndarray  # (Q, K, L) int32
    mask: np.ndarray  # (Q, K, L + 1) bool
    rewards: np.ndarray  # (Q, K) float64, the weighted total
    reward_parts: dict[str, np.ndarray]  # each (Q, K) float64
    zero_variance: np.ndarray  # (Q,) bool
    advantages: np.ndarray  # (Q, K) float32
    flow: int = 0  # the timeline's arrow from where all this was made; 0: there is none

    def micro_batches(self, count: int) -> list[Batch]:
        """The prompts in `count` equal parts, still on the host."""
        whole = (self.prompts, self.prompt_valid, self.tokens, self.mask, self.advantages)
        return [Batch(*part) for part in zip(*(np.split(x, count) for x in whole), strict=True)]


def likeliest_first(candidates: Candidates) -> Candidates:
    """Each prompt's candidates by their log-probability: what was drawn gets ranks, as a beam's have them.

    Of equals, such as an item that was drawn twice, the first stays first. All in NumPy.
    """
    order = np.argsort(-candidates.logprobs.sum(axis=-1), axis=1, kind="stable")
    return Candidates(
        np.take_along_axis(candidates.items, order, axis=1),
        np.take_along_axis(candidates.tokens, order[..., None], axis=1),
        np.take_along_axis(candidates.logprobs, order[..., None], axis=1),
    )
