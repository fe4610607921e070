"""Tables on a terminal: cells of text and numbers that fit its width, and in which nothing acts on it."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.terminal import Terminal

if TYPE_CHECKING:
    from rich.text import Text

Cell = str | tuple[str, str]  #: a text, or a text and its style

_GAP = "  "
_UNLIMITED = 1 << 16
_TIMES = ((86400, 3600, "dh"), (3600, 60, "hm"), (60, 1, "ms"))


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


def shown(value: Any, most: int = 200) -> str:
    """A text of somebody's in one line, with nothing in it that acts on a terminal or turns the line round.

    Example:
        >>> shown("a\\x1b[31m\\nb"), shown("abcdef", 4)
        ('a\\\\x1b[31m\\\\nb', 'abc…')
    """
    text = value if isinstance(value, str) else str(value)
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def number(value: float | int | None) -> str:
    """A number as people read it: whole ones in full, others to five digits.

    Example:
        >>> number(0.123456789), number(123456789), number(1e-6), number(math.nan), number(None)
        ('0.12346', '123456789', '1e-06', 'nan', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, int) or (math.isfinite(value) and value.is_integer() and abs(value) < 1e15):
        return str(int(value))
    return f"{value:.1f}" if 1e4 <= abs(value) < 1e8 else f"{value:.5g}"


def duration(value: float | None) -> str:
    """Seconds, in two units at most.

    Example:
        >>> [duration(each) for each in (0.0123, 4.2, 75, 3 * 3600 + 300, 2e5, None)]
        ['12.3 ms', '4.2 s', '1m 15s', '3h 05m', '2d 07h', '–']
    """
    if value is None or not math.isfinite(value):
        return "–"
    sign, left = ("−" if value < 0 else ""), round(abs(value))
    if left < 60:
        size = abs(value)
        return f"{sign}{size:.3g} s" if size >= 1 or not size else f"{sign}{size * 1e3:.3g} ms"
    large, small, names = next(each for each in _TIMES if left >= each[0])
    return f"{sign}{left // large}{names[0]} {left % large // small:02d}{names[1]}"


def bytes_shown(size: float) -> str:
    """A number of bytes.

    Example:
        >>> bytes_shown(999), bytes_shown(1_677_885_473)
        ('999 B', '1.7 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.2g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def ago(moment: float | None, now: float) -> str:
    """How long something is past.

    Example:
        >>> ago(1000.0, 1090.0), ago(None, 0.0), ago(5.0, 4.0)
        ('1m 30s ago', '–', 'now')
    """
    if moment is None:
        return "–"
    return f"{duration(now - moment)} ago" if now - moment >= 1 else "now"


def moment(seconds: float | None) -> str:
    """A time of day, in the time zone of this machine, to the minute."""
    if seconds is None:
        return "–"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "–"


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar of bytes on a terminal, where there are many; nothing elsewhere."""
    if not sys.stderr.isatty() or total < 50_000_000:
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    waiting = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(size: int) -> None:
            nonlocal waiting
            waiting += size
            if waiting > 1_000_000:
                bar.advance(task, waiting)
                waiting = 0

        yield advance
