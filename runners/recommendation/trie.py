"""The semantic ids as a trie in arrays: which token may come next, known inside `jit`.

Node 0 is the root. A node is a prefix of semantic ids, a leaf is an item. The SID tokens have the last ids of
the vocabulary, so that one slice of the logits holds all of them: *columns* count from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from runners.common.errors import DataError
from runners.common.tokenizer import Tokenizer
from runners.recommendation.catalogue import Catalogue

ROOT = 0


@dataclass(frozen=True)
class Trie:
    """M nodes, S columns, N items, L levels."""

    first_token: int  # the id of the token in column 0
    children: np.ndarray  # (M, S) int32: the node behind each token, -1 where no item goes on so
    item: np.ndarray  # (M,) int32: the item at a leaf, -1 at an inner node
    columns: np.ndarray  # (N, L) int32: each item's path, as columns
    nodes: np.ndarray  # (N, L) int32: the node from which each step of that path is taken

    @property
    def items(self) -> int:
        return len(self.columns)

    @property
    def levels(self) -> int:
        return int(self.columns.shape[1])

    @property
    def tokens(self) -> np.ndarray:
        """(N, L) int32: the token ids of each item."""
        return (self.columns + self.first_token).astype(np.int32)

    def allowed(self, nodes: jax.Array) -> jax.Array:
        """(..., S) bool: the columns that go on from these nodes (...); none from a leaf."""
        return jnp.asarray(self.children)[nodes] >= 0

    def sid_logits(self, logits: jax.Array) -> jax.Array:
        """(..., S): the slice of the logits (..., vocab) that belongs to the columns."""
        return jax.lax.slice_in_dim(
            logits, self.first_token, self.first_token + self.children.shape[1], axis=-1
        )


def make_trie(catalogue: Catalogue, tokenizer: Tokenizer) -> Trie:
    """The trie of all items.

    Raises:
        DataError: the tokenizer lacks a SID token; the first one is named.
    """
    columns = np.array([[_column(tokenizer, token) for token in sid] for sid in catalogue.sids], np.int32)
    children: list[np.ndarray] = [np.full(len(tokenizer.added), -1, np.int32)]
    item = [-1]
    nodes = np.zeros_like(columns)
    for i, path in enumerate(columns):
        node = ROOT
        for level, column in enumerate(path):
            nodes[i, level] = node
            if children[node][column] < 0:
                children[node][column] = len(children)
                children.append(np.full(len(tokenizer.added), -1, np.int32))
                item.append(-1)
            node = int(children[node][column])
        item[node] = i
    return Trie(tokenizer.first_added, np.stack(children), np.array(item, np.int32), columns, nodes)


def _column(tokenizer: Tokenizer, token: str) -> int:
    id = tokenizer.id_of(token)
    if id is None or id < tokenizer.first_added:
        raise DataError(
            f"the vocabulary has no SID token {token}; it was made for another index: "
            f"{len(tokenizer.added)} SID tokens, {' '.join(tokenizer.added[:3])} …"
        )
    return id - tokenizer.first_added
