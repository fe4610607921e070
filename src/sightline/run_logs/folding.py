"""The same line of many processes, close together, as one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from sightline.run_logs.merging import LogLine

_CLOSE_NS = 2_000_000_000
_MOST_LINES = 4096  # that wait for others
_MOST_BYTES = 8 << 20

Same = tuple[int, int, object, object, bytes, object]


class Folded(NamedTuple):
    """A line, and the processes that said the same.

    Attributes:
        line: the first one.
        processes: ascending.
    """

    line: LogLine
    processes: list[int]


class Folder:
    """Folds lines that come ordered by time; each waits for two seconds of the run for others.

    What one process says twice stays two lines.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, tuple[LogLine, set[int], Same]] = OrderedDict()
        self._open: dict[Same, list[int]] = {}  # the waiting ones that say the same, oldest first
        self._next = 0
        self._bytes = 0

    def put(self, line: LogLine) -> Iterator[Folded]:
        """Takes a line, and gives those that need not wait any more."""
        same = what(line)
        for number in self._open.get(same, ()):
            first, processes, _ = self._waiting[number]
            if line.process not in processes and line.time_ns - first.time_ns <= _CLOSE_NS:
                processes.add(line.process)
                break
        else:
            self._waiting[self._next] = line, {line.process}, same
            self._open.setdefault(same, []).append(self._next)
            self._bytes += line.size
            self._next += 1
        while self._waiting:
            first = next(iter(self._waiting.values()))[0]
            is_many = len(self._waiting) > _MOST_LINES or self._bytes > _MOST_BYTES
            if not is_many and line.time_ns - first.time_ns <= _CLOSE_NS:
                break
            yield self._pop()

    def flush(self) -> Iterator[Folded]:
        """Gives all that waits."""
        while self._waiting:
            yield self._pop()

    def _pop(self) -> Folded:
        number, (line, processes, same) = self._waiting.popitem(last=False)
        self._bytes -= line.size
        open_ = self._open[same]
        open_.remove(number)
        if not open_:
            del self._open[same]
        return Folded(line, sorted(processes))


def folded(lines: Iterable[LogLine]) -> Iterator[Folded]:
    """All lines, folded."""
    folder = Folder()
    for line in lines:
        yield from folder.put(line)
    yield from folder.flush()


def what(line: LogLine) -> Same:
    """What a line says; the same of lines that say the same."""
    if line.is_event:  # of one journal: never twice
        return line.attempt, line.level, "", line.number, b"", None
    record = line.record
    said = [record.get(name) for name in ("message", "fields", "exception", "stack")]
    return line.attempt, line.level, str(record.get("logger")), None, orjson.dumps(said), None
