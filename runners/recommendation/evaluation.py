"""Evaluation of a policy: the root alone ranks items for held-out users, on its own devices.

It runs on copies of the parameters and communicates with nobody, so the other processes need not take part;
`wait_for_root` holds them until it is done, lest they wait in the middle of a training step and that step's
times show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from runners.common.mesh import copy_to_local, local_rows, make_local_mesh, put_rows
from runners.common.model import Decoder
from runners.common.tokenizer import Tokenizer
from runners.recommendation import tasks
from runners.recommendation.catalogue import Catalogue, Dataset, Interactions
from runners.recommendation.decoding import make_beam_search
from runners.recommendation.ranking import ranks
from runners.recommendation.trie import Trie


@dataclass(frozen=True)
class Evaluation:
    """What the root found. N users, K items each."""

    items: np.ndarray  # (N, K) int64: the ranking, best first; indices of the catalogue, -1: no item
    ranks: np.ndarray  # (N,) int64: where the true item stands, K if nowhere

    @property
    def invalid(self) -> int:
        """Predictions that are no item, of N * K: none, as long as the search keeps to the trie."""
        return int((self.items < 0).sum())


class Evaluator:
    """Ranks the items for the users of a split, batch by batch, with one compiled program for all splits."""

    def __init__(
        self,
        model: Decoder,
        trie: Trie,
        catalogue: Catalogue,
        tokenizer: Tokenizer,
        splits: Mapping[str, Interactions],
        *,
        beams: int,
        batch_size: int,
        prompt_length: int,
    ) -> None:
        self.mesh: Mesh = make_local_mesh()
        self.batch_size = -(-batch_size // self.mesh.size) * self.mesh.size  # a multiple of the devices
        self.splits = {
            name: (
                tasks.encode(tasks.next_item(catalogue, rows), tokenizer, prompt_length, trie.levels + 1),
                rows.targets,
            )
            for name, rows in splits.items()
        }
        self.search = make_beam_search(self.mesh, model, trie, beams=beams)

    def __call__(self, params: Any, split: str, count: int | None = None) -> Evaluation:
        """Rank for the first `count` rows (none: all). params: replicated over any mesh of the job."""
        weights, (data, targets) = copy_to_local(self.mesh, params), self.splits[split]
        total = len(targets) if count is None else min(count, len(targets))
        found = []
        for start in range(0, total, self.batch_size):
            # The last batch is filled up with the first row, so that one program serves all batches.
            batch = np.arange(start, start + self.batch_size)
            batch = np.where(batch < total, batch, 0)
            prompts, valid = put_rows(self.mesh, (data.prompts[batch], data.prompt_valid[batch]))
            found.append(local_rows(self.search(weights, prompts, valid).items)[: total - start])
        items = np.concatenate(found).astype(np.int64)
        return Evaluation(items, ranks(items, targets[:total]))


def make_evaluator(
    model: Decoder,
    trie: Trie,
    dataset: Dataset,
    tokenizer: Tokenizer,
    *,
    beams: int,
    batch_size: int,
    prompt_length: int,
) -> Evaluator | None:
    """For the validation and test users, on the root; None on the others, which do not evaluate."""
    if not is_root():
        return None
    return Evaluator(
        model,
        trie,
        dataset.catalogue,
        tokenizer,
        {"valid": dataset.valid, "test": dataset.test},
        beams=beams,
        batch_size=batch_size,
        prompt_length=prompt_length,
    )


def is_root() -> bool:
    """Whether this process evaluates."""
    return jax.process_index() == 0


def wait_for_root() -> None:
    """Returns when every process has called it. No metric passes through it."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("evaluation")
