"""MiniOneRec's rewards of K ranked candidates: whether one is the item, and how high the others stand.

The paper's ranking reward (arXiv:2510.24431, sec. 3.3) gives a wrong candidate at rank r (0 is best) less the
higher it stands, -1/log2(r + 2), a hard negative the least. Its public code (github.com/AkaliKong/MiniOneRec,
`rl.py`: `ndcg_rule_reward`, reward type "ranking") adds two things that are kept here: the K penalties are
normalised to a sum of -1, and where no candidate of the group is right all are 0. A right candidate has 0
from it, and 1 from the rule; its place's penalty is given to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Where they show up in configs and metrics.
REWARDS = ("rule", "ndcg")


def penalties(count: int) -> np.ndarray:
    """(count,) float64: -1/log2(r + 2) of the ranks r = 0, 1, …, divided by the sum of all 1/log2(r + 2).

    Example:
        >>> penalties(3).round(4).tolist()
        [-0.4693, -0.2961, -0.2346]
        >>> round(float(penalties(16).sum()), 12)
        -1.0
    """
    discounts = 1 / np.log2(np.arange(count) + 2.0)
    normalised: np.ndarray = -discounts / discounts.sum()
    return normalised


def score(
    items: np.ndarray, targets: np.ndarray, weights: Mapping[str, float]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Weighted totals, and the rewards that they are made of: each (Q, K) float64.

    items: (Q, K) candidates, likeliest first, targets: (Q,); indices of the catalogue. An item has one
    semantic id, so the same item is the same semantic id. `weights` has the keys of REWARDS.

    Example:
        >>> total, parts = score(np.array([[4, 7, 2], [1, 2, 3]]), np.array([7, 9]), {"rule": 1, "ndcg": 1})
        >>> total.round(4).tolist()
        [[-0.4693, 1.0, -0.2346], [0.0, 0.0, 0.0]]
    """
    hits = items == targets[:, None]
    punished = hits.any(axis=1, keepdims=True) & ~hits
    parts = {"rule": hits.astype(np.float64), "ndcg": np.where(punished, penalties(items.shape[1]), 0.0)}
    total = sum((weights[name] * parts[name] for name in REWARDS), np.zeros(items.shape))
    return total, parts
