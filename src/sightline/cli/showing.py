"""Numbers, and texts of whoever, as the commands show them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """For stdout: as wide as the terminal, or 120 cells where it is none; no markup is read in texts."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120, soft_wrap=True)


def seconds(value: float | None) -> str:
    """A duration with three digits.

    Example:
        >>> seconds(1.2345), seconds(0.0123), seconds(None)
        ('1.23 s', '12.3 ms', '–')
    """
    if value is None:
        return "–"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def shown(value: Any, most: int = 60) -> str:
    """A text of somebody's, in one line, with nothing in it that acts on a terminal.

    Example:
        >>> shown("a\\x1b[31m\\nb"), shown("abcdef", 4)
        ('a\\\\x1b[31m\\\\nb', 'abc…')
    """
    text = str(value)[: most + 1]
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
