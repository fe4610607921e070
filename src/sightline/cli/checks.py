"""A list of checks, as people read it: a mark and a line each, with why and the fix where there is one."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

import click

from sightline.support.foreign_text import one_line
from sightline.support.terminal import Terminal

_LONGEST = 2000
_MARKS = {"ok": ("✓", "ok"), "note": ("!", "!"), "wrong": ("✗", "x"), "skipped": ("-", "-")}
_COLOURS = {"ok": "green", "note": "yellow", "wrong": "red", "skipped": "bright_black"}


class Sheet:
    """Prints checks to stdout, each with a mark, its name in a column, and texts that act on no terminal.

    Args:
        width: of the column of names.
        marks: by level the mark, and what stands for it where that cannot be printed; None: ✓, !, ✗ and -.
        colours: by level the name of one whose colour it has, where they are others.
    """

    def __init__(
        self,
        width: int,
        marks: Mapping[str, tuple[str, str]] | None = None,
        colours: Mapping[str, str] | None = None,
    ) -> None:
        self._terminal = Terminal(sys.stdout)
        marks = marks or _MARKS
        self._colour_of = {level: _COLOURS[(colours or {}).get(level, level)] for level in marks}
        column = int(not self._terminal.can_encode("".join(mark for mark, _ in marks.values())))
        self._marks = {level: each[column] for level, each in marks.items()}
        self._mark_width = max(map(len, self._marks.values()))
        self._width = width
        is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self._colours = self._terminal.is_terminal and not is_plain
        # Elsewhere a line is a line, so that grep finds it.
        self._columns = max(40, shutil.get_terminal_size().columns) if self._terminal.is_terminal else None

    def line(self, level: str, name: str, what: str, why: str = "", fix: str = "") -> None:
        """Prints one check."""
        mark = self._coloured(f"{self._marks[level]:<{self._mark_width}}", level)
        indent = " " * (self._mark_width + self._width + 3)
        first, *rest = self._wrapped(one_line(what, _LONGEST), len(indent)) or [""]
        lines = [
            f"{mark} {one_line(name, _LONGEST):<{self._width}}  {first}",
            *(indent + each for each in rest),
        ]
        if why:
            lines += [
                f"{indent}{each}" for each in self._wrapped(f"why: {one_line(why, _LONGEST)}", len(indent))
            ]
        if fix:
            lines.append(
                f"{indent}fix: {self._coloured(one_line(fix, _LONGEST), 'fix')}"
            )  # in one piece, to be copied
        self._terminal.print("\n".join(lines) + "\n")

    def say(self, text: str) -> None:
        """Prints a line."""
        self._terminal.print(one_line(text, _LONGEST) + "\n")

    def _wrapped(self, text: str, taken: int) -> list[str]:
        if self._columns is None:
            return [text]
        return textwrap.wrap(text, max(30, self._columns - taken - 1), break_on_hyphens=False)

    def _coloured(self, text: str, level: str) -> str:
        if not self._colours:
            return text
        return (
            click.style(text, bold=True) if level == "fix" else click.style(text, fg=self._colour_of[level])
        )


def widest(names: Sequence[str]) -> int:
    """How wide a column of names is."""
    return min(24, max(map(len, names), default=0))
