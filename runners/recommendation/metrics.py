"""How an evaluation is recorded, the same in every recommendation runner."""

from __future__ import annotations

import sightline as sl
from runners.recommendation.evaluation import Evaluation
from runners.recommendation.ranking import CUTOFFS, hit_rate, ndcg


def record_ranking(evaluation: Evaluation) -> None:
    """HR@K and NDCG@K over the users, and predictions that are no item. Call on the root, inside a scope."""
    users, width = evaluation.items.shape
    for k in CUTOFFS:
        if k <= width:
            sl.ratio(f"hr@{k}", hit_rate(evaluation.ranks, k).sum(), users)
            sl.ratio(f"ndcg@{k}", ndcg(evaluation.ranks, k).sum(), users)
    sl.total("invalid_predictions", evaluation.invalid)
