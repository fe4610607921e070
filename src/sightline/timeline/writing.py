"""What the writers of merged traces share: text of events, a file that is whole or not there."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from sightline.timeline.events import Event
from sightline.timeline.rows import Row

_RECENT = 8


class TraceFile(ABC):
    """A file that is written under another name, and gets its own when all of it is there.

    Args:
        path: of the file.
        zero_ns: since the epoch; times in the file count from there.
        about: of the runs, for whoever opens the file.
    """

    def __init__(self, path: Path, zero_ns: int, about: Mapping[str, Any]) -> None:
        self.path = path
        self.zero_ns = zero_ns
        self.about = about
        self._part = path.with_name(f"{path.name}.part")

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._raw = open(self._part, "wb")
        try:
            self.begin(self._raw)
        except BaseException:
            self._forget()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if kind is not None:
            self._forget()
            return
        try:
            self.end()
        except BaseException:
            self._forget()
            raise
        try:
            self._raw.close()
        except OSError:
            self._forget()
            raise
        os.replace(self._part, self.path)

    def _forget(self) -> None:
        try:
            with suppress(OSError):  # a full disk, which is why
                self._raw.close()
        finally:
            self._part.unlink(missing_ok=True)

    @abstractmethod
    def begin(self, file: BinaryIO) -> None:
        """The file is open."""

    @abstractmethod
    def row(self, row: Row) -> None:
        """A process, before its events."""

    @abstractmethod
    def write(self, row: Row, event: Event) -> None:
        """An event of a process."""

    @abstractmethod
    def end(self) -> None:
        """All events are there."""


class Ties:
    """Of spans that begin in the same ns on one track the outer one, which comes later, begins 1 ns earlier.

    Viewers go by times and, where these are equal, by the order in the file, which is that of the ends.
    """

    def __init__(self) -> None:
        self._recent: dict[Hashable, deque[int]] = {}

    def start(self, track: Hashable, start: int, end: int) -> int:
        """Where a span of a track begins. One that takes no time needs nothing, whatever is around it."""
        if start == end:
            return start
        recent = self._recent.get(track)
        if recent is None:
            recent = self._recent[track] = deque(maxlen=_RECENT)
        while start in recent:
            start -= 1
        recent.append(start)
        return start


def us(ns: int) -> str:
    """Microseconds with three decimals, of whole nanoseconds; not negative, which viewers refuse."""
    if ns < 0:
        ns = 0
    return f"{ns // 1000}.{ns % 1000:03d}"
