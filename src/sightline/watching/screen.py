"""The terminal: the whole of it while a view is shown, keys, its size, and all as it was afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, TextIO

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"  # the other screen, no cursor, no wrapping
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_FRAME = "\x1b[?2026h", "\x1b[?2026l"  # terminals that know it show the whole frame at once
_CHUNK = 512  # bytes; a terminal that is held (Ctrl-S) takes none, and must not hold us
_PATIENCE_S = 0.5
_ESCAPE_S = 0.05  # after which an escape is one by itself, and not the beginning of a key
_KEY = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|\x1b|.", re.DOTALL)
_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown", "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "\x1b[F": "end",
    "\x1bOF": "end", "\x1b[4~": "end", "\x1b": "escape", "\r": "enter", "\n": "enter", "\x7f": "backspace",
    "\x08": "backspace", "\x15": "clear", "\t": "tab", "\x0c": "redraw",
}  # fmt: skip
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Gone(Exception):
    """The terminal is there no more, or takes nothing."""


class Ended(BaseException):
    """A signal asks the process to end.

    Attributes:
        signal: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Screen:
    """The terminal of a process, taken over while it is entered.

    It is given back on every way out: the end, an exception, Ctrl-C, SIGTERM, and while it is stopped.
    In between only :meth:`wait` and :meth:`show` touch it. For the main thread.

    Args:
        output: a terminal.
        keyboard: the terminal to read keys from; None: there is none.

    Raises:
        Ended: out of :meth:`wait`, on SIGTERM and SIGHUP.
        Gone: the terminal has been closed.
    """

    def __init__(self, output: TextIO, keyboard: TextIO | None) -> None:
        self._output = output.fileno()
        self._encoding = output.encoding or "utf-8"
        self._keyboard = keyboard.fileno() if keyboard is not None else None
        self._modes: list[Any] | None = None
        self._shown: list[str] = []
        self._typed = ""
        self._handlers: dict[int, Any] = {}
        self._wakes: tuple[int, int] | None = None
        self._caught: list[int] = []
        self._is_in = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._output)
        except OSError:
            return 80, 24
        return columns or 80, rows or 24

    def __enter__(self) -> Screen:
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        self._wakes = reader, writer
        self._wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT, *_ENDING):
            self._handlers[number] = signal.signal(number, self._catch)
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        interrupt = signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # a second Ctrl-C must not leave it half done
        try:
            self._leave()
        finally:
            signal.signal(signal.SIGINT, interrupt)

    def _leave(self) -> None:
        self._give()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        signal.set_wakeup_fd(self._wakeup_before)
        if self._wakes is not None:
            for end in self._wakes:
                os.close(end)
            self._wakes = None

    def wait(self, seconds: float) -> list[str]:
        """Waits for keys, another size, or the time to pass.

        Returns:
            the keys: characters, or names as ``up``, ``enter``, ``escape``; ``redraw`` where all must be
            drawn again; none when the time has passed.
        """
        end = time.monotonic() + seconds
        while True:
            keys = [*self._signals(), *self._keys()]
            left = end - time.monotonic()
            if keys or left <= 0:
                return keys
            self._sleep(left)

    def show(self, lines: Sequence[str]) -> None:
        """Shows lines, with what is in them to colour them; writes those that have changed only.

        A terminal that takes nothing now is left alone, and gets the next frame.
        """
        _, rows = self.size
        lines = list(lines[:rows])
        changed = [
            f"\x1b[{at + 1};1H\x1b[2K{line}\x1b[0m"
            for at, line in enumerate(lines)
            if at >= len(self._shown) or self._shown[at] != line
        ]
        if len(lines) < len(self._shown):
            changed.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
        if not changed:
            return
        self._shown = lines if self._write(_FRAME[0] + "".join(changed) + _FRAME[1]) else []

    # --- signals -------------------------------------------------------------------------------------------

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught.append(number)

    def _signals(self) -> list[str]:
        caught, self._caught = self._caught, []
        for number in caught:
            if number in _ENDING:
                raise Ended(number)
        if signal.SIGTSTP in caught:
            self._stop()
        elif signal.SIGCONT in caught:  # after a stop that nobody can catch
            self._take()
        elif signal.SIGWINCH in caught:
            self._shown = []
            self._write("\x1b[2J")
        else:
            return []
        return ["redraw"]

    def _stop(self) -> None:
        """Stops as if nothing had caught the signal, with the terminal as it was."""
        self._give()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # and here it goes on, when somebody wants it to
        signal.signal(signal.SIGTSTP, self._catch)
        self._caught = [number for number in self._caught if number != signal.SIGCONT]
        self._take()

    # --- the terminal --------------------------------------------------------------------------------------

    def _take(self) -> None:
        if self._keyboard is not None:
            if self._modes is None:
                self._modes = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard, termios.TCSANOW)
        self._is_in = True
        self._shown = []
        self._write(_ENTER)

    def _give(self) -> None:
        if not self._is_in:
            return
        self._is_in = False
        with contextlib.suppress(Gone):
            self._write(_LEAVE)
        if self._keyboard is not None and self._modes is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSANOW, self._modes)

    def _write(self, text: str) -> bool:
        """Whether the terminal took all of it."""
        data = text.encode(self._encoding, "replace")
        while data:
            try:
                if not select.select([], [self._output], [], _PATIENCE_S)[1]:
                    return False
                data = data[os.write(self._output, data[:_CHUNK]) :]
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise Gone(str(error)) from None
        return True

    def _sleep(self, seconds: float) -> None:
        watched = [] if self._wakes is None else [self._wakes[0]]
        if self._keyboard is not None:
            watched.append(self._keyboard)
        ready = select.select(watched, [], [], seconds)[0]
        if self._wakes is not None and self._wakes[0] in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakes[0], 4096)

    def _keys(self) -> Iterator[str]:
        if self._keyboard is None:
            return
        patience = 0.0
        while select.select([self._keyboard], [], [], patience)[0]:
            try:
                data = os.read(self._keyboard, 4096)
            except BlockingIOError:
                break
            except OSError as error:
                raise Gone(str(error)) from None
            if not data:
                raise Gone("the terminal was closed")
            self._typed += data.decode(errors="replace")
            # The rest of a key may be on its way.
            patience = _ESCAPE_S if re.search(r"\x1b(\[[0-9;?]*|O)?$", self._typed) else 0.0
        typed, self._typed = self._typed, ""
        for key in _KEY.findall(typed):
            name = _NAMES.get(key, key)
            if name in _NAMES.values() or (len(name) == 1 and name.isprintable()):
                yield name
