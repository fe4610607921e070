"""Foreign texts and numbers, made fit for a terminal."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sightline.watching.words import change, clean, number, processes, span
from tests.watching.journals import HOSTILE


@given(st.text())
def test_nothing_in_a_text_acts_on_a_terminal(text: str) -> None:
    """No control, no escape, no change of direction, no line break; lone surrogates too."""
    shown = clean(text)
    assert shown.isprintable()
    shown.encode()


def test_a_long_text_is_cut_before_it_is_looked_at() -> None:
    assert len(clean("x\x1b" * 1_000_000, 100)) <= 200
    assert len(clean("a" + "\u0301" * 1_000_000, 100)) <= 200


def test_what_was_hostile_is_still_told() -> None:
    shown = clean(HOSTILE)
    assert "\\x1b[2J" in shown
    assert "\\u202e" in shown
    assert "שלום" in shown


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_has_room_in_its_column(value: float) -> None:
    shown = number(value)
    assert cell_len(shown) <= 11
    if math.isfinite(value) and abs(value) < 1e308:
        assert abs(float(shown) - value) <= 5.1e-4 * abs(value)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_changes_and_durations_of_any_size_are_short(value: float) -> None:
    assert cell_len(change(value)) <= 9
    assert cell_len(span(value)) <= 10


def test_many_processes_are_told_in_few_words() -> None:
    assert processes(range(1000)) == "processes 0–999"
    assert len(processes(range(0, 10_000, 2))) < 60
