"""What a GRPO update records, and under which names, the same in every runner that makes one.

It is recorded from inside, while JAX traces it: its tokens by each device for its own rows, and what is the
same on all of them counts once. Nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import sightline as sl


def record_tokens(mask: jax.Array, terms: Mapping[str, jax.Array]) -> None:
    """The trained tokens of a micro-batch, or of a part of it. Call inside the loss; ingest in scope `train`.

    mask, and each term: (..., C). The means are Σ over tokens / tokens, of all micro-batches, optimiser
    steps, devices and processes.
    """
    sl.masked("ratio", terms["ratio"], mask)
    sl.masked("advantage", terms["advantage"], mask)  # a completion's counts once for each of its tokens
    for name in ("loss", "entropy", "clip_fraction", "policy_kl", "kl"):
        if name in terms:
            sl.ratio(name, jnp.sum(terms[name] * mask), jnp.sum(mask))


def record_update(*, grad_norm: jax.Array, lr: Any) -> None:
    """One optimiser step. Call inside the compiled step; ingest in scope `train`."""
    sl.scalar(grad_norm=grad_norm)
    sl.last(lr=lr)
