"""HR and NDCG by their definitions, and the baselines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runners.recommendation.catalogue import Interactions
from runners.recommendation.ranking import CUTOFFS, chance, followers, hit_rate, ndcg, popular, ranks


def test_hit_rate_and_ndcg_are_what_their_definitions_say_row_by_row() -> None:
    rng = np.random.default_rng(0)
    predicted = np.stack([rng.permutation(40)[:20] for _ in range(300)])
    targets = rng.integers(0, 40, 300)
    rank = ranks(predicted, targets)
    for k in CUTOFFS:
        hits, gains = [], []
        for row, target in zip(predicted.tolist(), targets.tolist(), strict=True):
            relevant = [1 if item == target else 0 for item in row[:k]]
            dcg = sum(relevance / math.log2(place + 1) for place, relevance in enumerate(relevant, 1))
            hits.append(float(any(relevant)))
            gains.append(dcg / 1.0)  # the ideal: the one true item first
        np.testing.assert_array_equal(hit_rate(rank, k), hits)
        np.testing.assert_allclose(ndcg(rank, k), gains)


def test_an_item_that_is_nowhere_in_the_ranking_is_no_hit_at_any_cutoff() -> None:
    rank = ranks(np.arange(20)[None], np.array([99]))
    assert rank.tolist() == [20]
    assert all(hit_rate(rank, k) == ndcg(rank, k) == 0 for k in CUTOFFS)


def test_chance_is_what_random_rankings_give_on_average() -> None:
    rng = np.random.default_rng(1)
    predicted = np.stack([rng.permutation(30)[:10] for _ in range(20_000)])
    rank = ranks(predicted, rng.integers(0, 30, 20_000))
    hits, gain = chance(30, 10)
    assert hit_rate(rank, 10).mean() == pytest.approx(hits, abs=0.015)
    assert ndcg(rank, 10).mean() == pytest.approx(gain, abs=0.01)
    assert chance(5, 10)[0] == 1


TRAIN = Interactions(
    ("u",) * 7, ((0,), (0,), (0,), (1,), (1, 0), (2,), (3,)), np.array([1, 1, 2, 3, 4, 1, 5])
)
ROWS = Interactions(("v", "w"), ((4, 0), (1, 5)), np.array([1, 1]))


def test_popular_items_come_by_their_number_of_choices_without_the_history() -> None:
    assert popular(TRAIN, 7, ROWS, 3).tolist() == [[1, 2, 3], [2, 3, 4]]
    assert popular(TRAIN, 7, ROWS, 6).tolist() == [[1, 2, 3, 5, 6, -1], [2, 3, 4, 0, 6, -1]]


def test_followers_come_by_how_often_they_came_after_the_last_item() -> None:
    assert followers(TRAIN, 7, ROWS, 3).tolist() == [[1, 2, 3], [2, 3, 4]]
    after_zero = Interactions(("v",), ((0,),), np.array([1]))
    assert followers(TRAIN, 7, after_zero, 4).tolist() == [[1, 2, 4, 3]]
