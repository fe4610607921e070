"""Sampling with the KV cache is the same distribution as a full forward pass."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from runners.common.mesh import local_rows, make_mesh, put_rows
from runners.common.model import Decoder, completion_logits, init_params, token_logprobs
from runners.common.sampler import Samples, make_sampler

PROMPT, NEW, GROUP, EOS, PAD = 6, 7, 3, 2, 0
MODEL = Decoder(vocab_size=13, width=16, layers=2, heads=2)


@pytest.fixture(scope="module")
def params() -> Any:
    # Wider than at initialisation, so that the distributions differ from one position to the next.
    return jax.tree.map(lambda x: 6 * x if x.ndim > 1 else x, init_params(MODEL, 3))


@pytest.fixture(scope="module")
def prompts() -> tuple[np.ndarray, np.ndarray]:
    """Four left-padded prompts of different lengths."""
    valid = np.arange(PROMPT) >= np.array([[0], [2], [4], [5]])
    tokens = np.random.default_rng(0).integers(3, 13, (4, PROMPT)).astype(np.int32)
    return np.where(valid, tokens, PAD), valid


def run(params: Any, prompts: tuple[np.ndarray, np.ndarray], group: int, temperature: float) -> Samples:
    sampler = make_sampler(
        mesh := make_mesh(),
        MODEL,
        group=group,
        max_new_tokens=NEW,
        temperature=temperature,
        eos_id=EOS,
        pad_id=PAD,
    )
    samples = sampler(params, *put_rows(mesh, prompts), jax.random.key_data(jax.random.key(1)))
    return Samples(*map(local_rows, samples))


def full_logits(params: Any, prompts: tuple[np.ndarray, np.ndarray], samples: Samples) -> np.ndarray:
    """Logits (rows, NEW, vocab) of the sampled tokens from one pass without a cache."""
    group = len(samples.tokens) // len(prompts[0])
    repeated = [np.repeat(x, group, axis=0) for x in prompts]
    tokens = np.concatenate([repeated[0], samples.tokens], axis=1)
    valid = np.concatenate([repeated[1], samples.mask], axis=1)
    return np.asarray(completion_logits(MODEL, params, tokens, valid, PROMPT))


def test_log_probabilities_equal_a_full_forward_pass(params: Any, prompts: Any) -> None:
    samples = run(params, prompts, GROUP, temperature=0.8)
    expected, _ = token_logprobs(full_logits(params, prompts, samples) / 0.8, samples.tokens)
    np.testing.assert_allclose(samples.logprobs, np.where(samples.mask, expected, 0), atol=2e-5)


def test_greedy_takes_the_likeliest_token_of_a_full_forward_pass(params: Any, prompts: Any) -> None:
    samples = run(params, prompts, 1, temperature=0)
    likeliest = full_logits(params, prompts, samples).argmax(axis=-1)
    np.testing.assert_array_equal(samples.tokens[samples.mask], likeliest[samples.mask])


def test_a_completion_ends_with_its_end_token_and_is_padding_afterwards(params: Any, prompts: Any) -> None:
    samples = run(params, prompts, 16, temperature=1.5)
    assert EOS in samples.tokens
    for tokens, mask in zip(samples.tokens, samples.mask, strict=True):
        ends = np.flatnonzero(tokens == EOS)
        length = ends[0] + 1 if len(ends) else NEW
        assert mask.tolist() == [True] * length + [False] * (NEW - length)
        assert (tokens[length:] == PAD).all()


def test_the_completions_of_a_group_differ(params: Any, prompts: Any) -> None:
    samples = run(params, prompts, 16, temperature=1.5)
    assert all(len(np.unique(group, axis=0)) > 4 for group in samples.tokens.reshape(4, 16, NEW))
