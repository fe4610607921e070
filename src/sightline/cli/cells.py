"""Tables on a terminal: cells of text and numbers that fit its width, and in which nothing acts on it."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.support.terminal import Terminal

if TYPE_CHECKING:
    from rich.text import Text

Cell = str | tuple[str, str]  #: a text, or a text and its style

_GAP = "  "
_UNLIMITED = 1 << 16


@dataclass(frozen=True)
class Heading:
    """One column of a table that is shown.

    Attributes:
        title: above it.
        is_number: whether its cells stand to the right.
        rank: where the width does not do, the columns of the highest rank go first; those of rank 0 stay.
        shrinks_to: cells that it may be cut to, in the middle of its texts, before others go; 0: never.
        style: of its cells, as rich names it.
    """

    title: str
    is_number: bool = False
    rank: int = 0
    shrinks_to: int = 0
    style: str = ""


def show(headings: Sequence[Heading], rows: Sequence[Sequence[Cell]], *, indent: str = "") -> None:
    """Prints a table on stdout: cut to the width of a terminal, in full elsewhere.

    Args:
        headings: of the columns.
        rows: cells, each a text or a text and its style; nothing in them is looked at for markup.
        indent: before each line.
    """
    terminal = Terminal(sys.stdout)
    width = terminal.width if terminal.is_terminal else _UNLIMITED
    print_lines(laid_out(headings, rows, width - len(indent), indent=indent))


def show_list(title: str, items: Sequence[str]) -> None:
    """Prints items behind a title, with commas; on a terminal as many in a line as fit, else all in one."""
    from rich.cells import cell_len

    terminal = Terminal(sys.stdout)
    width = terminal.width if terminal.is_terminal else _UNLIMITED
    lines = [f"{title}:"]
    for at, item in enumerate(items):
        part = item if at == len(items) - 1 else f"{item},"
        if cell_len(lines[-1]) + 1 + cell_len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(f"  {part}")
    print_lines(lines)


def print_lines(lines: Sequence[Text | str]) -> None:
    """Prints lines on stdout, in colours where it is a terminal that wants them."""
    from rich.console import Console

    terminal = Terminal(sys.stdout)
    drawn = io.StringIO()
    console = Console(
        file=drawn, force_terminal=terminal.is_terminal, width=_UNLIMITED, markup=False, emoji=False,
        highlight=False, legacy_windows=False,
    )  # fmt: skip
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    terminal.print(drawn.getvalue())


def laid_out(
    headings: Sequence[Heading],
    rows: Sequence[Sequence[Cell]],
    width: int,
    *,
    indent: str = "",
) -> list[Text]:
    """The lines of a table that is at most so many cells wide, if its columns of rank 0 let it be.

    Example:
        >>> headings = [Heading("run", shrinks_to=4), Heading("step", True), Heading("host", rank=1)]
        >>> for line in laid_out(headings, [["a-long-name", "12", "h0"]], 14):
        ...     print(line.plain)
        run       step
        a-lo…ame    12
    """
    from rich.cells import cell_len
    from rich.text import Text

    shown_rows = [[each if isinstance(each, tuple) else (each, "") for each in row] for row in rows]
    columns = list(range(len(headings)))
    widths = [
        max([cell_len(headings[at].title), *(cell_len(row[at][0]) for row in shown_rows)]) for at in columns
    ]

    def excess() -> int:
        return sum(widths[at] for at in columns) + len(_GAP) * (len(columns) - 1) - width

    def least() -> int:
        """How much is too much even after shrinking."""
        return excess() - sum(
            max(0, widths[at] - headings[at].shrinks_to) for at in columns if headings[at].shrinks_to
        )

    while least() > 0 and any(headings[at].rank for at in columns):
        columns.remove(max(columns, key=lambda at: (headings[at].rank, at)))
    while excess() > 0:
        shrinking = [at for at in columns if headings[at].shrinks_to and widths[at] > headings[at].shrinks_to]
        if not shrinking:
            break
        widths[max(shrinking, key=lambda at: widths[at] - headings[at].shrinks_to)] -= 1

    def line(cells: Sequence[tuple[str, str]], styles: Sequence[str]) -> Text:
        text = Text(indent)
        for place, at in enumerate(columns):
            content, style = cells[at]
            content = cut_middle(content, widths[at])
            room = " " * (widths[at] - cell_len(content))
            if place:
                text.append(_GAP)
            last = place == len(columns) - 1
            text.append(room if headings[at].is_number else "")
            text.append(content, style=style or styles[at])
            text.append("" if headings[at].is_number or last else room)
        text.rstrip()
        return text

    heads = line([(each.title, "dim") for each in headings], [""] * len(headings))
    return [heads, *(line(row, [each.style for each in headings]) for row in shown_rows)]


def cut_middle(text: str, width: int) -> str:
    """A text that takes so many cells at most; the last parts of names tell most, so the middle goes.

    Example:
        >>> cut_middle("train/reward/total/mean", 15), cut_middle("abc", 3)
        ('train/r…al/mean', 'abc')
    """
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    head, tail = text[: max(0, width // 2)], text[len(text) - max(0, (width - 1) // 2) :] if width > 2 else ""
    while cell_len(head) + cell_len(tail) + 1 > width and (head or tail):
        if cell_len(head) > cell_len(tail):
            head = head[:-1]
        else:
            tail = tail[1:]
    return f"{head}…{tail}" if width > 0 else ""
