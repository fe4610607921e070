"""The tasks as text, and the text as token arrays.

The mixture is MiniOneRec's (arXiv:2510.24431, sec. 3.2): next-item prediction in semantic ids, alignment of
semantic ids and titles both ways, and the two fused, where history and answer are in different languages. The
wording is this runner's own, and short, since a small model pays for each token. What the answer should be is
said last, next to where it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from runners.common.tokenizer import BOS, EOS, PAD, Tokenizer
from runners.recommendation.catalogue import Catalogue, Interactions

TASKS = ("next_item", "sid_to_title", "title_to_sid", "history_to_title", "titles_to_item")


@dataclass(frozen=True)
class Example:
    """A prompt in parts, of which the oldest `history` is left out where there is no room, and its answer."""

    task: str  # one of TASKS
    before: str
    history: tuple[str, ...]  # oldest first
    after: str
    answer: str

    @property
    def prompt(self) -> str:
        return self.before + "".join(self.history) + self.after


@dataclass(frozen=True)
class Encoded:
    """N examples as arrays. P and C are the configured lengths."""

    prompts: np.ndarray  # (N, P) int32, left-padded
    prompt_valid: np.ndarray  # (N, P) bool
    answers: np.ndarray  # (N, C) int32, right-padded: the answer and eos
    answer_valid: np.ndarray  # (N, C) bool
    tasks: np.ndarray  # (N,) int32: which of TASKS

    def __len__(self) -> int:
        return len(self.tasks)


def next_item(catalogue: Catalogue, rows: Interactions) -> Iterator[Example]:
    """History of semantic ids → semantic id: what recommends, and what is evaluated."""
    for history, target in zip(rows.histories, rows.targets.tolist(), strict=True):
        sids = tuple(catalogue.sid(i) for i in history)
        yield Example("next_item", "history ", sids, " next item:", catalogue.sid(target))


def history_to_title(catalogue: Catalogue, rows: Interactions) -> Iterator[Example]:
    """History of semantic ids → title."""
    for history, target in zip(rows.histories, rows.targets.tolist(), strict=True):
        sids = tuple(catalogue.sid(i) for i in history)
        yield Example("history_to_title", "history ", sids, " next title:", _title(catalogue, target))


def titles_to_item(catalogue: Catalogue, rows: Interactions) -> Iterator[Example]:
    """History of titles → semantic id."""
    for history, target in zip(rows.histories, rows.targets.tolist(), strict=True):
        titles = tuple(f"{_title(catalogue, i)}," for i in history)
        yield Example("titles_to_item", "titles", titles, " next item:", catalogue.sid(target))


def sid_to_title(catalogue: Catalogue) -> Iterator[Example]:
    """Semantic id → title."""
    for i in range(len(catalogue)):
        yield Example("sid_to_title", "item ", (), f"{catalogue.sid(i)} title:", _title(catalogue, i))


def title_to_sid(catalogue: Catalogue) -> Iterator[Example]:
    """Title → semantic id."""
    for i in range(len(catalogue)):
        yield Example("title_to_sid", "title", (), f"{_title(catalogue, i)} item:", catalogue.sid(i))


def make_tokenizer(catalogue: Catalogue, max_words: int) -> Tokenizer:
    """Common words of prompts and titles, the base vocabulary; and behind it every SID token.

    It follows from the catalogue alone, so it is the same for every split and every process.
    """
    wording = ["history next item:", " next title:", "titles next item:", "item title:"]
    titles = [_title(catalogue, i) for i in range(len(catalogue))]
    # Twice, since a word that is there once only would be spelled in bytes: here it will come again.
    base = Tokenizer.train([*wording, *titles] * 2, max_words)
    return base.extended(catalogue.sid_tokens())


def encode(
    examples: Iterable[Example], tokenizer: Tokenizer, prompt_length: int, answer_length: int
) -> Encoded:
    """All examples as arrays.

    A prompt that is too long loses its oldest items, whole ones; if it is still too long, its beginning. An
    answer that is too long is cut.
    """
    rows = list(examples)
    n = len(rows)
    prompts = np.full((n, prompt_length), PAD, np.int32)
    answers = np.full((n, answer_length), PAD, np.int32)
    prompt_valid, answer_valid = np.zeros_like(prompts, bool), np.zeros_like(answers, bool)
    known: dict[str, list[int]] = {}  # an item's text comes up again and again

    def ids_of(text: str) -> list[int]:
        if text not in known:
            known[text] = tokenizer.encode(text)
        return known[text]

    for i, example in enumerate(rows):
        before, after = [BOS, *ids_of(example.before)], ids_of(example.after)
        history = _most_recent(
            [ids_of(text) for text in example.history], prompt_length - len(before) - len(after)
        )
        ids = [*before, *history, *after][-prompt_length:]
        prompts[i, prompt_length - len(ids) :] = ids
        prompt_valid[i, prompt_length - len(ids) :] = True
        ids = [*ids_of(example.answer), EOS][:answer_length]
        answers[i, : len(ids)] = ids
        answer_valid[i, : len(ids)] = True
    tasks = np.array([TASKS.index(example.task) for example in rows], np.int32)
    return Encoded(prompts, prompt_valid, answers, answer_valid, tasks)


def _most_recent(history: Sequence[list[int]], room: int) -> list[int]:
    """The tokens of as many of the last items as fit; of the last one always."""
    kept: list[int] = []
    for ids in reversed(history):
        if kept and len(kept) + len(ids) > room:
            break
        kept = ids + kept
    return kept


def _title(catalogue: Catalogue, item: int) -> str:
    """With the space that makes its first word the same token everywhere."""
    return f" {catalogue.titles[item]}"
