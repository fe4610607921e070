"""Which rows a step trains on: an order that follows from the seed, so that a position says it all."""

from __future__ import annotations

import numpy as np


def batch_indices(position: int, batch: int, total: int, seed: int) -> np.ndarray:
    """Indices (batch,) int64 of the rows from `position` on, in an order shuffled anew each epoch.

    `position` counts the rows consumed so far, `total` the rows that there are.
    """
    where = np.arange(position, position + batch)
    epochs = where // total
    order = {e: np.random.default_rng([seed, int(e)]).permutation(total) for e in np.unique(epochs)}
    return np.array([order[e][i] for e, i in zip(epochs, where % total, strict=True)])
