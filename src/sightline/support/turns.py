"""What a process has once, and which of its open runs has it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable


class Turns:
    """Gives something to the first who asks; when that one ends, to the next.

    Example:
        >>> turns = Turns()
        >>> first = turns.ask(lambda: print("first begins"))
        first begins
        >>> second = turns.ask(lambda: print("second begins"))
        >>> first.end(lambda: print("first ends"))
        first ends
        second begins
        >>> second.has_it
        True
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._line: list[Turn] = []
        _all.add(self)

    def ask(self, begin: Callable[[], None]) -> Turn:
        """Calls ``begin`` now, or else when it is free, on the thread of whoever ends then."""
        turn = Turn(self, begin)
        with self._lock:
            self._line.append(turn)
            if turn.has_it:
                self._begin(turn)
        return turn

    def _begin(self, turn: Turn) -> None:
        try:
            turn._begin()
        except BaseException:
            self._line.remove(turn)
            raise

    def _forget_all(self) -> None:
        """In a forked child: the runs are the parent's."""
        self._lock = threading.RLock()
        self._line = []


class Turn:
    """Somebody's place in the line; made by :meth:`Turns.ask`."""

    def __init__(self, turns: Turns, begin: Callable[[], None]) -> None:
        self._turns = turns
        self._begin = begin

    @property
    def has_it(self) -> bool:
        """Whether it is this one's turn."""
        return self._turns._line[:1] == [self]

    def give_up(self) -> None:
        """Leaves the line, unless it has its turn already."""
        with self._turns._lock:
            if not self.has_it and self in self._turns._line:
                self._turns._line.remove(self)

    def end(self, close: Callable[[], None]) -> None:
        """Ends its turn: calls ``close``, if it had begun, and lets the next one begin."""
        self.give_up()
        if not self.has_it:
            return
        close()  # may take seconds, for which the others need not wait with their own ends
        with self._turns._lock:
            if self.has_it:
                self._turns._line.remove(self)
                if self._turns._line:
                    self._turns._begin(self._turns._line[0])


_all: weakref.WeakSet[Turns] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for turns in list(_all):
        turns._forget_all()


os.register_at_fork(after_in_child=_after_fork_in_child)
