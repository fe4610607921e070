"""A small catalogue, a model over it whose distributions are wide, and prompts for it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from runners.common.model import Decoder, init_params
from runners.common.tokenizer import Tokenizer
from runners.recommendation.catalogue import Catalogue
from runners.recommendation.trie import make_trie

PROMPT, ROWS = 6, 6
DRAWS = 10  # samples of a prompt in a row
#: Some first tokens have one item, some many; the second and third tokens are shared between prefixes.
CODES = ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 2), (1, 0, 0), (2, 2, 1), (2, 2, 2), (2, 0, 0), (2, 1, 1))
CATALOGUE = Catalogue(
    ids=tuple(str(i) for i in range(len(CODES))),
    titles=tuple(f"item {i}" for i in range(len(CODES))),
    sids=tuple(tuple(f"<{x}_{c}>" for x, c in zip("abc", code, strict=True)) for code in CODES),
)
TOKENIZER = Tokenizer(["word"]).extended(CATALOGUE.sid_tokens())
TRIE = make_trie(CATALOGUE, TOKENIZER)
MODEL = Decoder(TOKENIZER.vocab_size, width=16, layers=2, heads=2)


def first_params(seed: int) -> Any:
    """In host memory."""
    return jax.device_get(jax.jit(init_params, static_argnums=0)(MODEL, seed))


def wide_params() -> Any:
    # Wider than at initialisation, so that the distributions differ from one prompt to the next.
    return jax.tree.map(lambda x: 8 * x if x.ndim > 1 else x, first_params(3))


def make_prompts() -> tuple[np.ndarray, np.ndarray]:
    """Six left-padded prompts of different lengths."""
    valid = np.arange(PROMPT) >= np.array([[0], [2], [4], [5], [1], [3]])
    tokens = np.random.default_rng(0).integers(3, TOKENIZER.vocab_size, (ROWS, PROMPT)).astype(np.int32)
    return np.where(valid, tokens, 0), valid


def key_data(seed: int) -> jax.Array:
    return jax.random.key_data(jax.random.key(seed))
