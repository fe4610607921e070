"""A view that is kept up to date: what has changed is read, worked out and drawn, and nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from sightline.errors import RunDirectoryError
from sightline.runs.run_directory import JOURNAL
from sightline.runs.run_state import RunState, state_of
from sightline.support.terminal import Terminal
from sightline.support.wording import processes
from sightline.views.history import History
from sightline.watching import drawing
from sightline.watching.cells import FULL, PLAIN, Glyphs, in_ascii
from sightline.watching.choosing import chosen, filtered
from sightline.watching.drawing import View
from sightline.watching.facts import (
    Facts,
    Files,
    facts_of,
    files_of,
    first_of,
    flat_counters,
    processes_here,
)
from sightline.watching.log_tail import LogTail
from sightline.watching.screen import Screen

_TAIL = 16 << 20  # bytes of the journal that are read at first
_REOPENED = 4  # times that, after which only its end is kept again
_EVERY_S = 1.0
_STATE_SHARE = 0.005  # of the time goes into asking for the run's state, at most, while nothing changes
_BUSY_SHARE = 0.05  # the same, while it grows
_STATE_S = 2.0
_FILES_S = 30.0


class Watch:
    """A run, followed.

    Args:
        run_dir: its directory.
        patterns: of metrics to show.
        window: how many of the last steps are looked at.

    Attributes:
        state: how the run stands.

    Raises:
        RunDirectoryError: there is no journal.
        JournalError: a newer version of sightline wrote it.
    """

    def __init__(self, run_dir: Path, *, patterns: Sequence[str] = (), window: int = 200) -> None:
        self.run_dir = run_dir
        self._directory = run_dir.resolve()  # `latest` may lead elsewhere later
        self._patterns = patterns
        self._window = window
        here = processes_here(self._directory)
        if here and not (self._directory / JOURNAL).exists():
            raise RunDirectoryError(
                f"{run_dir} has files of {processes(sorted(here))} and no {JOURNAL}, which the root writes: "
                f"watch the run on the root's host, or bring that file here"
            )
        self._history = History(self._directory, tail=_TAIL)
        self._logs = LogTail(self._directory)
        self.state: RunState = self._state()
        self._asked = time.monotonic()
        self._asks_s = 0.0
        self._files: Files | None = None
        self._files_looked = 0.0
        self.update()

    def _state(self) -> RunState:
        state = state_of(self._directory)
        return replace(state, reason=state.reason.replace(f"{self._directory}/", ""))

    @property
    def is_live(self) -> bool:
        """Whether somebody is at it, or has just begun."""
        return self.state.is_live or (self.state.state == "unknown" and bool(self.state.lock.is_held))

    def update(self) -> bool:
        """Reads what is new; returns whether anything is."""
        has_grown = self._history.update()
        if self._history.read > _REOPENED * _TAIL:
            self._history = History(self._directory, tail=_TAIL)
            self._history.update()
        is_new = self._logs.update() or has_grown
        now = time.monotonic()
        pause = self._asks_s / _BUSY_SHARE if has_grown else max(_STATE_S, self._asks_s / _STATE_SHARE)
        if now - self._asked >= pause:
            before, self.state = self.state, self._state()
            self._asked = time.monotonic()
            self._asks_s = self._asked - now
            is_new = is_new or self.state.state != before.state
        if self._files is None or now - self._files_looked >= _FILES_S:
            files = files_of(self._directory, max(self.state.processes, self._history.processes))
            is_new, self._files, self._files_looked = is_new or files != self._files, files, now
        return is_new

    def facts(self, view: View = View(), rows: int | None = None) -> Facts:  # noqa: B008 - it cannot be changed
        """What is to be shown.

        Args:
            view: what whoever looks has chosen.
            rows: of the metrics that many; None: all.
        """

        def choose(keys: list[str]) -> list[str]:
            if view.typed is None and not view.shows_all:
                first = first_of(self._history, self._window)
                return chosen(keys, self._patterns, flat_counters(self._history, first))
            return filtered(keys, view.typed or "")

        with np.errstate(all="ignore"):  # a warning would be printed into the picture
            return facts_of(
                self.run_dir,
                self._history,
                self.state,
                warned=self._logs.warned,
                warned_counts=self._logs.counts,
                newer_logs=self._logs.newer,
                files=self._files,
                patterns=self._patterns,
                choose=choose,
                page=None if rows is None else (view.offset, view.offset + rows),
                window=self._window,
            )


def glyphs_for(encoding: str | None) -> Glyphs:
    """What a stream of this encoding can show.

    Example:
        >>> glyphs_for("utf-8").is_plain, glyphs_for("ascii").is_plain
        (False, True)
    """
    try:
        "▁█━─●✓↗×·…⏎".encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return FULL


def summary(facts: Facts, stream: TextIO, *, width: int | None = None) -> str:
    """All of it once, as a stream takes it: with colours on a terminal, unless ``NO_COLOR`` is set.

    Args:
        facts: what is shown.
        stream: where it will be printed.
        width: in cells; None: that of the terminal, or ``COLUMNS``, or 80.
    """
    width = width or Terminal(stream).width
    glyphs = glyphs_for(stream.encoding)
    lines = drawing.page(facts, max(width, 40), None, view=View(), glyphs=glyphs, now=time.time())
    paint = Painter(stream)
    text = "\n".join(paint(line).rstrip(" ") for line in lines) + "\n"
    return text.encode(stream.encoding or "utf-8", "replace").decode(stream.encoding or "utf-8")


class Painter:
    """Turns a line into what a terminal makes colours of; plain text where the stream is none."""

    def __init__(self, stream: TextIO) -> None:
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._console = Console(file=stream, force_terminal=is_terminal, markup=False, highlight=False)
        self._is_plain = not is_terminal
        self._is_ascii = glyphs_for(stream.encoding).is_plain

    def __call__(self, line: Text) -> str:
        if self._is_ascii:
            line = in_ascii(line)
        if self._is_plain:
            return line.plain
        segments = line.render(self._console)
        if self._console.no_color:  # bold and dim are no colours
            segments = Segment.remove_color(segments)
        system = self._console._color_system
        return "".join(
            segment.style.render(segment.text, color_system=system) if segment.style else segment.text
            for segment in segments
            if segment.text != "\n"
        )


def watch(watched: Watch, output: TextIO, keyboard: TextIO | None, *, stays: bool) -> bool:
    """Shows a run on a terminal until it is finished, or somebody has seen enough.

    Args:
        watched: the run.
        output: a terminal.
        keyboard: where keys come from; None: nowhere.
        stays: also when the run has ended; its next attempt may come.

    Returns:
        whether it is finished.

    Raises:
        Ended, Gone: as :class:`Screen`.
    """
    view, paint, glyphs = View(), Painter(output), glyphs_for(output.encoding)
    with Screen(output, keyboard) as screen:
        facts = watched.facts(view, screen.size[1])
        body: list[Text] | None = None
        painted: dict[int, tuple[Text, str]] = {}
        keys: list[str] = []
        while True:
            columns, rows = screen.size
            now = time.time()
            if body is None:
                body = drawing.body(facts, columns, rows - 1, view=view, glyphs=glyphs, now=now)
            lines = [*drawing.head(facts, columns, glyphs, now), *body][: rows - 1]
            lines += [Text()] * (rows - 1 - len(lines)) + [drawing.footer(view, columns)]
            for at, line in enumerate(lines):
                if at not in painted or painted[at][0] != line:
                    painted[at] = line, paint(line)
            screen.show([painted[at][1] for at in range(len(lines))])
            keys = screen.wait(_EVERY_S)
            if watched.update():
                facts, body = watched.facts(view, screen.size[1]), None
                if watched.state.has_ended and not stays:
                    return True
            elif facts.state != watched.state:
                facts = facts.with_state(watched.state)
            for key in keys:
                columns, rows = screen.size  # as it is by now
                page = drawing.metric_rows(facts, columns, rows - 1, view=view, glyphs=glyphs, now=now)
                changed = pressed(key, view, most=len(facts.wanted), page=page)
                if changed is None:
                    return False
                view = changed
            if keys:
                facts, body = watched.facts(view, screen.size[1]), None


def pressed(key: str, view: View, *, most: int, page: int) -> View | None:
    """What becomes of a view when a key is pressed; None: it ends.

    Args:
        key: as of :meth:`Screen.wait`.
        view: as it was.
        most: how many metrics there are to scroll through.
        page: how many there is room for.

    Example:
        >>> pressed("down", View(), most=30, page=10)
        View(offset=1, typed=None, is_typing=False, shows_all=False)
        >>> pressed("end", View(), most=30, page=10).offset
        20
        >>> view = View()
        >>> for key in ["/", "k", "l", "enter"]:
        ...     view = pressed(key, view, most=3, page=10)
        >>> view.typed, view.is_typing, pressed("q", view, most=3, page=10)
        ('kl', False, None)
    """
    typed = view.typed or ""
    if view.is_typing:
        if key == "enter":
            return view._replace(is_typing=False, typed=typed or None)
        if key == "escape":
            return view._replace(is_typing=False, typed=None, offset=0)
        if key in ("backspace", "clear"):
            return view._replace(typed=typed[:-1] if key == "backspace" else "", offset=0)
        return view._replace(typed=(typed + key)[:100], offset=0) if len(key) == 1 else view
    moves = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page, "tab": page,
             "home": -most, "end": most}  # fmt: skip
    if key == "q":
        return None
    if key == "/":
        return view._replace(is_typing=True, typed=typed, offset=0)
    if key == "escape":
        return view._replace(typed=None, offset=0)
    if key == "a":
        return view._replace(shows_all=not view.shows_all, offset=0)
    return view._replace(offset=max(0, min(view.offset + moves.get(key, 0), most - page)))


def streams() -> tuple[TextIO, TextIO | None]:
    """This process's terminal, and where keys come from."""
    return sys.stdout, sys.stdin if sys.stdin is not None and sys.stdin.isatty() else None
