"""Log lines for people, as the console shows them, with their processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from sightline.run_logs.folding import Folded
from sightline.support.terminal import Terminal
from sightline.support.wording import ranges_of
from sightline.text_logging.console import Painter, wants_colour
from sightline.text_logging.lines import Line, body_of, on_lines_of_its_own

_LONGEST = 4000  # characters of a message on a terminal
_DIM = "\x1b[2m{}\x1b[0m"


class Shower:
    """Makes lines of text.

    Args:
        stream: where they are printed: in colours if it is a terminal.
        sizes: tells how many processes each attempt has, by now.
    """

    def __init__(self, stream: TextIO, sizes: Callable[[], Mapping[int, int]]) -> None:
        terminal = Terminal(stream)
        self._is_terminal = terminal.is_terminal
        self._painter = Painter() if wants_colour(terminal) else None
        self._sizes = sizes

    def shown(self, folded: Folded) -> str:
        """A line with a line break; further lines of it are indented."""
        line, processes = folded
        record = line.shown_record()
        body = body_of(record)
        if self._is_terminal and len(body) > _LONGEST:
            body = f"{body[:_LONGEST]}… ({len(body) - _LONGEST} characters more; --json has all)"
        sizes = self._sizes()
        if len(processes) > 1:
            who = "" if len(processes) == sizes.get(line.attempt) else f" {ranges_of(processes)}"
            many = f"  ×{len(processes)} processes{who}"
            first, newline, rest = body.partition("\n")
            if line.level < logging.WARNING:  # from there on all of the line has the level's colour
                many = self._dim(many)
            body = f"{first}{many}{newline}{rest}"
        names = [f"p{line.process}"] if len(processes) == 1 and max(sizes.values(), default=1) > 1 else []
        names += [f"a{line.attempt}"] if len(sizes) > 1 else []
        who = self._dim(f"[{' '.join(names)}] ") if names else ""
        component = on_lines_of_its_own(str(record.get("logger", ""))[:200])
        level = on_lines_of_its_own(str(record.get("level", ""))[:40])
        made = Line(line.time_ns / 1e9, line.level, level, component, body, b"", b"")
        text = f"{level} {component}: {body}" if self._painter is None else self._painter.painted(made)
        return f"{self._dim(_stamp(line.time_ns))} {who}{text}\n"

    def _dim(self, text: str) -> str:
        return text if self._painter is None else _DIM.format(text)


def _stamp(time_ns: int) -> str:
    """Local time, to the millisecond."""
    try:
        second = time.strftime("%m-%d %H:%M:%S", time.localtime(time_ns // 10**9))
        return f"{second}.{time_ns // 10**6 % 1000:03d}"
    except (OverflowError, ValueError, OSError):
        return "??-?? ??:??:??.???"
