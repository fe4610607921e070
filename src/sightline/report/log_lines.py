"""Warnings and errors of the text logs of all processes, in bounded memory and time."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sightline.files.sparse_files import data_size
from sightline.run_logs.choosing import Choice
from sightline.run_logs.files import Damage, Key, RunFiles, Segment
from sightline.run_logs.folding import Same, what
from sightline.run_logs.merging import LogLine, RunLogs

_BYTES = 128 << 20  # of all logs: some seconds
_SAID = 1000  # of errors, and as many of warnings
_CLOSE_NS = 60_000_000_000
_OPEN = 4096  # that may be said again
_PROBE = 64 << 10


@dataclass
class Said:
    """What was said once, or again and again.

    Attributes:
        line: the first time.
        processes: whose.
        times: how often.
        last_ns: the last time, as :attr:`LogLine.time_ns`.
        last_step: in which step that was; None if that is unknown.
        is_left_out: it is not among those that are shown.
    """

    line: LogLine
    processes: set[int]
    times: int
    last_ns: int
    last_step: int | None
    is_left_out: bool = False


class LogLines(NamedTuple):
    """What was found.

    Attributes:
        said: of errors the first 500 and the last 500, of warnings as many, on corrected time; the same of
            all processes is one while it comes again within a minute.
        skipped: how many lines of errors, and of warnings, are not among them.
        left_out: how many bytes were not read, of the beginnings of long logs.
        damage: what could not be read.
    """

    said: list[Said]
    skipped: dict[str, int]
    left_out: int
    damage: Damage


def log_lines(run_dirs: Sequence[Path], *, room: int = _BYTES) -> LogLines:
    """Warnings and errors of all processes.

    Args:
        run_dirs: directories of one run.
        room: how many bytes are read; of longer logs about so many at their ends, as many of each process.

    Raises:
        RunDirectoryError: a file of another run.
    """
    logs = RunLogs([], Choice(levels={"": logging.WARNING}), events=False)
    segments: dict[Key, list[Segment]] = {}
    for segment in RunFiles(run_dirs, logs.damage).segments():
        segments.setdefault(segment.key, []).append(segment)
    sizes = {key: sum(map(_size, of)) for key, of in segments.items()}
    share = fair_share(list(sizes.values()), room)
    ends = {key: _end(of, share) for key, of in segments.items()}
    logs.add([segment for of in ends.values() for segment in of])
    for key, size in sizes.items():
        if size > share:
            logs.sources[key].skip_to_last(_lines_in(ends[key][-1].path, share))
    begins = [cursor.offset for source in logs.sources.values() for _, cursor in source.cursors]
    read = sum(_size(segment) for of in ends.values() for segment in of) - sum(begins)
    left_out = sum(sizes.values()) - read
    errors, warnings, folder = _Ends(), _Ends(), _Folder()
    for line in logs.lines(is_live=True):  # a line that a kill has cut is no damage
        of = errors if line.level >= logging.ERROR else warnings
        of.lines += 1
        new = folder.put(line)
        if new is not None:
            of.put(new)
    logs.damage.cut.clear()
    said = sorted([*errors.said, *warnings.said], key=lambda each: each.line.time_ns)
    return LogLines(said, {"error": errors.skipped, "warning": warnings.skipped}, left_out, logs.damage)


class _Folder:
    """Joins what is said again to what it was said in first."""

    def __init__(self) -> None:
        self._open: dict[Same, Said] = {}  # by when it was said last

    def put(self, line: LogLine) -> Said | None:
        """Gives what is said for the first time; to it later lines are added."""
        step = line.record.get("step")
        same, step = what(line), step if type(step) is int else None
        found = self._open.pop(same, None)
        if found is None or found.is_left_out or line.time_ns - found.last_ns > _CLOSE_NS:
            new = self._open[same] = Said(line, {line.process}, 1, line.time_ns, step)
        else:
            new = None
            found.processes.add(line.process)
            found.times += 1
            found.last_ns, found.last_step = line.time_ns, step
            self._open[same] = found
        if len(self._open) > _OPEN:
            del self._open[next(iter(self._open))]
        return new


class _Ends:
    """The first and the last of what was said, and how many lines there were in all."""

    def __init__(self) -> None:
        self.lines = 0
        self._first: list[Said] = []
        self._last: deque[Said] = deque()

    def put(self, said: Said) -> None:
        if len(self._first) < _SAID // 2:
            self._first.append(said)
            return
        self._last.append(said)
        if len(self._last) > _SAID // 2:
            self._last.popleft().is_left_out = True

    @property
    def said(self) -> list[Said]:
        return [*self._first, *self._last]

    @property
    def skipped(self) -> int:
        return self.lines - sum(each.times for each in self.said)


def fair_share(sizes: Sequence[int], room: int) -> int:
    """How much of each is read, so that all fit: the short ones whole, and as much of each long one.

    Example:
        >>> fair_share([10, 100, 200], 110), fair_share([10, 20], 110)
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
