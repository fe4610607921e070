"""GRPO, whatever is sampled: group-relative advantages, the clipped loss, gradients over micro-batches.

DeepSeekMath (arXiv:2402.03300), eq. 3, with the token-level mean over the whole batch (DAPO,
arXiv:2503.14476): the sum over all valid tokens divided by their number, whatever the micro-batches and
processes they sit in.

What the loss knows is recorded there; `sl.collect` brings it out of `shard_map`, `grad` and `jit`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import sightline as sl
from runners.common.grpo_metrics import record_tokens, record_update
from runners.common.mesh import AXIS
from runners.common.optimising import State


class Trained(Protocol):
    """What the loss needs of a micro-batch. Rows are split over the mesh; C: completion length.

    `...` is one axis of completions, or two: prompts, and the completions of each.
    """

    @property
    def mask(self) -> Any:
        """(..., C) bool: completion tokens that are trained"""

    @property
    def advantages(self) -> Any:
        """(...) float32"""

    @property
    def old_logprobs(self) -> Any:
        """(..., C) float32 under the policy before the update"""

    @property
    def ref_logprobs(self) -> Any:
        """(..., C) float32 under the frozen reference; anything when there is none"""


def group_advantages(rewards: np.ndarray, group: int, epsilon: float = 1e-6) -> np.ndarray:
    """(r - mean) / (std + epsilon) within each group; rewards: (prompts * group,), groups together."""
    r = rewards.reshape(-1, group)
    advantages = (r - r.mean(axis=1, keepdims=True)) / (r.std(axis=1, keepdims=True) + epsilon)
    return np.asarray(advantages.reshape(-1), np.float32)


def zero_variance_groups(rewards: np.ndarray, group: int) -> np.ndarray:
    """(prompts,) bool: groups whose rewards are all equal, from which nothing is learned."""
    r = rewards.reshape(-1, group)
    return np.asarray(np.ptp(r, axis=1) == 0)


def clipped_loss(
    logprobs: jax.Array,
    batch: Trained,
    *,
    clip_low: float,
    clip_high: float,
    kl_beta: float,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss, summed over the valid tokens, and what it is made of, token by token: each (..., C)."""
    mask = batch.mask.astype(jnp.float32)
    log_ratio = logprobs - batch.old_logprobs
    ratio = jnp.exp(log_ratio)
    advantage = batch.advantages[..., None]
    plain = ratio * advantage
    clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantage
    losses = -jnp.minimum(plain, clipped)
    loss = jnp.sum(losses * mask)
    terms = {
        "loss": losses,
        "ratio": ratio,
        "advantage": jnp.broadcast_to(advantage, ratio.shape),
        "clip_fraction": clipped < plain,
        "policy_kl": jnp.exp(-log_ratio) - 1 + log_ratio,
    }
    if kl_beta:
        difference = batch.ref_logprobs - logprobs  # k3 (Schulman): unbiased, never negative
        terms["kl"] = jnp.exp(difference) - 1 - difference
        terms["loss"] = losses + kl_beta * terms["kl"]
        loss = loss + kl_beta * jnp.sum(terms["kl"] * mask)
    return loss, terms


#: `logprobs(params, batch)`: of the completion tokens, and the entropies of their distributions: (..., C).
Logprobs = Callable[[Any, Any], tuple[jax.Array, jax.Array]]
Gradients = Callable[[Any, Any], tuple[Any, Any]]
Apply = Callable[[State, Any, jax.Array], tuple[State, Any]]


def make_update(
    mesh: Mesh,
    logprobs: Logprobs,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    clip_low: float,
    clip_high: float,
    kl_beta: float,
) -> tuple[Gradients, Apply]:
    """Two compiled halves of an update; each returns what it recorded beside its result, for `sl.ingest`.

    `gradients(params, batch)` gives the loss's gradient summed over a micro-batch's valid tokens; sums add
    up. `apply(state, sum, tokens)` divides it by the number of valid tokens of all micro-batches and
    processes, and takes one optimiser step. A batch is `Trained`, and what else `logprobs` needs.
    """
    # Each device records its own rows, so that recording adds no communication between them.
    record = jax.shard_map(
        sl.collect(record_tokens, axis=AXIS), mesh=mesh, in_specs=P(AXIS), out_specs=P(AXIS)
    )

    def objective(params: Any, batch: Any) -> jax.Array:
        new, entropy = logprobs(params, batch)
        loss, terms = clipped_loss(new, batch, clip_low=clip_low, clip_high=clip_high, kl_beta=kl_beta)
        _, stats = record(batch.mask, {"entropy": entropy, **terms})
        sl.add(stats)
        return loss

    def apply(state: State, total: Any, tokens: jax.Array) -> State:
        gradients = jax.tree.map(lambda x: x / jnp.maximum(tokens, 1), total)
        record_update(grad_norm=optax.tree.norm(gradients), lr=schedule(state.step))
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1)

    return jax.jit(jax.grad(sl.collect(objective), has_aux=True)), jax.jit(sl.collect(apply))


@jax.jit
def count_tokens(masks: list[jax.Array]) -> jax.Array:
    """Trained tokens of all micro-batches and processes: () int32, replicated."""
    return sum((jnp.sum(mask) for mask in masks), jnp.int32(0))
