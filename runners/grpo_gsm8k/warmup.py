"""The supervised warm-up: a short next-token training on worked answers, so that sampling finds rewards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from runners.common.model import Decoder, completion_logits, token_logprobs
from runners.common.optimising import State


class Examples(NamedTuple):
    """Prompts with their worked completions, rows split over the mesh."""

    tokens: Any  # (B, P + C) int32
    valid: Any  # (B, P + C) bool


WarmupStep = Callable[[State, Examples], tuple[State, dict[str, jax.Array]]]


def make_warmup_step(
    model: Decoder, optimizer: optax.GradientTransformation, prompt_length: int
) -> WarmupStep:
    """One compiled step on the completion's cross-entropy, averaged over its tokens."""

    def objective(params: Any, batch: Examples) -> jax.Array:
        logits = completion_logits(model, params, batch.tokens, batch.valid, prompt_length)
        logprobs, _ = token_logprobs(logits, batch.tokens[:, prompt_length:])
        mask = batch.valid[:, prompt_length:]
        return -jnp.sum(logprobs * mask) / jnp.maximum(jnp.sum(mask), 1)

    @jax.jit
    def step(state: State, batch: Examples) -> tuple[State, dict[str, jax.Array]]:
        loss, gradients = jax.value_and_grad(objective)(state.params, batch)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(gradients)}
        return State(params, opt_state, state.step + 1), metrics

    return step
