"""The rewards are MiniOneRec's, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runners.minionerec_rl.rewards import penalties, score

BOTH = {"rule": 1.0, "ndcg": 1.0}
#: 1/log2(2), 1/log2(3), 1/log2(4), 1/log2(5) and their sum.
DISCOUNTS = (1.0, 0.6309298, 0.5, 0.4306766)
SUM = 2.5616064


def test_the_penalties_are_discounts_by_rank_that_sum_to_minus_one() -> None:
    np.testing.assert_allclose(penalties(4), [-d / SUM for d in DISCOUNTS], rtol=1e-6)
    for count in (1, 2, 16, 50):
        assert penalties(count).sum() == pytest.approx(-1)
        assert (np.diff(penalties(count)) > 0).all()  # the higher it stands, the more it costs


@pytest.mark.parametrize(
    ("items", "target", "rule", "ndcg"),
    [
        # A hit at rank 0, 1 and 3: it has 0 from the penalty, and the others that of their own ranks.
        ([5, 1, 2, 3], 5, [1, 0, 0, 0], [0, -0.2463024, -0.1951900, -0.1681275]),
        ([1, 5, 2, 3], 5, [0, 1, 0, 0], [-0.3903800, 0, -0.1951900, -0.1681275]),
        ([1, 2, 3, 5], 5, [0, 0, 0, 1], [-0.3903800, -0.2463024, -0.1951900, 0]),
        # No candidate hits: nothing is punished.
        ([1, 2, 3, 4], 5, [0, 0, 0, 0], [0, 0, 0, 0]),
        # Drawn twice: each hit counts, and neither is punished.
        ([5, 1, 5, 3], 5, [1, 0, 1, 0], [0, -0.2463024, 0, -0.1681275]),
        ([5, 5, 5, 5], 5, [1, 1, 1, 1], [0, 0, 0, 0]),
    ],
)
def test_a_group_is_rewarded_as_by_hand(items: Any, target: int, rule: Any, ndcg: Any) -> None:
    total, parts = score(np.array([items]), np.array([target]), BOTH)
    np.testing.assert_array_equal(parts["rule"], [rule])
    np.testing.assert_allclose(parts["ndcg"], [ndcg], atol=1e-7)
    np.testing.assert_allclose(total, [np.add(rule, ndcg)], atol=1e-7)


def test_groups_do_not_know_of_each_other_and_the_weights_weigh() -> None:
    items, targets = np.array([[5, 1], [5, 1], [5, 1]]), np.array([9, 1, 5])
    total, _ = score(items, targets, {"rule": 2.0, "ndcg": 0.5})
    high, low = 0.5 / (1 + DISCOUNTS[1]), 0.5 * DISCOUNTS[1] / (1 + DISCOUNTS[1])
    np.testing.assert_allclose(total, [[0, 0], [-high, 2], [2, -low]], atol=1e-6)
