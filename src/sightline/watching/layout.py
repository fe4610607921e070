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
        brief: rows that are of use all the same, before anything else gets more than its least.
    """

    rank: int
    least: int
    wanted: int
    brief: int = 0


def rows_for(wishes: Sequence[Wish], height: int) -> list[int]:
    """How many rows each panel gets; 0 for those that have no room.

    The important ones first get the least that they need; what is left goes round by rank. Those from rank
    ``EXTRA`` on have only what the others leave. What can be said in brief is, if the most important one
    of all has its least.

    Example:
        >>> rows_for([Wish(0, 3, 10), Wish(2, 2, 4), Wish(1, 3, 3)], 12)
        [7, 2, 3]
        >>> rows_for([Wish(0, 3, 10), Wish(2, 2, 4), Wish(1, 3, 3)], 6)
        [3, 0, 3]
        >>> rows_for([Wish(0, 3, 10), Wish(2, 4, 4, brief=1), Wish(1, 3, 3)], 6)
        [5, 1, 0]
    """
    given = [0] * len(wishes)
    by_rank = sorted(range(len(wishes)), key=lambda at: wishes[at].rank)
    left = height
    kept = wishes[by_rank[0]].least if by_rank else 0
    for at in by_rank:
        room = left - (kept if at != by_rank[0] and kept <= height else 0)
        given[at] = min(wishes[at].brief, max(0, room))
        left -= given[at]
    for is_extra in (False, True):
        group = [at for at in by_rank if (wishes[at].rank >= EXTRA) == is_extra]
        for at in group:
            if wishes[at].least - given[at] <= left:
                left -= wishes[at].least - given[at]
                given[at] = wishes[at].least
        for at in group:
            if given[at] >= wishes[at].least:
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
