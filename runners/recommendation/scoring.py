"""How likely a policy finds given items: K of them for each prompt, in one pass over the prompt."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from runners.common.model import Decoder, causal_mask, positions_of, token_logprobs
from runners.common.tokenizer import EOS


def score_items(
    model: Decoder, params: Any, prompts: jax.Array, valid: jax.Array, tokens: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each token of each candidate and of the end behind it, and the entropies.

    Both (B, K, L + 1) float32, of the model's whole vocabulary: no trie bars anything here. prompts: (B, P)
    int32 left-padded, valid: (B, P) bool, tokens: (B, K, L) int32 semantic ids.

    The candidates stand behind the prompt beside each other, as in decoding: each token sees the prompt and
    its own candidate up to itself, so that a prompt is computed once and not K times.
    """
    rows, length = prompts.shape
    _, count, levels = tokens.shape
    behind = count * levels
    own = jnp.kron(jnp.eye(count), jnp.tril(jnp.ones((levels, levels)))).astype(bool)
    mask = jnp.concatenate(
        [
            jnp.pad(causal_mask(valid), ((0, 0), (0, 0), (0, behind))),
            jnp.concatenate(
                [
                    jnp.broadcast_to(valid[:, None], (rows, behind, length)),
                    jnp.broadcast_to(own, (rows, behind, behind)),
                ],
                axis=2,
            ),
        ],
        axis=1,
    )
    first = valid.sum(axis=1, dtype=jnp.int32)[:, None]
    positions = jnp.concatenate([positions_of(valid), first + jnp.tile(jnp.arange(levels), count)], axis=1)
    sequence = jnp.concatenate([prompts, tokens.reshape(rows, behind)], axis=1)
    hidden, _ = model.apply({"params": params}, sequence, positions, mask)

    before = jnp.broadcast_to(hidden[:, None, length - 1 : length], (rows, count, 1, model.width))
    after = hidden[:, length:].reshape(rows, count, levels, model.width)
    logits: Any = model.apply({"params": params}, jnp.concatenate([before, after], axis=2), method="head")
    return token_logprobs(logits, with_end(tokens))


def with_end(tokens: jax.Array) -> jax.Array:
    """(..., L + 1): the tokens of items and the end token, which is what a policy says."""
    return jnp.concatenate([tokens, jnp.full((*tokens.shape[:-1], 1), EOS, tokens.dtype)], axis=-1)
