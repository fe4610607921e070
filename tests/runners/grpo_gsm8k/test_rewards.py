"""The reward functions, on completions written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from runners.grpo_gsm8k.rewards import correct, format, score, tag_count

GOOD = "<think>3+4=7</think><answer>7</answer>"


@pytest.mark.parametrize(
    ("completion", "truth", "expected"),
    [
        (GOOD, "7", 1.0),
        ("<answer> 7.0 </answer>", "7", 1.0),
        ("<answer>1,072</answer>", "1072", 1.0),
        ("<answer>7</answer><answer>8</answer>", "8", 1.0),
        (GOOD, "8", 0.0),
        ("7", "7", 0.0),
        ("<answer>seven</answer>", "7", 0.0),
        ("<answer></answer>", "7", 0.0),
        ("<answer>nan</answer>", "7", 0.0),
    ],
)
def test_correct_reads_the_last_answer_as_a_number(completion: str, truth: str, expected: float) -> None:
    assert correct(completion, truth) == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (GOOD, 1.0),
        ("<think>a\nb</think>\n<answer>7</answer>\n", 1.0),
        ("<think></think><answer></answer>", 1.0),
        ("So: " + GOOD, 0.0),
        (GOOD + GOOD, 0.0),
        ("<answer>7</answer><think>3+4</think>", 0.0),
        ("<think>3+4<answer>7</answer>", 0.0),
    ],
)
def test_format_wants_one_think_block_then_one_answer_block(completion: str, expected: float) -> None:
    assert format(completion, "7") == expected


@pytest.mark.parametrize(
    ("completion", "expected"), [(GOOD, 1.0), ("<think>7", 0.25), ("7", 0.0), (GOOD * 2, 0.0)]
)
def test_tag_count_gives_a_quarter_for_each_tag_that_occurs_once(completion: str, expected: float) -> None:
    assert tag_count(completion, "7") == expected


def test_the_total_is_the_weighted_sum() -> None:
    total, parts = score([GOOD, "<think>7"], ["7", "7"], {"correct": 1.0, "format": 0.5, "tag_count": 0.2})
    np.testing.assert_allclose(total, [1.7, 0.05])
    np.testing.assert_array_equal(parts["correct"], [1.0, 0.0])
