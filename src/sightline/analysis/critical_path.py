"""What made a step as long as it was: followed from its end backwards, over threads and processes."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sightline.analysis.stage_kinds import OTHER
from sightline.analysis.stage_pieces import StageSpan, Track, Where

_TOGETHER = 0.1  # of a stage's duration: ends that lie so close are one end, as after a collective
_TOGETHER_NS = 500_000
_MATTERS = 0.01  # of a path: less is not named
_MOST = 8  # stages that are named where all parts are short


class Segment(NamedTuple):
    """A part of a critical path: what the step was waiting for, where.

    Attributes:
        process: whose stage.
        stage: its name; ``other`` between stages.
        took_s: how long this part is.
    """

    process: int
    stage: str
    took_s: float


class MainParts(NamedTuple):
    """What matters of a critical path.

    Attributes:
        parts: those of 1 % and more; where these are less than half of it, what all add up to, by stage.
        is_in_order: whether ``parts`` are in the order in which they were; else the greatest comes first.
        rest_s: all others.
        parts_in_all: how many the path has.
    """

    parts: list[Segment]
    is_in_order: bool
    rest_s: float
    parts_in_all: int


class Loop:
    """One step of one loop.

    Attributes:
        start, end: of the step, in ns.
        spans: the stages that begin in it.
        pieces: see :class:`Track`; those that begin in it.
    """

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.spans: list[StageSpan] = []
        self.pieces: list[StageSpan] = []
        self._named: dict[str, tuple[list[int], list[StageSpan]]] | None = None

    @property
    def wall(self) -> int:
        """In ns."""
        return self.end - self.start

    def named(self, name: str) -> tuple[list[int], list[StageSpan]]:
        """The pieces of a name, and before them their beginnings."""
        if self._named is None:
            self._named = {}
            for piece in self.pieces:
                starts, pieces = self._named.setdefault(piece.name, ([], []))
                starts.append(piece.start)
                pieces.append(piece)
        return self._named.get(name, ([], []))


def critical_path(loops: Mapping[Where, Loop], track_of: Callable[[Where], Track]) -> list[Segment]:
    """What a step waited for, from its last end backwards, to where it began.

    Within a thread a stage waits for the one before it. An arrow into a stage leads to where it came from,
    whatever thread or process that is, if it began while the stage was under way; into a stage of a thread
    without this step also if it began in the time before, in which the thread was in nothing. Where a stage
    of one name ends together on several loops, as a collective does, it waited for the one that came to it
    last.

    Args:
        loops: of the step. The path ends where the loop that it leads to began it, and on other threads where
            the loop began it that ended last.
        track_of: of any thread of the run.
    """
    where = max(loops, key=lambda each: loops[each].end)
    loop: Loop | None = loops[where]
    at, begin = loops[where].end, loops[where].start
    found: list[Segment] = []
    stage: StageSpan | None = None
    while at > (floor := begin if loop is None else loop.start):  # each time it is earlier
        track = track_of(where)
        after, stage = stage, track.under_way(at)
        if stage is not None:
            name, since, source = stage.name, max(stage.start, floor), stage.waits_for
        else:
            name, since = OTHER, max(track.last_end(at, floor), floor)
            source = after.waits_for if after is not None and loop is None else None
        if source is not None and source[:2] != where and since < source.at < at:
            found.append(Segment(where[0], name, (at - source.at) / 1e9))
            where, at, stage = source[:2], source.at, None
            loop = loops.get(where)
            if loop is not None and not loop.start < at <= loop.end:
                loop = None
            continue
        if stage is not None and loop is not None and (stage.start, stage.end) == (since, at):
            where, since = _last_to_come(loops, stage, where)
            loop = loops[where]
        found.append(Segment(where[0], name, (at - since) / 1e9))
        at = since
    return joined(reversed(found))


def _last_to_come(loops: Mapping[Where, Loop], stage: StageSpan, where: Where) -> tuple[Where, int]:
    """Who began a stage last of those that end it together with it, and when."""
    since = stage.start
    for other, loop in loops.items():
        starts, pieces = loop.named(stage.name)
        place = bisect_left(starts, stage.end) - 1
        while place >= 0 and starts[place] > since:
            piece = pieces[place]
            apart = max(_TOGETHER * (piece.end - piece.start), _TOGETHER_NS)
            if abs(piece.end - stage.end) <= apart:
                where, since = other, piece.start
            place -= 1
    return where, since


def joined(segments: Iterable[Segment]) -> list[Segment]:
    """Those of one stage of one process, that follow each other, as one.

    Example:
        >>> joined([Segment(0, "a", 1.0), Segment(0, "a", 2.0), Segment(1, "a", 1.0)])
        [Segment(process=0, stage='a', took_s=3.0), Segment(process=1, stage='a', took_s=1.0)]
    """
    out: list[Segment] = []
    for segment in segments:
        if out and out[-1][:2] == segment[:2]:
            out[-1] = segment._replace(took_s=out[-1].took_s + segment.took_s)
        else:
            out.append(segment)
    return out


def main_parts(path: Sequence[Segment]) -> MainParts:
    """What matters of a critical path, to be told.

    Example:
        >>> main_parts([Segment(0, "a", 8.0), Segment(0, "other", 0.01), Segment(1, "b", 2.0)]).parts
        [Segment(process=0, stage='a', took_s=8.0), Segment(process=1, stage='b', took_s=2.0)]
        >>> main_parts([Segment(0, f"token {i % 2}", 0.5) for i in range(1000)]).parts[0]
        Segment(process=0, stage='token 0', took_s=250.0)
    """
    whole = sum(part.took_s for part in path)
    parts = joined(part for part in path if part.took_s > _MATTERS * whole)
    is_in_order = sum(part.took_s for part in parts) >= whole / 2
    if not is_in_order:
        sums: defaultdict[tuple[int, str], float] = defaultdict(float)
        for part in path:
            sums[part.process, part.stage] += part.took_s
        longest = sorted(sums.items(), key=lambda item: -item[1])[:_MOST]
        parts = [Segment(*where, took) for where, took in longest if took > _MATTERS * whole]
    return MainParts(parts, is_in_order, max(0.0, whole - sum(part.took_s for part in parts)), len(path))
