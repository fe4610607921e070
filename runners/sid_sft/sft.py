"""The update: cross-entropy of the answers, gradients accumulated over micro-batches.

The loss is the mean over all answer tokens of the step: their sum divided by their number, whatever the
micro-batches and processes that they sit in. What is summed by the way is kept apart by task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from runners.common.model import Decoder, completion_logits, token_logprobs
from runners.common.optimising import State
from runners.recommendation.tasks import TASKS


class Batch(NamedTuple):
    """One micro-batch, rows split over the mesh. P and C: prompt and answer length."""

    tokens: Any  # (B, P + C) int32
    valid: Any  # (B, P + C) bool: prompt and answer tokens that exist
    mask: Any  # (B, C) bool: answer tokens, which are trained
    tasks: Any  # (B,) int32: which of TASKS


class Sums(NamedTuple):
    """Over the rows of one or more micro-batches, by task: (T,) each. Sums add up."""

    loss: Any  # float32: negative log-likelihood of the answers
    tokens: Any  # int32: of the answers


class Update(NamedTuple):
    """What one optimiser step was; all () and the same on every process, still on the devices."""

    loss: Any  # float32: summed over the answer tokens of the whole step
    tokens: Any  # int32: how many these are
    task_loss: dict[str, Any]  # the same by task
    task_tokens: dict[str, Any]
    grad_norm: Any  # float32: of the mean loss's gradient, before clipping
    lr: Any  # float32


Gradients = Callable[[Any, Batch], tuple[Any, Sums]]
Apply = Callable[[State, Any, Sums], tuple[State, Update]]


def make_update(
    model: Decoder,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    prompt_length: int,
) -> tuple[Gradients, Apply]:
    """Two compiled halves of an update.

    `gradients(params, batch)` gives the loss's gradient summed over a micro-batch's answer tokens, and its
    `Sums`; both add up. `apply(state, gradients, sums)` divides by the number of tokens of all micro-batches
    and processes, and takes one optimiser step.
    """

    def objective(params: Any, batch: Batch) -> tuple[jax.Array, Sums]:
        logits = completion_logits(model, params, batch.tokens, batch.valid, prompt_length)
        logprobs, _ = token_logprobs(logits, batch.tokens[:, prompt_length:])
        losses = -jnp.sum(logprobs * batch.mask, axis=1)
        of_task = batch.tasks[:, None] == jnp.arange(len(TASKS))  # (B, T)
        tokens = jnp.sum(batch.mask, axis=1, dtype=jnp.int32)
        sums = Sums(losses @ of_task.astype(jnp.float32), jnp.sum(tokens[:, None] * of_task, axis=0))
        return jnp.sum(losses), sums

    def apply(state: State, total: Any, sums: Sums) -> tuple[State, Update]:
        tokens = jnp.sum(sums.tokens)
        gradients = jax.tree.map(lambda x: x / jnp.maximum(tokens, 1), total)
        update = Update(
            loss=jnp.sum(sums.loss),
            tokens=tokens,
            task_loss=dict(zip(TASKS, sums.loss, strict=True)),
            task_tokens=dict(zip(TASKS, sums.tokens, strict=True)),
            grad_norm=optax.tree.norm(gradients),
            lr=schedule(state.step),
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), update

    return jax.jit(jax.grad(objective, has_aux=True)), jax.jit(apply)
