"""Sampling with a KV cache, compiled once, each device on its own rows.

A prompt is prefilled once and its keys and values are repeated for the group of completions. The decode
loop runs under `shard_map`, so that a device stops when *its* rows are done and no collective sits inside.
Each row draws from a key made of the step's key and the row's global number: the same samples for any number
of devices and processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from runners.common.mesh import AXIS
from runners.common.model import Decoder, causal_mask, positions_of


class Samples(NamedTuple):
    """Rows in the order of the prompts, each prompt's group together."""

    tokens: jax.Array  # (B * group, C) int32; after the end token: pad
    mask: jax.Array  # (B * group, C) bool; true up to and including the end token
    logprobs: jax.Array  # (B * group, C) float32 under the sampling distribution; 0 where not in the mask


Sampler = Callable[[Any, jax.Array, jax.Array, jax.Array], Samples]


def make_sampler(
    mesh: Mesh,
    model: Decoder,
    *,
    group: int,
    max_new_tokens: int,
    temperature: float,
    eos_id: int,
    pad_id: int,
) -> Sampler:
    """A jitted `sample(params, prompts, valid, key)`; temperature 0 is greedy.

    prompts: (B, S) int32 left-padded, valid: (B, S) bool, both split by rows over the mesh; key: the (2,)
    uint32 data of one random key, equal everywhere.
    """

    def decode(params: Any, prompts: jax.Array, valid: jax.Array, key: jax.Array) -> Samples:
        weights = {"params": params}
        rows, prompt_length = prompts.shape
        rows *= group
        key = jax.random.wrap_key_data(key)
        first_row = jax.lax.axis_index(AXIS) * rows
        keys = jax.vmap(lambda r: jax.random.fold_in(key, r))(first_row + jnp.arange(rows))

        hidden, cache = model.apply(weights, prompts, positions_of(valid), causal_mask(valid))

        def repeat(x: Any) -> jax.Array:
            return jnp.repeat(x, group, axis=0)

        room = ((0, 0), (0, max_new_tokens), (0, 0), (0, 0))
        cache = jax.tree.map(lambda kv: repeat(jnp.pad(kv, room)), cache)
        visible = repeat(jnp.pad(valid, ((0, 0), (0, max_new_tokens))))
        length = repeat(valid.sum(axis=1).astype(jnp.int32))
        logits = repeat(model.apply(weights, hidden[:, -1], method="head"))

        def pick(logits: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
            if temperature == 0:
                token = jnp.argmax(logits, axis=-1)
                logp = jax.nn.log_softmax(logits)
            else:
                logp = jax.nn.log_softmax(logits / temperature)
                step_keys = jax.vmap(lambda k: jax.random.fold_in(k, t))(keys)
                token = jax.vmap(jax.random.categorical)(step_keys, logp)
            return token.astype(jnp.int32), jnp.take_along_axis(logp, token[:, None], axis=1)[:, 0]

        def unfinished(carry: tuple[Any, ...]) -> jax.Array:
            t, _, _, _, done, _ = carry
            return jnp.asarray((t < max_new_tokens) & ~jnp.all(done))

        def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            t, logits, cache, visible, done, out = carry
            token, logp = pick(logits, t)
            token = jnp.where(done, pad_id, token)
            out = Samples(
                out.tokens.at[:, t].set(token),
                out.mask.at[:, t].set(~done),
                out.logprobs.at[:, t].set(jnp.where(done, 0.0, logp)),
            )
            done = done | (token == eos_id)
            index = prompt_length + t
            visible = visible.at[:, index].set(True)
            hidden, cache = model.apply(
                weights, token[:, None], (length + t)[:, None], visible[:, None], cache, index
            )
            logits = model.apply(weights, hidden[:, 0], method="head")
            return t + 1, logits, cache, visible, done, out

        out = Samples(
            jnp.full((rows, max_new_tokens), pad_id, jnp.int32),
            jnp.zeros((rows, max_new_tokens), bool),
            jnp.zeros((rows, max_new_tokens), jnp.float32),
        )
        carry = (jnp.int32(0), logits, cache, visible, jnp.zeros(rows, bool), out)
        result: Samples = jax.lax.while_loop(unfinished, step, carry)[-1]
        return result

    split = P(AXIS)
    # check_vma off: every value in the loop is this device's own; there is nothing to check between them.
    mapped = jax.shard_map(
        decode, mesh=mesh, in_specs=(P(), split, split, P()), out_specs=split, check_vma=False
    )
    jitted: Sampler = jax.jit(mapped)
    return jitted
