"""A stream that people read: whole pieces of text at a time, whoever prints them, and never an exception."""

from __future__ import annotations

import io
import os
import threading
from typing import TextIO

_printing = threading.Lock()  # tables and log lines come from several threads


class Terminal:
    """Prints to a stream; once that is closed, or its reader has gone, nothing.

    Example:
        >>> stream = io.StringIO()
        >>> Terminal(stream).print("step 1\\n")
        >>> stream.getvalue()
        'step 1\\n'
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def is_open(self) -> bool:
        """Whether anything is printed."""
        return self._stream is not None

    @property
    def is_terminal(self) -> bool:
        """Whether it is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    @property
    def width(self) -> int:
        """In cells; 80 where it cannot be told."""
        columns = os.environ.get("COLUMNS", "")
        if columns.isdecimal() and int(columns) > 0:
            return int(columns)
        try:
            assert self._stream is not None
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (AssertionError, AttributeError, OSError, ValueError):
            return 80

    @property
    def encoding(self) -> str:
        """Of the stream; UTF-8 where it says none."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def can_encode(self, text: str) -> bool:
        """Whether it can show these characters."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def print(self, text: str) -> None:
        """Prints a text, whole lines of it; no other print of this module comes in between."""
        with _printing:
            self._print(text)

    def _print(self, text: str) -> None:
        stream = self._stream
        if stream is None:
            return
        data = text.encode(self.encoding, "backslashreplace")
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        try:
            stream.flush()
            if isinstance(raw, io.FileIO):
                # Past the buffer: what a closed pipe refuses would stay in there, and make the
                # interpreter's last flush, and with it a training run that went well, fail.
                while data:
                    data = data[raw.write(data) or len(data) :]
            else:
                stream.write(data.decode(self.encoding))
                stream.flush()
        except (OSError, ValueError):
            self._stream = None


def _after_fork_in_child() -> None:
    global _printing
    _printing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
