"""Measuring pairs: two things in turn, many rounds, a ratio a round."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: what is compared.
        middle: the median.
        low, high: quartiles over the rounds.
        bar: what it must not exceed; None if it is only shown.
        unit: of all of them.
        note: beside it.
    """

    what: str
    middle: float
    low: float
    high: float
    bar: float | None = None
    unit: str = "×"
    note: str = ""

    @property
    def is_left_out(self) -> bool:
        """Whether nothing was measured; the note says why."""
        return math.isnan(self.middle)

    @property
    def is_above(self) -> bool:
        """Whether it exceeds its bar."""
        return self.bar is not None and self.middle > self.bar


def left_out(what: str, bar: float | None, why: str) -> Figure:
    """A line for what cannot be measured here."""
    return Figure(what, math.nan, math.nan, math.nan, bar, note=why)


def figure(
    what: str, values: Sequence[float], bar: float | None = None, unit: str = "×", note: str = ""
) -> Figure:
    """The median and quartiles of some values."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return Figure(what, middle, low, high, bar, unit, note)


def seconds(call: Callable[[], object], times: int) -> float:
    """How long ``times`` calls take."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


def ratios(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 25, times: int = 1000
) -> list[float]:
    """Ours over theirs, a ratio a round; which goes first alternates."""
    seconds(ours, times)
    seconds(theirs, times)
    found = []
    gc.collect()
    for i in range(rounds):
        if i % 2:
            a = seconds(ours, times)
            b = seconds(theirs, times)
        else:
            b = seconds(theirs, times)
            a = seconds(ours, times)
        found.append(a / b)
    return found
