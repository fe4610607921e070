"""How an evaluation is recorded, the same in every recommendation runner."""

from __future__ import annotations

import numpy as np

import sightline as sl
from runners.recommendation.catalogue import Dataset, Interactions
from runners.recommendation.evaluation import Evaluation
from runners.recommendation.ranking import CUTOFFS, hit_rate, ndcg

_SHOWN = 5  # items of a ranking, or of a history, for people to read


def record_ranking(evaluation: Evaluation) -> None:
    """HR@K and NDCG@K over the users, and predictions that are no item. Call on the root, inside a scope."""
    users, width = evaluation.items.shape
    for k in CUTOFFS:
        if k <= width:
            sl.ratio(f"hr@{k}", hit_rate(evaluation.ranks, k).sum(), users)
            sl.ratio(f"ndcg@{k}", ndcg(evaluation.ranks, k).sum(), users)
    sl.total("invalid_predictions", evaluation.invalid)


def record_rankings(dataset: Dataset, split: str, evaluation: Evaluation) -> None:
    """A table for people: what each user chose, what was recommended, what came. Call on the root.

    The reward is the share that the user's row has in NDCG.
    """
    rows: Interactions = getattr(dataset, split)
    titles, users = dataset.catalogue.titles, range(len(evaluation.items))
    sl.sample(
        "rankings",
        prompt=[titles_of(dataset, rows.histories[i]) for i in users],
        completion=[titles_of(dataset, tuple(evaluation.items[i, :_SHOWN])) for i in users],
        answer=[titles[rows.targets[i]] for i in users],
        rank=evaluation.ranks + 1,
        reward=ndcg(evaluation.ranks, evaluation.items.shape[1]),
    )


def titles_of(dataset: Dataset, items: tuple[int, ...] | np.ndarray) -> str:
    """The titles of the last few items, one a line; what is no item is said.

    Args:
        items: indices of the catalogue; below 0: no item.
    """
    titles = dataset.catalogue.titles
    return "\n".join(titles[i] if i >= 0 else "(no item)" for i in items[-_SHOWN:])
