"""The lines of a run that goes on, as they come: of new processes, new attempts and rotated files too."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sightline.run_logs.files import Cursor
from sightline.run_logs.merging import Events, LogLine, RunLogs, place
from sightline.runs.run_directory import JOURNAL

_TICK_S = 0.2
_HOLD_S = 1.0  # that a line waits for earlier ones of other processes, which write several times a second
_AT_ONCE_BYTES = 32 << 20
_QUIET_S = 10.0  # after the run's end, for processes that do not say theirs


class Follower:
    """Tails all files of a run.

    Args:
        logs: of the run.
        say: is told once what a person should know, as that the root has died.
        hold_s: how long lines wait for earlier ones of other processes.
        tick_s: between two looks.
    """

    def __init__(
        self,
        logs: RunLogs,
        say: Callable[[str], object] = lambda text: None,
        *,
        hold_s: float = _HOLD_S,
        tick_s: float = _TICK_S,
    ) -> None:
        self._logs = logs
        self._say = say
        self._hold_s = hold_s
        self._tick_s = tick_s
        self._said: set[str] = set()
        self._inodes: dict[Path, tuple[int, int]] = {}
        self._heads: dict[bytes, Cursor] = {}
        self._know()

    def batches(self) -> Iterator[list[LogLine]]:
        """What has come, ordered by time within each batch; empty ones while nothing comes.

        It ends when the run is finished and all of it has come. A line that comes late is in the batch of the
        time when it comes.
        """
        waiting: list[tuple[float, LogLine]] = []  # with when they came
        quiet_since = time.monotonic()
        while True:
            came, has_more = self._look()
            now = time.monotonic()
            if came:
                quiet_since = now
            waiting += [(now, line) for line in came]
            is_over = not has_more and self._is_over(now - quiet_since)
            at_once = is_over or has_more
            ripe = [line.time_ns for at, line in waiting if at_once or now - at >= self._hold_s]
            if ripe:
                last = max(ripe)
                ready = sorted((line for _, line in waiting if line.time_ns <= last), key=place)
                yield list(self._logs.once(ready))
                waiting = [each for each in waiting if each[1].time_ns > last]
            else:
                yield []
            if is_over:
                self._logs.note_ends()
                return
            if not has_more:
                time.sleep(self._tick_s)

    def _look(self) -> tuple[list[LogLine], bool]:
        """New lines of new and known files; and whether there are more, which must not all be in memory."""
        logs = self._logs
        for journal in (each / JOURNAL for each in logs.files.dirs):
            if journal not in logs.files.journals and journal.exists():
                logs.files.journals.append(journal)
                logs.events.append(Events(journal, logs.choice, logs.damage))
        self._find_files()
        came: list[LogLine] = []
        size = 0
        reads: list[tuple[Cursor, Callable[[], list[LogLine] | None]]] = [
            (each.cursor, each.read) for each in logs.events
        ]
        for source in logs.sources.values():
            reads += [(cursor, partial(source.read, cursor)) for _, cursor in source.cursors]
        lasts = {id(source.cursors[-1][1]) for source in logs.sources.values()}
        lasts |= {id(each.cursor) for each in logs.events}
        for cursor, read in reads:
            while not cursor.is_done and (lines := read()) is not None:
                came += lines
                size += sum(line.size for line in lines)
                if size > _AT_ONCE_BYTES:
                    return came, True
            cursor.is_done = id(cursor) not in lasts
        if not logs.events:
            self._tell("the root's journal is not here, so nothing tells when the run ends: Ctrl-C does")
        elif not self._is_finished() and (dead := self._dead_root()):
            self._tell(f"{dead}; still following, for what others write and for another attempt")
        return came, False

    def _find_files(self) -> None:
        logs = self._logs
        segments = []
        for segment in logs.files.segments(self._inodes):
            self._inodes[segment.path] = segment.inode
            cursor = self._heads.get(segment.head)
            if cursor is None:
                segments.append(segment)
            elif cursor.inode != segment.inode and cursor.is_lost():  # copied anew, as by `sightline collect`
                cursor.path, cursor.inode, cursor.is_done = segment.path, segment.inode, False
        if segments:
            logs.add(segments)
            self._know()

    def _know(self) -> None:
        for source in self._logs.sources.values():
            self._heads.update((segment.head, cursor) for segment, cursor in source.cursors)

    def _is_finished(self) -> bool:
        attempts = [attempt for each in self._logs.events for attempt in each.processes]
        finished = {attempt for each in self._logs.events for attempt in each.finished}
        return bool(finished) and max(finished) >= max(attempts, default=0)

    def _is_over(self, quiet_s: float) -> bool:
        if not self._is_finished():
            return False
        attempt = max(attempt for each in self._logs.events for attempt in each.finished)
        here = [source for source in self._logs.sources.values() if source.key[0] == attempt]
        return (all(source.ended for source in here) and not self._logs.missing().get(attempt)) or (
            quiet_s >= _QUIET_S
        )

    def _dead_root(self) -> str:
        """Who held the run on this machine, and is not there any more; empty if there is none."""
        for journal in self._logs.files.journals:
            try:
                said = json.loads((journal.parent / ".lock").read_bytes())
                if said["host"] == os.uname().nodename:
                    os.kill(said["pid"], 0)
            except ProcessLookupError:
                return f"the root (pid {said['pid']}) has ended without finishing the run"
            except (OSError, ValueError, KeyError, TypeError, OverflowError):
                continue
        return ""

    def _tell(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
