"""The console: lines for people, in colours on a terminal, printed by a thread of their own."""

from __future__ import annotations

import logging
import os
import threading
import time
import zlib
from collections import deque
from collections.abc import Sequence
from typing import TextIO

from sightline.support.terminal import Terminal
from sightline.text_logging.lines import Line

_MOST_WAITING = 10_000  # lines; a terminal that is slower than that is for reading, and the files have all
_COMPONENTS = (
    "cyan",
    "green",
    "magenta",
    "blue",
    "bright_cyan",
    "bright_green",
    "bright_magenta",
    "bright_blue",
)
_LEVELS = ((logging.CRITICAL, "bold white on red"), (logging.ERROR, "bold red"), (logging.WARNING, "yellow"))


class LogConsole:
    """Prints lines to a stream.

    A terminal that hangs holds up nobody: what waits beyond 10,000 lines is left out, and that is said.

    Args:
        stream: as a rule stderr.
        process: shown in each line; None: not.
    """

    def __init__(self, stream: TextIO | None, process: int | None = None) -> None:
        self._terminal = Terminal(stream)
        self._prefix = "" if process is None else f"[p{process}] "
        self._painter: Painter | None = None
        if wants_colour(self._terminal):
            self._painter = Painter()
        self._waiting: deque[Line] = deque()
        self._left_out = 0
        self._changed = threading.Condition()
        self._busy = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def show(self, lines: Sequence[Line]) -> None:
        """Has lines printed; returns at once."""
        if not lines:
            return
        with self._changed:
            room = max(0, _MOST_WAITING - len(self._waiting))
            self._waiting.extend(lines[:room])
            self._left_out += len(lines[room:])
            if self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._run, name="sightline-console", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Waits until all of it is printed; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self, timeout: float) -> None:
        """Prints what waits, and ends."""
        done = self.flush(timeout)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None and done:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                lines, left_out = list(self._waiting), self._left_out
                self._waiting.clear()
                self._left_out = 0
                self._busy = True
            shown = "".join(map(self._shown, lines))
            if left_out:
                shown += f"… {left_out} lines are not shown here; the files have them\n"
            self._terminal.print(shown)

    def _shown(self, line: Line) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(line.time))
        if self._painter is None:
            return f"{clock} {self._prefix}{line.level_name} {line.component}: {line.body}\n"
        return f"{clock} {self._prefix}{self._painter.painted(line)}\n"


def wants_colour(terminal: Terminal) -> bool:
    """Whether a stream is a terminal that shows colours, to somebody who wants them."""
    return terminal.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Painter:
    """Colours: below WARNING the component's own, from there the level's over all of the line."""

    def __init__(self) -> None:
        from rich.console import Console

        self._system = Console(stderr=True, force_terminal=True)._color_system

    def painted(self, line: Line) -> str:
        """Level, component and body of a line."""
        from rich.style import Style

        for level, style in _LEVELS:
            if line.level >= level:
                whole = f"{line.level_name} {line.component}: {line.body}"
                return Style.parse(style).render(whole, color_system=self._system)
        colour = _COMPONENTS[zlib.crc32(line.component.partition(".")[0].encode()) % len(_COMPONENTS)]
        name = Style.parse(colour).render(line.component, color_system=self._system)
        return f"{line.level_name} {name}: {line.body}"
