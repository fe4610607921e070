"""Numbers and foreign texts, made fit for sentences and terminals."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from sightline.support.foreign_text import escaped, one_line, steady
from sightline.support.wording import ago, counted, duration, moment, number, processes, size
from sightline.watching.drawing import change
from tests.watching.journals import HOSTILE


@given(st.text())
def test_nothing_in_a_text_acts_on_a_terminal(text: str) -> None:
    """No control, no escape, no change of direction, no line break; lone surrogates too."""
    for shown in (steady(text), one_line(text), escaped(text)):
        assert shown.isprintable()
        shown.encode()


def test_a_long_text_is_cut_before_it_is_looked_at() -> None:
    assert len(steady("x\x1b" * 1_000_000, 100)) <= 200
    assert len(steady("a" + "\u0301" * 1_000_000, 100)) <= 200
    assert len(one_line("\u202e" * 1_000_000, 100)) <= 600


def test_what_was_hostile_is_still_told() -> None:
    for shown in (steady(HOSTILE), one_line(HOSTILE)):
        assert "\\x1b[2J" in shown
        assert "\\u202e" in shown
        assert "שלום" in shown


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(2, 8))
def test_a_number_has_room_in_its_column(value: float, digits: int) -> None:
    """And says as many digits as it should."""
    shown = number(value, digits)
    assert cell_len(shown) <= max(2 * digits, digits + 8)
    if math.isfinite(value) and abs(value) < 1e308:
        assert abs(float(shown) - value) <= 0.51 * 10 ** (1 - digits) * abs(value)


@given(st.floats(allow_nan=True, allow_infinity=True))
@example(35970.0)
@example(-171_000.0)
def test_changes_durations_and_sizes_of_any_size_are_short(value: float) -> None:
    assert cell_len(change(value)) <= 9
    assert cell_len(duration(abs(value))) <= 11
    assert cell_len(ago(value)) <= 15
    assert cell_len(moment(value)) <= 23
    if 1 <= abs(value) < 1e15:
        assert cell_len(size(value)) <= 9


def test_many_processes_are_told_in_few_words() -> None:
    assert processes(range(1000)) == "processes 0-999"
    assert len(processes(range(0, 10_000, 2))) < 60
    assert processes([]) == "an unknown process"


def test_one_is_no_plural() -> None:
    assert [counted(n, "step") for n in (0, 1, 4096)] == ["0 steps", "1 step", "4,096 steps"]
