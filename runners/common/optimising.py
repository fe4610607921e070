"""What an optimiser step changes, sums of gradients, and the learning rate by step."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

Shape = Literal["constant", "linear", "cosine"]


class State(NamedTuple):
    """What an update changes; replicated over the mesh."""

    params: Any
    opt_state: Any
    step: Any  # () int32: updates applied


@jax.jit
def add(a: Any, b: Any) -> Any:
    """Two trees of sums into one: gradient accumulation."""
    return jax.tree.map(jnp.add, a, b)


def learning_rate(peak: float, *, steps: int, warmup_steps: int = 0, shape: Shape) -> optax.Schedule:
    """The learning rate by optimiser step: up to `peak` in a line, then by `shape`; the last two end at 0."""
    decay = max(steps - warmup_steps, 1)
    after: optax.Schedule
    if shape == "cosine":
        after = optax.cosine_decay_schedule(peak, decay)
    elif shape == "linear":
        after = optax.linear_schedule(peak, 0.0, decay)
    else:
        after = optax.constant_schedule(peak)
    if not warmup_steps:
        return after
    rise = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([rise, after], [warmup_steps])


def make_adamw(
    schedule: optax.Schedule, *, weight_decay: float, max_grad_norm: float
) -> optax.GradientTransformation:
    """AdamW on clipped gradients; what is no matrix (norms, biases) does not decay."""

    def matrices(params: Any) -> Any:
        return jax.tree.map(lambda x: x.ndim > 1, params)

    return optax.chain(
        optax.clip_by_global_norm(max_grad_norm),
        optax.adamw(schedule, b2=0.98, weight_decay=weight_decay, mask=matrices),
    )
