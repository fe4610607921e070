"""Scoring K candidates beside each other is scoring each one behind its own prompt."""

from __future__ import annotations

import jax
import numpy as np

from runners.common.model import Decoder, completion_logits, init_params, token_logprobs
from runners.common.tokenizer import EOS
from runners.recommendation.scoring import score_items, with_end

MODEL = Decoder(vocab_size=30, width=16, layers=2, heads=2)
PROMPT, COUNT, LEVELS = 6, 5, 3


def test_candidates_beside_each_other_have_the_log_probabilities_of_whole_sequences() -> None:
    params = jax.tree.map(lambda x: 8 * x if x.ndim > 1 else x, init_params(MODEL, 3))
    rng = np.random.default_rng(0)
    valid = np.arange(PROMPT) >= np.array([[0], [2], [5], [1]])
    prompts = np.where(valid, rng.integers(3, 30, valid.shape), 0).astype(np.int32)
    tokens = rng.integers(3, 30, (len(valid), COUNT, LEVELS)).astype(np.int32)
    tokens[1, 3] = tokens[1, 0]  # drawn twice
    found = jax.jit(lambda *batch: score_items(MODEL, params, *batch))(prompts, valid, tokens)

    said = np.concatenate([tokens, np.full((len(valid), COUNT, 1), EOS, np.int32)], axis=2)
    rows = said.reshape(-1, LEVELS + 1)
    whole = np.concatenate([np.repeat(prompts, COUNT, axis=0), rows], axis=1)
    seen = np.concatenate([np.repeat(valid, COUNT, axis=0), np.ones_like(rows, bool)], axis=1)
    logits = jax.jit(lambda *batch: completion_logits(MODEL, params, *batch, PROMPT))(whole, seen)
    expected = jax.jit(token_logprobs)(logits, rows)
    for got, want in zip(found, expected, strict=True):
        assert got.shape == said.shape
        np.testing.assert_allclose(got, np.reshape(want, said.shape), atol=2e-5)
    np.testing.assert_array_equal(with_end(tokens), said)
    np.testing.assert_allclose(found[0][1, 3], found[0][1, 0], atol=2e-5)
