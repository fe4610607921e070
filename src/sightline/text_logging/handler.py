"""The caller's side: a handler that appends, and waits only when far too much waits."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sightline.recording.step import active_step
from sightline.text_logging.entries import OWN_COUNT, Entry, can_wait, error_of, fields_of, message_of
from sightline.tracing.whereabouts import FOR_FILES

MOST_WAITING = 50_000  #: entries; with more, callers wait
_ROOM = 5_000  # until so many more would fit, so that each of them has its turn
_PATIENCE_S = 5.0  # how long while the background takes nothing, before entries are dropped
_LONGEST_S = 60.0  # how long while it does
_PAUSE_S = 0.005


class EntryHandler(logging.Handler):
    """Keeps entries for the background. It takes no lock, so that signal handlers and finalisers may log.

    Args:
        on_urgent: called for each record from WARNING up, once its entry waits.
        current_span: the name of the active span, or None.

    Attributes:
        waiting: the entries, oldest first.
    """

    def __init__(
        self,
        on_urgent: Callable[[logging.LogRecord], None],
        current_span: Callable[[], str | None] | None = None,
    ) -> None:
        super().__init__()
        self.waiting: deque[tuple[Any, ...]] = deque()
        self.lost = 0  # so far; not exact to the last one, since no lock is taken
        self.background: int | None = None  # the thread that takes them, which must never wait for itself
        self._on_urgent = on_urgent
        self._current_span = current_span
        self._is_full = False
        self._is_stuck = False
        self._taken = 0  # how often entries were taken

    def handle(self, record: logging.LogRecord) -> bool:
        """As the standard library's, without its lock."""
        if self.filters:
            found: object = self.filter(record)  # from Python 3.12 on possibly another record
            if not found:
                return False
            if isinstance(found, logging.LogRecord):
                record = found
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises, whatever the record holds."""
        has = record.__dict__
        self.keep(record, is_for_files=len(has) > OWN_COUNT and bool(has.pop(FOR_FILES, False)))

    def keep(self, record: logging.LogRecord, *, is_for_files: bool = False) -> None:
        """Lets a record wait to be written."""
        try:
            has = record.__dict__
            message, args = has["msg"], has["args"]
            if not can_wait(message, args):
                message, args = message_of(message, args), None
            entry: tuple[Any, ...] = (
                has["created"], has["levelno"], has["levelname"], has["name"], message, args,
                fields_of(record) if len(has) > OWN_COUNT else None,
                error_of(record) if has["exc_info"] else None,
                has["stack_info"], has["threadName"], has["pathname"], has["lineno"],
                active_step(), None if self._current_span is None else self._current_span(), is_for_files,
            )  # fmt: skip
        except Exception:  # noqa: BLE001 - out of memory or of stack, or a span that cannot be told
            message = record.msg if isinstance(record.msg, str) else ""
            entry = (
                time.time(), record.levelno, "ERROR", "sightline", message, None,
                None, None, None, None, "", 0, None, None, is_for_files,
            )  # fmt: skip
        if (self._is_full or len(self.waiting) >= MOST_WAITING) and not self._is_room():
            self.lost += 1
            return
        self.waiting.append(entry)
        if record.levelno >= logging.WARNING:
            try:
                self._on_urgent(record)
            except Exception:  # noqa: BLE001 - what is told of a warning is not the caller's trouble
                pass

    def take(self, most: int) -> list[Entry]:
        """The oldest entries; in the background."""
        self.background = threading.get_ident()
        self._is_stuck = False
        self._taken += 1
        entries: list[tuple[Any, ...]] = []
        pop = self.waiting.popleft
        try:
            for _ in range(most):
                entries.append(pop())  # noqa: PERF401 - it ends in the middle
        except IndexError:
            pass
        if len(self.waiting) <= max(0, MOST_WAITING - _ROOM):
            self._is_full = False
        return list(map(Entry._make, entries))

    def take_lost(self) -> int:
        """How many were dropped since the last call."""
        lost = self.lost
        self.lost -= lost
        return lost

    def _is_room(self) -> bool:
        """Waits a little for room; once that was in vain, not again before something has been taken."""
        if self._is_stuck or threading.get_ident() == self.background:
            return False
        self._is_full = True
        begin = moved = time.monotonic()
        taken = self._taken
        while self._is_full:
            time.sleep(_PAUSE_S)
            now = time.monotonic()
            if taken != self._taken:
                taken, moved = self._taken, now
            if now - moved >= _PATIENCE_S or now - begin >= _LONGEST_S:
                self._is_stuck = True
                return False
        return True
