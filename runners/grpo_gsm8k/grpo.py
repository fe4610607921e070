"""GRPO: group-relative advantages, the clipped loss, gradients accumulated over micro-batches.

DeepSeekMath (arXiv:2402.03300), eq. 3, with the token-level mean over the whole batch (DAPO,
arXiv:2503.14476): the sum over all valid tokens divided by their number, whatever the micro-batches and
processes they sit in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from runners.common.model import Decoder, completion_logits, token_logprobs


class Batch(NamedTuple):
    """One micro-batch, rows split over the mesh. P and C: prompt and completion length."""

    tokens: Any  # (B, P + C) int32
    valid: Any  # (B, P + C) bool: prompt and completion tokens that exist
    mask: Any  # (B, C) bool: completion tokens that are trained
    advantages: Any  # (B,) float32
    old_logprobs: Any  # (B, C) float32 under the policy that sampled
    ref_logprobs: Any  # (B, C) float32 under the frozen reference; zeros when there is none


class State(NamedTuple):
    """What an update changes; replicated over the mesh."""

    params: Any
    opt_state: Any
    step: Any  # () int32: updates applied


def group_advantages(rewards: np.ndarray, group: int, epsilon: float = 1e-6) -> np.ndarray:
    """(r - mean) / (std + epsilon) within each group; rewards: (prompts * group,), groups together."""
    r = rewards.reshape(-1, group)
    advantages = (r - r.mean(axis=1, keepdims=True)) / (r.std(axis=1, keepdims=True) + epsilon)
    return np.asarray(advantages.reshape(-1), np.float32)


def zero_variance_groups(rewards: np.ndarray, group: int) -> np.ndarray:
    """(prompts,) bool: groups whose rewards are all equal, from which nothing is learned."""
    r = rewards.reshape(-1, group)
    return np.asarray(np.ptp(r, axis=1) == 0)


def loss_sums(
    logprobs: jax.Array,
    batch: Batch,
    *,
    clip_low: float,
    clip_high: float,
    kl_beta: float,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sums over the valid tokens: the loss, and the clipped tokens and KL terms of the metrics."""
    mask = batch.mask.astype(jnp.float32)
    log_ratio = logprobs - batch.old_logprobs
    ratio = jnp.exp(log_ratio)
    advantage = batch.advantages[:, None]
    plain = ratio * advantage
    clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantage
    loss = jnp.sum(-jnp.minimum(plain, clipped) * mask)
    sums = {
        "clip_fraction": jnp.sum((clipped < plain) * mask),
        "policy_kl": jnp.sum((jnp.exp(-log_ratio) - 1 + log_ratio) * mask),
    }
    if kl_beta:
        difference = batch.ref_logprobs - logprobs  # k3 (Schulman): unbiased, never negative
        sums["kl"] = jnp.sum((jnp.exp(difference) - 1 - difference) * mask)
        loss = loss + kl_beta * sums["kl"]
    return loss, sums


Sums = dict[str, jax.Array]
Gradients = Callable[[Any, Batch], tuple[Any, Sums]]
Apply = Callable[[State, tuple[Any, Sums], jax.Array], tuple[State, Sums]]


def make_update(
    model: Decoder,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    prompt_length: int,
    temperature: float,
    clip_low: float,
    clip_high: float,
    kl_beta: float,
) -> tuple[Gradients, Apply]:
    """Two compiled halves of an update.

    `gradients(params, batch)` gives a micro-batch's sums over valid tokens: of the loss's gradient and of
    the metrics; sums add up. `apply(state, sums, tokens)` divides them by the number of valid tokens of all
    micro-batches and processes, and takes one optimiser step. The metrics that come back are replicated:
    equal on every process.
    """

    def objective(params: Any, batch: Batch) -> tuple[jax.Array, Sums]:
        logits = completion_logits(model, params, batch.tokens, batch.valid, prompt_length)
        # The distribution that was sampled from is the one that is trained.
        logprobs, entropy = token_logprobs(logits / (temperature or 1.0), batch.tokens[:, prompt_length:])
        loss, sums = loss_sums(logprobs, batch, clip_low=clip_low, clip_high=clip_high, kl_beta=kl_beta)
        sums["entropy"] = jnp.sum(jax.lax.stop_gradient(entropy) * batch.mask)
        sums["loss"] = loss
        return loss, sums

    @jax.jit
    def gradients(params: Any, batch: Batch) -> tuple[Any, Sums]:
        result: tuple[Any, Sums] = jax.grad(objective, has_aux=True)(params, batch)
        return result

    @jax.jit
    def apply(state: State, sums: tuple[Any, Sums], tokens: jax.Array) -> tuple[State, Sums]:
        grads, metrics = jax.tree.map(lambda x: x / jnp.maximum(tokens, 1), sums)
        metrics["grad_norm"] = optax.tree.norm(grads)
        metrics["lr"] = jnp.asarray(schedule(state.step))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), metrics

    return gradients, apply


@jax.jit
def add(a: Any, b: Any) -> Any:
    """Two trees of sums into one: gradient accumulation."""
    return jax.tree.map(jnp.add, a, b)


@jax.jit
def count_tokens(masks: list[jax.Array]) -> jax.Array:
    """Trained tokens of all micro-batches and processes: () int32, replicated."""
    return sum((jnp.sum(mask) for mask in masks), jnp.int32(0))
