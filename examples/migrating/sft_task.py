"""What the second runner trains: which item comes after which, supervised; no phase touches it.

The next item follows from the last one, but for noise. Rows are divided over the processes.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from examples.migrating.task import my_rows

ITEMS, BATCH, TEST = 12, 96, 240
LEARNING_RATE = 20.0
NEXT = np.random.default_rng(3).permutation(ITEMS)


def batch(mesh: Mesh, step: int) -> tuple[jax.Array, jax.Array]:
    """Last items and next ones of all processes, int32 (BATCH,), as global arrays."""
    rows = [_pair([step, row]) for row in my_rows(BATCH)]
    sharding = NamedSharding(mesh, P("data"))
    last, following = (
        jax.make_array_from_process_local_data(sharding, x) for x in np.array(rows, np.int32).T
    )
    return last, following


def _pair(seed: list[int]) -> tuple[int, int]:
    random = np.random.default_rng(seed)
    last = int(random.integers(ITEMS))
    return last, int(NEXT[last]) if random.random() < 0.7 else int(random.integers(ITEMS))


def initial_params(mesh: Mesh) -> jax.Array:
    start = np.zeros((ITEMS, ITEMS), np.float32)
    params: jax.Array = jax.make_array_from_process_local_data(NamedSharding(mesh, P()), start)
    return params


@jax.jit
def update(params: jax.Array, last: jax.Array, following: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step of gradient descent; the parameters, and the mean loss over all processes' rows."""

    def loss_of(params: jax.Array) -> jax.Array:
        logprobs = jax.nn.log_softmax(params[last])
        return -jnp.mean(jnp.take_along_axis(logprobs, following[:, None], axis=1))

    loss, gradient = jax.value_and_grad(loss_of)(params)
    return params - LEARNING_RATE * gradient, loss


def rank_test_items(params: Any) -> np.ndarray:
    """For each test row the place of the true next item in the ranking, from 0; int (TEST,)."""
    pairs = np.array([_pair([9, 9, row]) for row in range(TEST)])
    scores = np.asarray(jax.device_get(params))[pairs[:, 0]]
    true = scores[np.arange(TEST), pairs[:, 1]]
    return np.asarray((scores > true[:, None]).sum(axis=1))
