"""What watches a process from when it is asked for until it is stopped; a process has one of each kind."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sightline.recording.sampling import Recorder

_running: dict[type, Monitor] = {}
_lock = threading.Lock()


class Monitor(ABC):
    """A kind of it: a context manager, which stops it.

    Args:
        tracker: who records; None: the tracker that is being committed.

    Example:
        >>> class Counting(Monitor):
        ...     def _start(self):
        ...         return [lambda: print("stopped")]
        >>> with Counting(None).begin() as monitor:
        ...     monitor.running, Counting(None).begin() is monitor
        (True, True)
        stopped
    """

    def __init__(self, tracker: Recorder | None) -> None:
        self._tracker = tracker
        self._removers: list[Callable[[], None]] = []

    def begin(self) -> Self:
        """Begins to watch, and returns this one; or the one of its kind that does already."""
        with _lock:
            running: Any = _running.get(type(self))
            if running is None:
                self._removers = self._start()
                running = _running[type(self)] = self
            return running  # type: ignore[no-any-return]

    @property
    def running(self) -> bool:
        """Whether it watches."""
        return bool(self._removers)

    def stop(self) -> None:
        """Ends it; again and again if you like. What was seen after the last commit is not recorded."""
        with _lock:
            if _running.get(type(self)) is self:
                del _running[type(self)]
            removers, self._removers = self._removers, []
        for remove in removers:
            remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _start(self) -> list[Callable[[], None]]:
        """Begins to watch; what is returned ends that."""

    def _renew(self) -> None:  # noqa: B027 - not every monitor has something to renew
        """In a forked child: what was seen is the parent's to commit, and the parent may have held a lock."""


def running_one(kind: type[Monitor]) -> Monitor | None:
    """The monitor of a kind that this process has."""
    return _running.get(kind)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for monitor in _running.values():
        monitor._renew()


os.register_at_fork(after_in_child=_after_fork_in_child)
