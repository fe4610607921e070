"""Calls that threads make into JAX's C++, and the end of the process.

A thread that comes back from such a call while the interpreter ends aborts the process ("exception not
rethrown"): a run that went well would end with SIGABRT. So at the end of the process no call begins any more,
and those under way are waited for.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sightline.errors import TransportError

SLICE_S = 1.0  #: a call that may wait longer is made again and again instead
_LEAVE_S = 5 * SLICE_S


class Calls:
    """The calls that are under way.

    Example:
        >>> calls = Calls()
        >>> with calls.one():
        ...     calls.end(timeout=0.01)
        False
        >>> calls.end(timeout=0.01)
        True
        >>> with calls.one():
        ...     pass
        Traceback (most recent call last):
        sightline.errors.TransportError: this process is ending
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0
        self._is_over = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around each call.

        Raises:
            TransportError: the process is ending.
        """
        with self._changed:
            if self._is_over:
                raise TransportError("this process is ending")
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def end(self, timeout: float = _LEAVE_S) -> bool:
        """Lets no call begin any more, and waits for those under way; returns whether there are none."""
        with self._changed:
            self._is_over = True
            return self._changed.wait_for(lambda: not self._under_way, timeout)


#: Of this process. Whoever registers with ``atexit`` after this import still may call.
CALLS = Calls()
atexit.register(lambda: CALLS.end())


def _after_fork_in_child() -> None:
    global CALLS
    CALLS = Calls()


os.register_at_fork(after_in_child=_after_fork_in_child)
