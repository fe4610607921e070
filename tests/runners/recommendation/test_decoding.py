"""What the decoders find among the items is what going through all items finds."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from runners.common.mesh import local_rows, make_mesh, put_rows
from runners.common.model import completion_logits
from runners.recommendation.decoding import Candidates, Sample, make_beam_search, make_sampler
from runners.recommendation.trie import Trie
from tests.runners.jobs import ROOT
from tests.runners.recommendation.small_model import (
    CATALOGUE,
    CODES,
    DRAWS,
    MODEL,
    PROMPT,
    ROWS,
    TOKENIZER,
    TRIE,
    first_params,
    key_data,
    make_prompts,
    wide_params,
)

REPEATS = 250  # rows of a prompt


def repeated(prompts: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """All prompts, REPEATS times over."""
    return [np.tile(x, (REPEATS, 1)) for x in prompts]


@pytest.fixture(scope="module")
def params() -> Any:
    return wide_params()


@pytest.fixture(scope="module")
def prompts() -> tuple[np.ndarray, np.ndarray]:
    return make_prompts()


@pytest.fixture(scope="module")
def brute_force(params: Any, prompts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(ROWS, items, 3) log-probabilities of each token of each item, from one pass over everything."""
    items = len(CATALOGUE)
    tokens, valid = (np.repeat(x, items, axis=0) for x in prompts)
    answers = np.tile(TRIE.tokens, (ROWS, 1))
    whole = np.concatenate([tokens, answers], axis=1)
    seen = np.concatenate([valid, np.ones_like(answers, bool)], axis=1)
    logits = jax.jit(completion_logits, static_argnums=(0, 4))(MODEL, params, whole, seen, PROMPT)
    logprobs = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), answers[..., None], axis=-1)
    return logprobs[..., 0].reshape(ROWS, items, 3)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sampler(make_mesh(), MODEL, TRIE, candidates=DRAWS, temperature=1.0)


@pytest.fixture(scope="module")
def drawn(sample: Sample, params: Any, prompts: tuple[np.ndarray, np.ndarray]) -> Candidates:
    """(REPEATS * ROWS, DRAWS)."""
    found = sample(params, *put_rows(make_mesh(), repeated(prompts)), key_data(1))
    return Candidates(*map(local_rows, found))


def search(params: Any, prompts: tuple[np.ndarray, np.ndarray], beams: int) -> Candidates:
    found = make_beam_search(mesh := make_mesh(), MODEL, TRIE, beams=beams)(params, *put_rows(mesh, prompts))
    return Candidates(*map(local_rows, found))


def test_a_wide_beam_ranks_all_items_as_brute_force_does(
    params: Any, prompts: Any, brute_force: np.ndarray
) -> None:
    found = search(params, prompts, len(CATALOGUE))
    scores = brute_force.sum(axis=-1)
    np.testing.assert_array_equal(found.items, np.argsort(-scores, axis=1))
    np.testing.assert_allclose(
        found.logprobs, np.take_along_axis(brute_force, found.items[..., None], axis=1), atol=2e-5
    )
    np.testing.assert_array_equal(found.tokens, TRIE.tokens[found.items])


@pytest.mark.parametrize("beams", [1, 3])
def test_a_narrow_beam_keeps_the_likeliest_prefixes_level_by_level(
    params: Any, prompts: Any, brute_force: np.ndarray, beams: int
) -> None:
    found = search(params, prompts, beams)
    for row in range(ROWS):
        kept = [()]
        for level in range(3):
            longer = {
                code[: level + 1]: brute_force[row, i, : level + 1].sum()
                for i, code in enumerate(CODES)
                if code[:level] in kept
            }
            kept = sorted(longer, key=lambda prefix: -longer[prefix])[:beams]
        assert [CODES[item] for item in found.items[row]] == kept


def test_every_beam_and_every_sample_is_an_item_whatever_the_model_says(sample: Sample, prompts: Any) -> None:
    for seed in range(3):
        wild = jax.tree.map(lambda x: 30 * x, first_params(seed))
        beams = search(wild, prompts, len(CATALOGUE))
        assert all(sorted(row) == list(range(len(CATALOGUE))) for row in beams.items.tolist())
        found = sample(wild, *put_rows(make_mesh(), repeated(prompts)), key_data(seed))
        found = Candidates(*map(local_rows, found))
        assert found.items.min() >= 0
        np.testing.assert_array_equal(found.tokens, TRIE.tokens[found.items])


def test_more_beams_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match="beams: expected 1 to 9, the number of items, found 10"):
        make_beam_search(make_mesh(), MODEL, TRIE, beams=10)


def test_samples_follow_the_renormalised_distribution(drawn: Candidates, brute_force: np.ndarray) -> None:
    expected = renormalised(brute_force)
    probability = np.exp(expected.sum(axis=-1))
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-5)
    for row in range(ROWS):
        items = drawn.items[row::ROWS].reshape(-1)
        frequency = np.bincount(items, minlength=len(CATALOGUE)) / len(items)
        error = 5 * np.sqrt(probability[row] * (1 - probability[row]) / len(items)) + 1e-3
        assert (abs(frequency - probability[row]) < error).all()
        logprobs = drawn.logprobs[row::ROWS].reshape(-1, 3)
        np.testing.assert_allclose(logprobs, expected[row][items], atol=2e-5)


def renormalised(logprobs: np.ndarray) -> np.ndarray:
    """(rows, items, 3): each token's log-probability among those with which an item goes on there."""
    out = np.empty_like(logprobs)
    for i, level in itertools.product(range(len(CODES)), range(3)):
        siblings = {code[: level + 1]: j for j, code in enumerate(CODES) if code[:level] == CODES[i][:level]}
        total = np.logaddexp.reduce([logprobs[:, j, level] for j in siblings.values()], axis=0)
        out[:, i, level] = logprobs[:, i, level] - total
    return out


def test_the_mask_at_each_node_allows_exactly_the_tokens_with_which_an_item_goes_on() -> None:
    first, seen = TRIE.first_token, set()
    for i, level in itertools.product(range(len(CODES)), range(3)):
        node = int(TRIE.nodes[i, level])
        allowed = np.flatnonzero(jax.jit(TRIE.allowed)(jnp.int32(node))) + first
        expected = {
            TOKENIZER.id_of(CATALOGUE.sids[j][level])
            for j, code in enumerate(CODES)
            if code[:level] == CODES[i][:level]
        }
        assert set(allowed.tolist()) == expected
        seen.add(node)
    leaves = np.flatnonzero(TRIE.item >= 0)
    assert sorted(TRIE.item[leaves]) == list(range(len(CODES)))
    assert not (TRIE.children[leaves] >= 0).any()
    assert seen | set(leaves.tolist()) == set(range(len(TRIE.children)))


def test_the_tries_slice_of_the_logits_is_that_of_the_sid_tokens() -> None:
    logits = jnp.arange(TOKENIZER.vocab_size)
    ids = [TOKENIZER.id_of(token) for token in CATALOGUE.sid_tokens()]
    assert TRIE.sid_logits(logits).tolist() == ids
    assert isinstance(TRIE, Trie)


def test_two_devices_find_and_draw_what_one_does(params: Any, prompts: Any, drawn: Candidates) -> None:
    command = [sys.executable, "-m", "tests.runners.recommendation.two_devices"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)
    assert two["beams"] == search(params, prompts, 3).items.tolist()
    assert two["drawn"] == drawn.items[:ROWS].tolist()
    assert len({tuple(row) for row in two["drawn"]}) > 1
