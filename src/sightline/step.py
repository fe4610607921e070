"""The active step: what ``run.steps`` and ``sl.step`` set, and exports, logs and spans read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ACTIVE: ContextVar[int | None] = ContextVar("sightline_step", default=None)
_latest: int | None = None  # for threads, which start with an empty context


@contextmanager
def step(number: int) -> Iterator[int]:
    """Makes ``number`` the active step within the block; ``run.steps`` does it for a whole loop.

    Example:
        >>> with step(7):
        ...     active_step()
        7
    """
    global _latest
    token = _ACTIVE.set(number)
    before, _latest = _latest, number
    try:
        yield number
    finally:
        _ACTIVE.reset(token)
        _latest = before


def active_step() -> int | None:
    """The active step of this context, else the latest of the process, else None."""
    active = _ACTIVE.get()
    return _latest if active is None else active
