"""Candidates have ranks, also those that were drawn; micro-batches are parts of the prompts."""

from __future__ import annotations

import numpy as np

from runners.minionerec_rl.rollout import Rollout, likeliest_first
from runners.recommendation.decoding import Candidates


def test_drawn_candidates_are_put_in_the_order_of_their_probability() -> None:
    logprobs = np.array([[-3.0, -1.0, -2.0, -1.0], [-1.0, -2.0, -3.0, -4.0]])[..., None] * [0.5, 0.25, 0.25]
    tokens = np.arange(24).reshape(2, 4, 3)
    found = likeliest_first(Candidates(np.array([[7, 4, 5, 4], [1, 2, 3, 4]]), tokens, logprobs))
    np.testing.assert_array_equal(found.items, [[4, 4, 5, 7], [1, 2, 3, 4]])
    np.testing.assert_array_equal(found.tokens[0], tokens[0, [1, 3, 2, 0]])  # of equals the first stays first
    np.testing.assert_array_equal(found.logprobs[0], logprobs[0, [1, 3, 2, 0]])
    np.testing.assert_array_equal(found.tokens[1], tokens[1])


def test_micro_batches_keep_each_prompt_with_all_of_its_candidates() -> None:
    rng = np.random.default_rng(0)
    rollout = Rollout(
        prompts=rng.integers(0, 9, (6, 5)),
        prompt_valid=rng.random((6, 5)) < 0.5,
        items=rng.integers(0, 9, (6, 4)),
        tokens=rng.integers(0, 9, (6, 4, 3)),
        mask=np.ones((6, 4, 4), bool),
        rewards=rng.random((6, 4)),
        reward_parts={},
        zero_variance=np.zeros(6, bool),
        advantages=rng.random((6, 4)),
    )
    parts = rollout.micro_batches(3)
    assert [len(part.prompts) for part in parts] == [2, 2, 2]
    whole = (rollout.prompts, rollout.prompt_valid, rollout.tokens, rollout.mask, rollout.advantages)
    for i, array in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), array)
