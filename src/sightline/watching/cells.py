"""Texts in cells of a terminal: cut, wrapped, and in the characters that it takes."""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sightline.watching import curves


class Glyphs(NamedTuple):
    """What things are drawn with.

    Attributes:
        levels: of sparklines.
        rule, bar, rest: of titles, of what is done, and of what is not.
        is_plain: whether the stream takes no others than ASCII.
    """

    levels: str
    rule: str
    bar: str
    rest: str
    is_plain: bool


FULL = Glyphs(curves.BLOCKS, "─", "━", "─", False)
PLAIN = Glyphs(curves.PLAIN, "-", "#", "-", True)


def styled(text: str, style: str) -> Text:
    """A text of which only this part has the style, whatever is appended."""
    return Text().append(text, style)


def fit(text: Text, width: int) -> Text:
    """Cut at its end where it is longer, in place."""
    if text.cell_len > width:
        text.truncate(max(0, width), overflow="ellipsis")
    return text


def fit_tail(text: str, width: int, glyphs: Glyphs) -> str:
    """In exactly so many cells, cut at its head: what tells names apart is the tail."""
    mark = "~" if glyphs.is_plain else "…"
    if cell_len(text) > width:
        text = text[-width + 1 :] if width > 1 else ""
        while cell_len(text) > width - 1:
            text = text[1:]
        text = mark + text
    return set_cell_size(text, width)


def cut(text: str, width: int) -> str:
    """In at most so many cells; what is cut at its end is marked."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[:-1]
    return text + "…"


_ASCII = str.maketrans("·…⏎×–↗↘→↑▏", ",~|x-^v=^_") | {ord("↓"): "v"}


def in_ascii(line: Text) -> Text:
    """The same for a stream that takes no other characters.

    Example:
        >>> in_ascii(Text("2 s · ↗ ×3")).plain
        '2 s , ^ x3'
    """
    line = line.copy()
    line.plain = line.plain.translate(_ASCII).encode("ascii", "replace").decode()
    return line


def wrapped(text: str, width: int, rows: int) -> list[str]:
    """In at most so many rows, broken between words where that can be."""
    found: list[str] = []
    while text and len(found) < rows:
        end, cells = 0, 0
        while end < len(text) and (cells := cells + cell_len(text[end])) <= width:
            end += 1
        space = text.rfind(" ", end // 2, end + 1) if end < len(text) else -1
        end = max(1, space if space > 0 else end)
        found.append(text[:end])
        text = text[end:].removeprefix(" ")
    if text and found:
        found[-1] = cut(found[-1] + "…", width)
    return found or [""]
