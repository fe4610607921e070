"""How good a ranking is, and what rankings without any model give: popular items, and chance.

With one true item a user, at rank r (0 is best): HR@K is 1 if r < K, and NDCG@K is 1/log2(r + 2) if r < K,
since the best possible DCG is 1 (Järvelin and Kekäläinen 2002; so also MiniOneRec's evaluation).
"""

from __future__ import annotations

import numpy as np

from runners.recommendation.catalogue import Interactions

CUTOFFS = (1, 3, 5, 10, 20)


def ranks(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N,) int64: where each target stands in its row of `predicted` (N, K), K if nowhere.

    Example:
        >>> ranks(np.array([[4, 2, 7], [1, 2, 3]]), np.array([2, 9])).tolist()
        [1, 3]
    """
    hit = predicted == targets[:, None]
    found: np.ndarray = np.where(hit.any(axis=1), hit.argmax(axis=1), predicted.shape[1])
    return found


def hit_rate(rank: np.ndarray, k: int) -> np.ndarray:
    """HR@k of each row, (N,) float64 of 0 and 1; the mean over rows is what is reported."""
    hits: np.ndarray = (rank < k).astype(np.float64)
    return hits


def ndcg(rank: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of each row, (N,) float64.

    Example:
        >>> ndcg(np.array([0, 1, 2, 10]), 10).round(4).tolist()
        [1.0, 0.6309, 0.5, 0.0]
    """
    return np.where(rank < k, 1 / np.log2(rank + 2.0), 0.0)


def popular(train: Interactions, items: int, rows: Interactions, count: int) -> np.ndarray:
    """(N, count) int64: for each row the items that were chosen most often in `train`, without its history.

    Ties go to the lower index. The history is left out because it makes this baseline better where users
    seldom choose an item twice.
    """
    order = np.argsort(-np.bincount(train.targets, minlength=items), kind="stable")
    return np.stack([_first_others(order, set(history), count) for history in rows.histories])


def followers(train: Interactions, items: int, rows: Interactions, count: int) -> np.ndarray:
    """(N, count) int64: for each row the items that came most often right after its last item in `train`.

    The strongest rule that looks at one item only; ties and what never followed go by popularity, and the
    history is left out.
    """
    popularity = np.bincount(train.targets, minlength=items)
    pairs = np.zeros((items, items), np.int64)
    last = np.array([history[-1] for history in train.histories])
    np.add.at(pairs, (last, train.targets), 1)
    found = []
    for history in rows.histories:
        order = np.lexsort((np.arange(items), -popularity, -pairs[history[-1]]))
        found.append(_first_others(order, set(history), count))
    return np.stack(found)


def chance(items: int, k: int) -> tuple[float, float]:
    """HR@k and NDCG@k that a random order of all items gives, on average.

    Example:
        >>> chance(100, 10)[0]
        0.1
    """
    k = min(k, items)
    return k / items, float(sum(1 / np.log2(np.arange(k) + 2.0))) / items


def _first_others(order: np.ndarray, without: set[int], count: int) -> np.ndarray:
    """The first `count` of `order` that are not in `without`; -1 where there are no more."""
    kept = [item for item in order[: count + len(without)].tolist() if item not in without][:count]
    return np.array(kept + [-1] * (count - len(kept)))
