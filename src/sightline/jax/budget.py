"""How many programs sightline may have compiled in this process."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

log = logging.getLogger("sightline")


class Programs:
    """The programs that this process has compiled for sightline, by what they were compiled for.

    Args:
        max_programs: how many there may be.
    """

    def __init__(self, max_programs: int = 64) -> None:
        self.max_programs = max_programs
        self._known: set[Any] = set()
        self._refused: set[Any] = set()
        self._lock = threading.RLock()  # a finaliser may record while a key is compared
        self._full = False

    def may_run(self, key: Any) -> bool:
        """Whether a program has been compiled for this, or may be."""
        if key in self._known:
            return True
        if key in self._refused:
            return False
        with self._lock:
            if len(self._known) < self.max_programs or key in self._known:
                self._known.add(key)
                return True
            full, self._full = self._full, True
        if not full:
            log.warning(
                "sightline: %d programs have been compiled for recorded arrays, and no more will be: arrays "
                "of further shapes and dtypes are copied and reduced on the host (said once). Pad to fewer "
                "shapes, or raise max_programs in sl.start",
                self.max_programs,
            )
        return False

    def refuse(self, key: Any) -> None:
        """There is no program for this: it could not be compiled or launched, and is not tried again."""
        with self._lock:
            self._known.discard(key)
            self._refused.add(key)


PROGRAMS = Programs()


def _after_fork_in_child() -> None:
    PROGRAMS._lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
