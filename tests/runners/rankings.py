"""Rankings judged the way that earlier runners did: user by user, cut-off by cut-off."""

from __future__ import annotations

import math

import numpy as np

from tests.runners.jobs import Expected, exact


def by_hand(scope: str, items: np.ndarray, targets: np.ndarray, catalogue: int) -> dict[str, Expected]:
    """Hit rates, NDCG, and how many items are none. items: (N, K), the best first; targets: (N,) or more."""
    metrics = {}
    for k in (1, 3, 5, 10, 20):
        hits, gains = 0, 0.0
        for ranked, target in zip(items.tolist(), targets.tolist(), strict=False):
            if target in ranked[:k]:
                hits += 1
                gains += 1 / math.log2(ranked.index(target) + 2)
        metrics[f"{scope}/hr@{k}"] = exact(hits / len(items))
        metrics[f"{scope}/ndcg@{k}"] = exact(gains / len(items))
    invalid = sum(item not in range(catalogue) for ranked in items.tolist() for item in ranked)
    metrics[f"{scope}/invalid_predictions"] = exact(invalid)
    if scope == "eval":
        metrics["eval/invalid_prediction_count"] = exact(invalid)
    return metrics
