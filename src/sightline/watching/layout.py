"""Where things go on a terminal of some size: which panels have room, and in which column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

TWO_COLUMNS = 140  #: cells, from which there are two
GUTTER = 3
EXTRA = 6  #: from which rank on panels have what others leave
_LEFT = 0.54  # of the width, since curves are there


class Wish(NamedTuple):
    """What a panel asks for, in rows with its title.

    Attributes:
        rank: the lower, the more important.
        least: fewer are of no use.
        wanted: more are not needed.
    """

    rank: int
    least: int
    wanted: int


def rows_for(wishes: Sequence[Wish], height: int) -> list[int]:
    """How many rows each panel gets; 0 for those that have no room.

    The important ones first get the least that they need; what is left goes round by rank. Those from rank
    ``EXTRA`` on have only what the others leave.

    Example:
        >>> rows_for([Wish(0, 3, 10), Wish(2, 2, 4), Wish(1, 3, 3)], 12)
        [7, 2, 3]
        >>> rows_for([Wish(0, 3, 10), Wish(2, 2, 4), Wish(1, 3, 3)], 6)
        [3, 0, 3]
    """
    given = [0] * len(wishes)
    by_rank = sorted(range(len(wishes)), key=lambda at: wishes[at].rank)
    left = height
    for is_extra in (False, True):
        group = [at for at in by_rank if (wishes[at].rank >= EXTRA) == is_extra]
        for at in group:
            if wishes[at].least <= left:
                given[at] = wishes[at].least
                left -= given[at]
        for at in group:
            if given[at]:
                more = min(left, wishes[at].wanted - given[at])
                given[at] += more
                left -= more
    return given


def columns_of(width: int) -> list[int]:
    """The widths of the columns.

    Example:
        >>> columns_of(80), columns_of(200)
        ([80], [106, 91])
    """
    if width < TWO_COLUMNS:
        return [width]
    left = int((width - GUTTER) * _LEFT)
    return [left, width - GUTTER - left]
