"""What an old name may show that is no number of the step itself: a window, a running total, a multiple.

Each is a description, plain and frozen; ``start`` gives a fresh one at work for one key of one run. They run
on the root, in the background, over the values of the commits that have the key, in their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sightline.values.snapshot import Value

#: One number for each commit that has the key; None: nothing to show yet.
Step = Callable[[Value], Value | None]


class Function(Protocol):
    """From the values of a key, one a commit, to those of an old name."""

    def start(self) -> Step:
        """A fresh one, which remembers what it must from call to call."""
        ...


@dataclass(frozen=True)
class MeanOfLast:
    """The mean over the last ``count`` commits that have the key; at first over those that there are.

    Args:
        count: of commits.
        full: whether there is nothing to show before there are that many.

    Example:
        >>> step, full = MeanOfLast(2).start(), MeanOfLast(2, full=True).start()
        >>> [step(value) for value in (1.0, 2.0, 4.0)], [full(value) for value in (1.0, 2.0, 4.0)]
        ([1.0, 1.5, 3.0], [None, 1.5, 3.0])
    """

    count: int
    full: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"MeanOfLast(count={self.count!r}): expected an int, 1 or more")

    def start(self) -> Step:
        """A fresh window."""
        values: deque[Value] = deque(maxlen=self.count)

        def step(value: Value) -> Value | None:
            values.append(value)
            return None if self.full and len(values) < self.count else sum(values) / len(values)

        return step


@dataclass(frozen=True)
class RunningTotal:
    """The sum over all commits so far; a resumed run goes on with what its journal holds.

    Example:
        >>> step = RunningTotal().start()
        >>> [step(value) for value in (5, 2, 3)]
        [5, 7, 10]
    """

    def start(self) -> Step:
        """A fresh sum, of nothing."""
        total: Value = 0

        def step(value: Value) -> Value:
            nonlocal total
            total += value
            return total

        return step


@dataclass(frozen=True)
class Scaled:
    """``factor`` times the value: another unit, a share of it, the other sign.

    Example:
        >>> Scaled(1000).start()(0.25)
        250.0
    """

    factor: float

    def __post_init__(self) -> None:
        _check_number("Scaled", "factor", self.factor)

    def start(self) -> Step:
        """The product; nothing is remembered."""
        return lambda value: value * self.factor


@dataclass(frozen=True)
class Constant:
    """Always ``value``, in commits that have the key: a flag that old runners set beside it.

    Example:
        >>> Constant(1).start()(0.25)
        1
    """

    value: Value

    def __post_init__(self) -> None:
        _check_number("Constant", "value", self.value)

    def start(self) -> Step:
        """The constant; nothing is remembered."""
        return lambda _: self.value


def _check_number(function: str, argument: str, given: object) -> None:
    if not isinstance(given, (int, float)):
        raise ValueError(f"{function}({argument}={given!r}): expected a number")
