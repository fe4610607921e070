"""What is written to stdout and stderr by anybody, C libraries and child processes included, as log lines.

A process ``tee`` stands behind each: it passes all on to where it went before, and appends it to a file,
which this process reads. So neither a long call into C that prints nor a child that lives longer can block or
break, and after SIGKILL or an abort the last words are on the terminal and in the file.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from sightline.errors import ConfigurationError

log = logging.getLogger("sightline")

_STREAMS = {1: "stdout", 2: "stderr"}
_LINE_END = re.compile(rb"\r*\n|\r+")  # progress bars end their lines with \r
_LONGEST_LINE = 1 << 16
_TICK_S = 0.2
_left_behind: list[subprocess.Popen[bytes]] = []  # a tee whose writers live on


class OutputCapture:
    """Reads stdout and stderr of this process from :meth:`begin` until :meth:`restore`.

    Args:
        path: of the file for ``"stdout"`` or ``"stderr"``; None while it is not known.
        meanwhile: of the file until then, on the same disk; it is moved, or deleted if it never is known.
        keep: takes a record for each line, of the logger ``stdout`` or ``stderr``.
        keep_bytes: a file that is longer, once all of it has been read, begins anew.

    Raises:
        ConfigurationError: there is no ``tee``.
    """

    def __init__(
        self,
        path: Callable[[str], Path | None],
        meanwhile: Callable[[str], Path],
        keep: Callable[[logging.LogRecord], None],
        *,
        keep_bytes: int,
    ) -> None:
        if shutil.which("tee") is None:
            raise ConfigurationError("capture_output=True needs the program tee (coreutils): install it")
        self._path = path
        self._meanwhile = meanwhile
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._pid = os.getpid()
        self._streams: list[_Stream] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sightline-output", daemon=True)
        self._begin()
        self._thread.start()

    def restore(self, timeout: float = 5.0) -> None:
        """Puts both back, and reads the rest."""
        if os.getpid() != self._pid:  # in a forked child they lead to the parent's, which is right
            return
        self._closing.set()
        self._thread.join(timeout)
        self._settle()
        for stream in self._streams:
            stream.restore(timeout)
            self._read(stream, to_the_end=True)
            stream.close()
            if stream.path == self._meanwhile(stream.name):
                stream.path.unlink(missing_ok=True)
        self._streams = []

    def _begin(self) -> None:
        for fd, name in _STREAMS.items():
            try:
                self._streams.append(_Stream(fd, self._path(name) or self._meanwhile(name)))
            except OSError as error:
                log.warning("sightline: cannot capture %s: %s", name, error)

    def _run(self) -> None:
        while not self._closing.wait(_TICK_S):
            self._settle()
            for stream in self._streams:
                self._read(stream)

    def _settle(self) -> None:
        """Moves files to where they belong, once that is known."""
        for stream in self._streams:
            path = self._path(stream.name)
            if path is not None and path != stream.path:
                stream.move(path)

    def _read(self, stream: _Stream, *, to_the_end: bool = False) -> None:
        try:
            for line in stream.lines(to_the_end=to_the_end):
                message = line.decode("utf-8", "backslashreplace")
                self._keep(logging.LogRecord(stream.name, logging.INFO, "", 0, message, (), None))
            stream.begin_anew(self._keep_bytes)
        except OSError as error:
            log.warning("sightline: cannot read %s: %s", stream.path, error)


class _Stream:
    """One file descriptor and its ``tee``."""

    def __init__(self, fd: int, path: Path) -> None:
        self.name = _STREAMS[fd]
        self.path = path
        self._fd = fd
        self._rest = b""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._at = os.fstat(self._file).st_size
        self._flush()
        self._before = os.dup(fd)
        reading, writing = os.pipe()
        try:
            # A session of its own: what ends this process's group must not end the way of its last words.
            self._tee = subprocess.Popen(
                ["tee", "-i", "-a", str(path)],
                stdin=reading, stdout=self._before, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            os.dup2(writing, fd)
        finally:
            os.close(reading)
            os.close(writing)

    def lines(self, *, to_the_end: bool) -> list[bytes]:
        """The lines that have come; a very long one in pieces."""
        found: list[bytes] = []
        while chunk := os.pread(self._file, 1 << 16, self._at):
            self._at += len(chunk)
            held = self._rest + chunk
            cut = len(held.rstrip(b"\r"))  # half of \r\n, perhaps
            *lines, rest = _LINE_END.split(held[:cut])
            self._rest = rest + held[cut:]
            if len(self._rest) > _LONGEST_LINE:
                lines.append(self._rest)
                self._rest = b""
            for line in lines:
                found += [line[at : at + _LONGEST_LINE] for at in range(0, len(line), _LONGEST_LINE)]
            if len(found) > 10_000:
                break
        if to_the_end and self._rest.rstrip(b"\r"):
            found.append(self._rest.rstrip(b"\r"))
            self._rest = b""
        return found

    def move(self, path: Path) -> None:
        """Renames the file, under which whoever writes it writes on."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():  # of an earlier process under this name
                numbered = (path.with_name(f"{path.stem}.{n:04d}{path.suffix}") for n in itertools.count())
                os.rename(path, next(each for each in numbered if not each.exists()))
            os.rename(self.path, path)
        except OSError as error:
            log.warning("sightline: %s cannot become %s, and stays: %s", self.path, path, error)
        self.path = path

    def begin_anew(self, keep_bytes: int) -> None:
        """Empties a long file of which all has been read; what comes in this very moment is lost."""
        if self._at > keep_bytes and os.fstat(self._file).st_size == self._at:
            os.ftruncate(self._file, 0)
            self._at = 0

    def restore(self, timeout: float) -> None:
        self._flush()
        os.dup2(self._before, self._fd)
        os.close(self._before)
        try:
            self._tee.wait(timeout)
        except subprocess.TimeoutExpired:  # a child process writes on
            _left_behind.append(self._tee)

    def close(self) -> None:
        os.close(self._file)

    def _flush(self) -> None:
        stream = sys.stdout if self._fd == 1 else sys.stderr
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
