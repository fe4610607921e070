"""The examples of all tasks in their shares: one set of rows, which each epoch goes through once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from runners.common.tokenizer import Tokenizer
from runners.recommendation import tasks
from runners.recommendation.catalogue import Dataset
from runners.recommendation.tasks import Encoded, Example


def mix(
    dataset: Dataset,
    tokenizer: Tokenizer,
    passes: Mapping[str, float],
    *,
    prompt_length: int,
    answer_length: int,
    seed: int,
) -> Encoded:
    """The training examples, each task's `passes` times: whole copies, and a seeded choice for the rest."""
    catalogue, train = dataset.catalogue, dataset.train
    of_task: dict[str, list[Example]] = {
        "next_item": [*tasks.next_item(catalogue, train)],
        "sid_to_title": [*tasks.sid_to_title(catalogue)],
        "title_to_sid": [*tasks.title_to_sid(catalogue)],
        "history_to_title": [*tasks.history_to_title(catalogue, train)],
        "titles_to_item": [*tasks.titles_to_item(catalogue, train)],
    }
    rng = np.random.default_rng([seed, 3])
    examples: list[Example] = []
    for name in tasks.TASKS:
        found = of_task[name]
        copies, rest = divmod(round(passes[name] * len(found)), len(found))
        examples += found * copies
        examples += [found[i] for i in np.sort(rng.permutation(len(found))[:rest])]
    return tasks.encode(examples, tokenizer, prompt_length, answer_length)
