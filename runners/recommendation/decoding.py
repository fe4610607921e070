"""Beam search and sampling over the trie of semantic ids: what comes out is always an item.

Compiled once, each device on its own rows, no collective inside. The prompt is prefilled once. Its K
candidates are decoded beside each other as K queries of one row: each sees the prompt, and of the tokens
decoded so far its own ancestors, which the attention mask says. So the prompt's keys are never repeated.
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
from runners.recommendation.trie import ROOT, Trie


class Candidates(NamedTuple):
    """K candidates for each of B prompts; of a beam search the likeliest first, and all different."""

    items: Any  # (B, K) int32: indices of the catalogue, never anything else
    tokens: Any  # (B, K, L) int32: their semantic ids as token ids
    logprobs: Any  # (B, K, L) float32: of each token, see the maker


#: `search(params, prompts, valid)`. prompts: (B, S) int32 left-padded, valid: (B, S) bool, split by rows.
BeamSearch = Callable[[Any, Any, Any], Candidates]
#: `sample(params, prompts, valid, key)`; key: the (2,) uint32 data of one random key, equal everywhere.
Sample = Callable[[Any, Any, Any, Any], Candidates]


def make_beam_search(mesh: Mesh, model: Decoder, trie: Trie, *, beams: int) -> BeamSearch:
    """The `beams` likeliest items that a beam search of that width finds; no length penalty.

    A token's log-probability is that of the model's whole vocabulary, as in MiniOneRec: the trie only bars
    tokens, so a candidate's score, their sum, is the model's own log-probability of its semantic id. With at
    least as many beams as there are nodes on each level the search is exhaustive.

    Raises:
        ValueError: there are fewer items than beams.
    """
    _check_count(trie, beams, "beams")

    def start(rows: int) -> jax.Array:
        # The beams of a row begin equal: only the first one is alive.
        return jnp.broadcast_to(jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf), (rows, beams))

    def choose(level: int, logits: jax.Array, node: jax.Array, score: jax.Array, keys: None) -> _Choice:
        logprobs = trie.sid_logits(jax.nn.log_softmax(logits))
        logprobs = jnp.broadcast_to(logprobs, (*node.shape, logprobs.shape[-1]))
        total = jnp.where(trie.allowed(node), score[..., None] + logprobs, -jnp.inf)  # (B, K, S)
        score, flat = jax.lax.top_k(total.reshape(len(total), -1), beams)
        parent, column = jnp.divmod(flat, total.shape[-1])
        chosen = jnp.take_along_axis(logprobs.reshape(len(total), -1), flat, axis=1)
        return _Choice(parent, column, chosen, score)

    def search(params: Any, prompts: jax.Array, valid: jax.Array) -> Candidates:
        return _decode(model, trie, beams, params, prompts, valid, start(len(prompts)), choose, None)

    split = P(AXIS)
    # check_vma off: every value is this device's own; there is nothing to check between devices.
    mapped = jax.shard_map(search, mesh=mesh, in_specs=(P(), split, split), out_specs=split, check_vma=False)
    jitted: BeamSearch = jax.jit(mapped)
    return jitted


def make_sampler(mesh: Mesh, model: Decoder, trie: Trie, *, candidates: int, temperature: float) -> Sample:
    """`candidates` independent draws for each prompt; two of them may be the same item.

    A token is drawn from the model's distribution over the tokens that the trie allows, renormalised, and its
    log-probability is under that distribution. Each draw has a key made of the given one, the row's global
    number and the candidate's: the same samples for any number of devices and processes.

    Raises:
        ValueError: temperature is not above 0, or candidates not above 0.
    """
    if temperature <= 0:
        raise ValueError(
            f"temperature: expected more than 0, found {temperature}; a beam search draws nothing"
        )
    if candidates < 1:
        raise ValueError(f"candidates: expected at least 1, found {candidates}")

    def choose(level: int, logits: jax.Array, node: jax.Array, score: jax.Array, keys: jax.Array) -> _Choice:
        logprobs = allowed_logprobs(trie, logits / temperature, node)
        logprobs = jnp.broadcast_to(logprobs, (*node.shape, logprobs.shape[-1]))
        level_keys = jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, level)))(keys)
        column = jax.vmap(jax.vmap(jax.random.categorical))(level_keys, logprobs)
        chosen = jnp.take_along_axis(logprobs, column[..., None], axis=-1)[..., 0]
        parent = jnp.broadcast_to(jnp.arange(candidates), column.shape)
        return _Choice(parent, column, chosen, score + chosen)

    def sample(params: Any, prompts: jax.Array, valid: jax.Array, key: jax.Array) -> Candidates:
        rows = len(prompts)
        numbers = (jax.lax.axis_index(AXIS) * rows + jnp.arange(rows))[:, None] * candidates
        numbers = numbers + jnp.arange(candidates)
        base = jax.random.wrap_key_data(key)
        keys = jax.vmap(jax.vmap(lambda n: jax.random.fold_in(base, n)))(numbers)
        start = jnp.zeros((rows, candidates))
        return _decode(model, trie, candidates, params, prompts, valid, start, choose, keys)

    split = P(AXIS)
    mapped = jax.shard_map(
        sample, mesh=mesh, in_specs=(P(), split, split, P()), out_specs=split, check_vma=False
    )
    jitted: Sample = jax.jit(mapped)
    return jitted


def allowed_logprobs(trie: Trie, logits: jax.Array, node: jax.Array) -> jax.Array:
    """(..., S) float32: log-probabilities of the columns that go on from `node`, renormalised; else -inf.

    logits: (..., vocab), node: (...) int32, inner nodes.
    """
    barred = jnp.where(trie.allowed(node), trie.sid_logits(logits), -jnp.inf)
    return jax.nn.log_softmax(barred)


class _Choice(NamedTuple):
    """One token for each candidate: (B, K) each."""

    parent: jax.Array  # which candidate it goes on from
    column: jax.Array
    logprob: jax.Array
    score: jax.Array  # -inf: nothing could be chosen


def _decode(
    model: Decoder,
    trie: Trie,
    count: int,
    params: Any,
    prompts: jax.Array,
    valid: jax.Array,
    score: jax.Array,
    choose: Callable[..., _Choice],
    keys: Any,
) -> Candidates:
    """`count` candidates a row, token by token; `choose` picks them."""
    weights = {"params": params}
    rows, prompt_length = prompts.shape
    hidden, cache = model.apply(weights, prompts, positions_of(valid), causal_mask(valid))
    logits = model.apply(weights, hidden[:, -1:], method="head")  # (B, 1, vocab), the same for all candidates
    decoded = (trie.levels - 1) * count  # the last token's keys are nobody's business
    cache = jax.tree.map(lambda kv: jnp.pad(kv, ((0, 0), (0, decoded), (0, 0), (0, 0))), cache)
    length = valid.sum(axis=1).astype(jnp.int32)[:, None]
    sees_prompt = jnp.broadcast_to(valid[:, None], (rows, count, prompt_length))
    sees = jnp.zeros((rows, count, decoded), bool)
    node = jnp.full((rows, count), ROOT, jnp.int32)
    columns = jnp.zeros((rows, count, trie.levels), jnp.int32)
    logprobs = jnp.zeros((rows, count, trie.levels), jnp.float32)
    children = jnp.asarray(trie.children)

    def of_parent(values: jax.Array, parent: jax.Array) -> jax.Array:
        index = parent.reshape(*parent.shape, *(1,) * (values.ndim - 2))
        return jnp.take_along_axis(values, index, axis=1)

    for level in range(trie.levels):
        choice = choose(level, logits, node, score, keys)
        score = choice.score
        columns = of_parent(columns, choice.parent).at[:, :, level].set(choice.column)
        logprobs = of_parent(logprobs, choice.parent).at[:, :, level].set(choice.logprob)
        # A beam that found nothing stays at the root with score -inf, and so never comes up again.
        node = jnp.where(jnp.isfinite(score), children[of_parent(node, choice.parent), choice.column], ROOT)
        if level == trie.levels - 1:
            break
        slot = level * count
        sees = of_parent(sees, choice.parent)
        sees = sees.at[:, :, slot : slot + count].set(jnp.eye(count, dtype=bool)[None])
        hidden, cache = model.apply(
            weights,
            choice.column + trie.first_token,
            jnp.broadcast_to(length + level, (rows, count)),
            jnp.concatenate([sees_prompt, sees], axis=-1),
            cache,
            prompt_length + slot,
        )
        logits = model.apply(weights, hidden, method="head")
    return Candidates(jnp.asarray(trie.item)[node], columns + trie.first_token, logprobs)


def _check_count(trie: Trie, count: int, what: str) -> None:
    if not 1 <= count <= trie.items:
        raise ValueError(f"{what}: expected 1 to {trie.items}, the number of items, found {count}")
