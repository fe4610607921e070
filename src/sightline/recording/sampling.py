"""What is asked at every commit: functions that record something which only needs looking at once a step.

A sampler is called on the committing thread, just before the records are drained, and records into the
tracker that is being committed: what it says is of this commit. It stands outside all scopes of the caller,
so that its keys are the same wherever the commit is made.

A forked child has none of its parent's samplers, whose locks and records are the parent's, but for those that
begin anew in a child and say so.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, Protocol

log = logging.getLogger("sightline")


class Recorder(Protocol):
    """The calls of a ``StatsTracker`` that samplers record with."""

    @property
    def enabled(self) -> bool: ...
    def scalar(self, key: str, value: Any, /, *, per_process: bool = False) -> None: ...
    def total(self, key: str, value: Any, /) -> None: ...
    def summary(
        self, key: str, values: Any, *, emit: Sequence[str] = ..., quantiles: Sequence[float] = ...
    ) -> None: ...
    def _add_timing(self, key: str, seconds: float) -> None: ...
    def _add_gauges(self, rows: Mapping[str, tuple[float, ...]], emit: tuple[str, ...]) -> None: ...
    def _count_trouble(self, name: str, count: int) -> None: ...


class _Asked:
    def __init__(self, sampler: Callable[[Any], None], in_children: bool) -> None:
        self.sampler = sampler
        self.in_children = in_children
        self.failed = False


_asked: list[_Asked] = []


def add_sampler(sampler: Callable[[Any], None], *, in_children: bool = False) -> Callable[[], None]:
    """Has ``sampler(tracker)`` called at each commit of this process; returns what ends that.

    It should take microseconds, since the training thread waits for it, and must not commit. What it raises
    is logged, once for each sampler, and goes no further.

    Args:
        sampler: takes the tracker that is committed.
        in_children: it is asked in forked children too, since it renews its locks there and lets go of what
            the parent has seen.

    Example:
        >>> remove = add_sampler(lambda tracker: tracker.total("commits", 1))
        >>> from sightline import StatsTracker
        >>> tracker = StatsTracker()
        >>> with tracker.scope("train"):
        ...     sample(tracker)
        >>> tracker.export(reduce="local")
        {'commits': 1}
        >>> remove()
    """
    asked = _Asked(sampler, in_children)
    _asked.append(asked)

    def remove() -> None:
        if asked in _asked:
            _asked.remove(asked)

    return remove


def sample(tracker: Recorder) -> None:
    """Asks all samplers, for a commit of what ``tracker`` has."""
    for asked in _asked.copy():  # a sampler may remove itself
        try:
            Context().run(asked.sampler, tracker)  # in an empty context no scope is active
        except Exception:  # whatever a sampler looks at, training goes on
            if not asked.failed:
                asked.failed = True
                name = getattr(asked.sampler, "__qualname__", repr(asked.sampler))
                log.exception("sightline: %s failed at a commit (said once); its values are missing", name)


def _after_fork_in_child() -> None:
    _asked[:] = [asked for asked in _asked if asked.in_children]


os.register_at_fork(after_in_child=_after_fork_in_child)
