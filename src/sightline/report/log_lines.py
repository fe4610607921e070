"""Warnings and errors of the text logs of all processes, in bounded memory and time."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sightline.run_logs.choosing import Choice
from sightline.run_logs.files import Damage, Key, RunFiles, Segment
from sightline.run_logs.merging import LogLine, RunLogs
from sightline.sparse_files import data_size

_BYTES = 128 << 20  # of all logs: some seconds
_LINES = 2000
_PROBE = 64 << 10


class LogLines(NamedTuple):
    """What was found.

    Attributes:
        lines: the first 1,000 and the last 1,000, on corrected time.
        skipped: how many lines are between them.
        left_out: how many bytes were not read, of the beginnings of long logs.
        damage: what could not be read.
    """

    lines: list[LogLine]
    skipped: int
    left_out: int
    damage: Damage


def log_lines(run_dirs: Sequence[Path], *, room: int = _BYTES) -> LogLines:
    """Warnings and errors of all processes.

    Args:
        run_dirs: directories of one run.
        room: how many bytes are read; of longer logs about so many at their ends, as many of each process.

    Raises:
        RunDirectoryError: a file of another run, or of a newer format.
    """
    logs = RunLogs([], Choice(levels={"": logging.WARNING}), events=False)
    segments: dict[Key, list[Segment]] = {}
    for segment in RunFiles(run_dirs, logs.damage).segments():
        segments.setdefault(segment.key, []).append(segment)
    sizes = {key: sum(map(_size, of)) for key, of in segments.items()}
    share = _share(list(sizes.values()), room)
    ends = {key: _end(of, share) for key, of in segments.items()}
    logs.add([segment for of in ends.values() for segment in of])
    for key, size in sizes.items():
        if size > share:
            logs.sources[key].skip_to_last(_lines_in(ends[key][-1].path, share))
    begins = [cursor.offset for source in logs.sources.values() for _, cursor in source.cursors]
    read = sum(_size(segment) for of in ends.values() for segment in of) - sum(begins)
    left_out = sum(sizes.values()) - read
    first: list[LogLine] = []
    last: deque[LogLine] = deque(maxlen=_LINES // 2)
    count = 0
    for line in logs.lines(is_live=True):  # a line that a kill has cut is no damage
        count += 1
        if len(first) < _LINES // 2:
            first.append(line)
        else:
            last.append(line)
    logs.damage.cut.clear()
    return LogLines([*first, *last], count - len(first) - len(last), left_out, logs.damage)


def _share(sizes: Sequence[int], room: int) -> int:
    """How much of each is read, so that all fit: the short ones whole, and as much of each long one.

    Example:
        >>> _share([10, 100, 200], 110), _share([10, 20], 110)
        (50, 110)
    """
    share, rest = room, room
    for place, size in enumerate(sorted(sizes)):
        share = rest // (len(sizes) - place)
        if size > share:
            return share
        rest -= size
    return room


def _end(segments: Sequence[Segment], share: int) -> list[Segment]:
    """The last ones, which have at least so many bytes."""
    taken: list[Segment] = []
    for segment in reversed(segments):
        if share <= 0 and taken:
            break
        taken.insert(0, segment)
        share -= _size(segment)
    return taken


def _lines_in(path: Path, size: int) -> int:
    """About how many lines so many bytes have, by the last ones of a file."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _PROBE))
        end = file.read(_PROBE)
    return size * end.count(b"\n") // max(1, len(end))


def _size(segment: Segment) -> int:
    try:
        return data_size(segment.path.stat())
    except OSError:  # renamed in this moment
        return 0
