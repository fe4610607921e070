"""The active step: what ``run.steps`` and ``sl.step`` set, and exports, logs and spans read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from sightline.errors import RecordError

#: The step of this thread or task; None where it has none of its own.
ACTIVE: ContextVar[int | None] = ContextVar("sightline_step", default=None)


class _Block:
    """A block of :func:`step` that is open, told from others of the same step."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


#: In the order in which they were entered, for threads, which start with an empty context. Those of several
#: tasks or threads may end in any order.
_open: list[_Block] = []
#: Called with each new active step of a thread or task, and with what it goes back to.
listeners: list[Callable[[int | None], None]] = []


@contextmanager
def step(number: int) -> Iterator[int]:
    """Makes ``number`` the active step within the block; ``run.steps`` does it for a whole loop.

    Raises:
        RecordError: ``number`` is no int.

    Example:
        >>> with step(7):
        ...     active_step()
        7
    """
    number = checked_step(number)
    token = ACTIVE.set(number)
    block = _Block(number)
    _open.append(block)
    _tell(number)
    try:
        yield number
    finally:
        _open.remove(block)
        ACTIVE.reset(token)
        _tell(ACTIVE.get())


def active_step() -> int | None:
    """The active step of this context, else the latest of the process, else None."""
    active = ACTIVE.get()
    return process_step() if active is None else active


def process_step() -> int | None:
    """The step entered last of those that are open, on any thread and in any task; None if none is."""
    try:
        return _open[-1].number if _open else None
    except IndexError:  # another thread has ended the last one
        return None


def _tell(number: int | None) -> None:
    for listener in listeners:
        listener(number)


def checked_step(number: Any) -> int:
    """A step as an int; NumPy's ints are ints.

    Raises:
        RecordError: it is something else, or more than 64 bits hold.
    """
    if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
        raise RecordError(f"step {number!r}: expected an int, got {type(number).__name__}")
    if not -(2**63) <= number < 2**63:
        raise RecordError(f"step {number!r}: expected an int of 64 bits")
    return int(number)
