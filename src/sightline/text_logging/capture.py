"""What no call has logged: uncaught exceptions and Python's warnings. Others' hooks go on working."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO


class Hooks:
    """Hears of uncaught exceptions and of warnings, then lets those who were there before do their part.

    Args:
        keep: takes a record for the files; the console has it from the hook before.
        flush: called with what ends a thread or the process, before it does.
    """

    def __init__(self, keep: Callable[[logging.LogRecord], None], flush: Callable[[float], object]) -> None:
        self._keep = keep
        self._flush = flush
        self._restores: list[Callable[[], None]] = []
        self._is_on = True

    def hear_exceptions(self) -> None:
        """From now on, of all threads."""
        self._put(sys, "excepthook", self._on_exception)
        self._put(threading, "excepthook", self._on_thread_exception)

    def hear_warnings(self) -> None:
        """From now on."""
        self._put(warnings, "showwarning", self._on_warning)

    def keep_exception(self, error: BaseException) -> None:
        """Writes it down."""
        level = logging.INFO if isinstance(error, KeyboardInterrupt) else logging.CRITICAL
        exc_info = (type(error), error, error.__traceback__)
        self._keep(_record("uncaught", level, f"uncaught {type(error).__name__}", exc_info))

    def restore(self) -> None:
        """Puts back what was there, where nobody has put something over it since."""
        self._is_on = False
        while self._restores:
            self._restores.pop()()

    def _put(self, module: Any, name: str, hook: Callable[..., None]) -> None:
        before = getattr(module, name)

        def chained(*args: Any, **kwargs: Any) -> None:
            if self._is_on:
                try:
                    hook(*args, **kwargs)
                except Exception:  # noqa: BLE001 - the hook before must have its turn
                    pass
            before(*args, **kwargs)

        def restore() -> None:
            if getattr(module, name) is chained:
                setattr(module, name, before)

        setattr(module, name, chained)
        self._restores.append(restore)

    def _on_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self.keep_exception(error)
        self._flush(2.0)

    def _on_thread_exception(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit:
            return
        who = args.thread.name if args.thread is not None else "a thread"
        error = args.exc_value if args.exc_value is not None else args.exc_type()
        message = f"uncaught {args.exc_type.__name__} in {who}"
        self._keep(_record("uncaught", logging.CRITICAL, message, (args.exc_type, error, args.exc_traceback)))

    def _on_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is None:
            record = _record("warnings", logging.WARNING, f"{category.__name__}: {message}", None)
            record.pathname, record.lineno = filename, lineno
            self._keep(record)


def _record(name: str, level: int, message: str, exc_info: Any) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, (), exc_info)
