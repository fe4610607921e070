"""The vocabulary of worked answers: common words, digits, and the four tags, each one token."""

from __future__ import annotations

from collections.abc import Iterable

from runners.common.tokenizer import BOS, EOS, PAD, Tokenizer

TAGS = ("<think>", "</think>", "<answer>", "</answer>")

__all__ = ["BOS", "EOS", "PAD", "TAGS", "Tokenizer", "train_tokenizer"]


def train_tokenizer(texts: Iterable[str], max_words: int) -> Tokenizer:
    """The tokenizer of these texts, with the tags."""
    return Tokenizer.train(texts, max_words, TAGS)
