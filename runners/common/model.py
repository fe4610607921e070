"""A small decoder-only transformer (pre-norm, rotary positions, GELU) with an explicit KV cache.

Every call names positions and the attention mask itself, so that a left-padded batch, a prefill and one
decoded token are the same function.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Cache = tuple[tuple[jax.Array, jax.Array], ...]  # per layer: keys and values, each (B, K, heads, head_dim)


def rotate(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Rotary position embedding (RoFormer, eq. 34). x: (B, S, H, D), positions: (B, S) int32."""
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions[..., None, None].astype(jnp.float32) * frequency
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


class Block(nn.Module):
    width: int
    heads: int
    residual_scale: float

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        cache: tuple[jax.Array, jax.Array] | None,
        index: jax.Array | int,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        batch, length, _ = x.shape
        head_dim = self.width // self.heads
        init = nn.initializers.normal(0.02)
        out = nn.initializers.normal(0.02 * self.residual_scale)

        h = nn.RMSNorm(name="attention_norm")(x)
        qkv = nn.Dense(3 * self.width, use_bias=False, kernel_init=init, name="qkv")(h)
        q, k, v = jnp.split(qkv.reshape(batch, length, 3 * self.heads, head_dim), 3, axis=2)
        q, k = rotate(q, positions), rotate(k, positions)
        if cache is not None:
            k = jax.lax.dynamic_update_slice_in_dim(cache[0], k, index, axis=1)
            v = jax.lax.dynamic_update_slice_in_dim(cache[1], v, index, axis=1)
        scores = jnp.einsum("bshd,bkhd->bhsk", q, k) / jnp.sqrt(head_dim)
        scores = jnp.where(mask[:, None], scores, -1e9)  # finite: an all-padding row stays free of NaN
        mixed = jnp.einsum("bhsk,bkhd->bshd", jax.nn.softmax(scores, axis=-1), v)
        x = x + nn.Dense(self.width, use_bias=False, kernel_init=out, name="attention_out")(
            mixed.reshape(batch, length, self.width)
        )

        h = nn.RMSNorm(name="mlp_norm")(x)
        h = nn.gelu(nn.Dense(4 * self.width, kernel_init=init, name="mlp_in")(h))
        return x + nn.Dense(self.width, kernel_init=out, name="mlp_out")(h), (k, v)


class Decoder(nn.Module):
    """Token ids in, hidden states out; `head` turns hidden states into logits (float32)."""

    vocab_size: int
    width: int = 128
    layers: int = 3
    heads: int = 4

    def setup(self) -> None:
        self.embed = nn.Embed(self.vocab_size, self.width, embedding_init=nn.initializers.normal(0.02))
        scale = (2 * self.layers) ** -0.5
        self.blocks = [Block(self.width, self.heads, scale) for _ in range(self.layers)]
        self.norm = nn.RMSNorm()
        self.output = nn.Dense(self.vocab_size, use_bias=False, kernel_init=nn.initializers.normal(0.02))

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        cache: Cache | None = None,
        index: jax.Array | int = 0,
    ) -> tuple[jax.Array, Cache]:
        """Hidden states (B, S, width) and the keys and values that were attended to.

        tokens, positions: (B, S) int32. mask: (B, S, K) bool, true where query s may see key k. Without a
        cache K = S. With one, the new keys are written at `index` and K is the cache's length.
        """
        x = self.embed(tokens)
        new = []
        for i, block in enumerate(self.blocks):
            x, kv = block(x, positions, mask, None if cache is None else cache[i], index)
            new.append(kv)
        return self.norm(x), tuple(new)

    def head(self, hidden: jax.Array) -> jax.Array:
        """Logits (..., vocab) of hidden states (..., width)."""
        logits: jax.Array = self.output(hidden).astype(jnp.float32)
        return logits

    def everything(self, tokens: jax.Array, positions: jax.Array, mask: jax.Array) -> jax.Array:
        """Logits (B, S, vocab); touches every parameter, so initialisation goes through it."""
        return self.head(self(tokens, positions, mask)[0])


def init_params(model: Decoder, seed: int) -> Any:
    """Parameters (a nested dict of float32 arrays), the same on every process for the same seed."""
    one = jnp.zeros((1, 1), jnp.int32)
    everything = model.init(jax.random.key(seed), one, one, jnp.ones((1, 1, 1), bool), method="everything")
    return everything["params"]


def positions_of(valid: jax.Array) -> jax.Array:
    """Positions (B, S) int32 that start at 0 with the first valid token of each row."""
    return jnp.maximum(jnp.cumsum(valid, axis=1) - 1, 0).astype(jnp.int32)


def causal_mask(valid: jax.Array) -> jax.Array:
    """(B, S, S) bool: a token sees the valid tokens up to itself. valid: (B, S) bool."""
    length = valid.shape[1]
    return jnp.tril(jnp.ones((length, length), bool))[None] & valid[:, None, :]


def completion_logits(
    model: Decoder, params: Any, tokens: jax.Array, valid: jax.Array, prompt_length: int
) -> Any:
    """Logits (B, C, vocab) float32 that predict the C tokens after a left-padded prompt of `prompt_length`.

    tokens: (B, prompt_length + C) int32, valid: the same shape, bool. Only the completion pays for the head.
    """
    hidden, _ = model.apply({"params": params}, tokens, positions_of(valid), causal_mask(valid))
    logits: Any = model.apply({"params": params}, hidden[:, prompt_length - 1 : -1], method="head")
    return logits


def token_logprobs(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each target and entropy of each distribution: both (B, C) float32."""
    logp = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(logp, targets[..., None], axis=-1)[..., 0]
    return chosen, -jnp.sum(jnp.exp(logp) * logp, axis=-1)
