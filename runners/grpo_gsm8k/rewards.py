"""The three reward functions of the usual `<think>`/`<answer>` recipe, on text. Each gives 0 to 1."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from runners.grpo_gsm8k.tokenizer import TAGS

_SHAPE = re.compile(r"\s*<think>.*?</think>\s*<answer>.*?</answer>\s*", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def final_answer(completion: str) -> str | None:
    """What stands in the last `<answer>…</answer>`, without spaces and thousands commas; None if nothing."""
    found = _ANSWER.findall(completion)
    return found[-1].strip().replace(",", "") if found else None


def correct(completion: str, truth: str) -> float:
    """1 when the answer is the true number: equal as text or as numbers (`7` and `7.0`)."""
    answer = final_answer(completion)
    if answer is None:
        return 0.0
    try:
        return float(answer == truth or float(answer) == float(truth))
    except ValueError:
        return 0.0


def format(completion: str, truth: str) -> float:
    """1 when the whole completion is one think block, then one answer block."""
    shaped = _SHAPE.fullmatch(completion) is not None
    return float(shaped and all(completion.count(tag) == 1 for tag in TAGS))


def tag_count(completion: str, truth: str) -> float:
    """A quarter for each of the four tags that occurs exactly once: partial credit on the way to `format`."""
    return sum(completion.count(tag) == 1 for tag in TAGS) / len(TAGS)


FUNCTIONS: dict[str, Callable[[str, str], float]] = {
    "correct": correct,
    "format": format,
    "tag_count": tag_count,
}


def score(
    completions: Sequence[str], truths: Sequence[str], weights: Mapping[str, float]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The weighted total (rows,) float64 and each function's own value (rows,) float64."""
    parts = {
        name: np.array([f(c, t) for c, t in zip(completions, truths, strict=True)], np.float64)
        for name, f in FUNCTIONS.items()
    }
    total = sum((weights.get(name, 0.0) * part for name, part in parts.items()), np.zeros(len(completions)))
    return total, parts
