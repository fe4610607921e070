"""The whole lines of a file, past what a crash of a machine has left between them, and what is said of it.

All who read journals count by :class:`JsonLines`, and say it by :class:`Unreadable` and :func:`cut_said`, so
that two commands tell the same of one file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from sightline.files.sparse_files import behind_zeros, data_from
from sightline.support import wording

_BLOCK = 1 << 20
LONGEST = 64 << 20  #: what is longer is no line


class WholeLines:
    """The whole lines of a file from a place on, each without its line break; in bounded memory.

    Holes are not read. Of a line with NUL bytes in it, or of more than 64 MiB, the JSON object is given that
    begins right behind them, if any does: see :func:`~sightline.files.sparse_files.behind_zeros`.

    Args:
        file: its descriptor; where it is to be read next is neither used nor changed.
        place: where a line begins.
        end: how many bytes of the file count; None: all that there are when its end is reached.

    Attributes:
        place: behind the line that was given last, or torn.
        number: of lines before that place.
        torn: lines with NUL bytes in them, and too long ones.
        cut: bytes behind the last whole line, when all have been given.
        zeros: NUL bytes in all of these.
        cut_zeros: in what is cut.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryFile() as file:
        ...     _ = file.write(b'{"a": 1}\\n{"a": ')
        ...     _ = file.seek(4 << 30)
        ...     _ = file.write(b'{"a": 2}\\n{"a": 3}\\n{"a"')
        ...     file.flush()
        ...     lines = WholeLines(file.fileno())
        ...     list(lines), lines.torn, lines.zeros == (4 << 30) - 15, lines.cut
        ([b'{"a": 1}', b'{"a": 2}', b'{"a": 3}'], 1, True, 4)
    """

    def __init__(self, file: int, place: int = 0, end: int | None = None) -> None:
        self.place = place
        self.number = 0
        self.torn = 0
        self.zeros = 0
        self.cut = 0
        self.cut_zeros = 0
        self._file = file
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        at = self.place
        rest = b""  # what has been read of a line whose end has not
        zeros = 0  # in what was let go of it
        is_torn = False
        while block := os.pread(self._file, self._room(at), at):
            has_zeros = b"\0" in block
            *whole, last = block.split(b"\n")
            end = at
            for part in whole:
                end += len(part) + 1
                self.place = end
                self.number += 1
                line = rest + part if rest else part
                if is_torn or (has_zeros and b"\0" in line):
                    self.torn += 1
                    self.zeros += zeros + line.count(b"\0")
                    line = behind_zeros(b"\0" + line)
                    if not line:
                        rest, zeros, is_torn = b"", 0, False
                        continue
                rest, zeros, is_torn = b"", 0, False
                yield line
            at += len(block)
            rest += last
            if (has_zeros and b"\0" in last) or len(rest) > LONGEST:
                zeros += rest.count(b"\0")
                is_torn = True
                ends_in_zeros = rest.endswith(b"\0")
                rest = rest.rpartition(b"\0")[2] if has_zeros else b""
                if ends_in_zeros:
                    over = data_from(self._file, at)
                    over = over if self._end is None else min(over, self._end)
                    zeros += over - at
                    at = over
        self.cut, self.cut_zeros = at - self.place, zeros + rest.count(b"\0")
        self.zeros += self.cut_zeros

    def _room(self, at: int) -> int:
        return _BLOCK if self._end is None else max(0, min(_BLOCK, self._end - at))


@dataclass(frozen=True)
class Unreadable:
    """What could not be read of a file.

    Attributes:
        torn: lines that are no JSON object.
        odd: lines that are one, with fields of wrong types.
        zeros: bytes of zeros in the place of others, as a crash of a machine leaves them.
    """

    torn: int = 0
    odd: int = 0
    zeros: int = 0

    def __bool__(self) -> bool:
        return bool(self.torn or self.odd or self.zeros)

    def __add__(self, other: Unreadable) -> Unreadable:
        return Unreadable(self.torn + other.torn, self.odd + other.odd, self.zeros + other.zeros)

    def plain(self) -> dict[str, int]:
        """For other programs: ``torn_lines``, ``odd_lines`` and ``bytes_of_zeros``."""
        return {"torn_lines": self.torn, "odd_lines": self.odd, "bytes_of_zeros": self.zeros}

    def said(self) -> str:
        """For people; empty if all could be read.

        Example:
            >>> Unreadable(torn=2).said(), Unreadable().said()
            ('2 lines could not be read', '')
            >>> Unreadable(torn=1, odd=1).said()
            '1 line could not be read; 1 line is not as sightline writes it: what is sound of it counts'
            >>> Unreadable(torn=1, zeros=4 << 30).said()
            '1 line could not be read; 4.29 GB of zeros, as a crash of a machine leaves them'
        """
        torn = f"{wording.counted(self.torn, 'line')} could not be read" if self.torn else ""
        odd = ""
        if self.odd:
            are, them = ("line is", "it") if self.odd == 1 else ("lines are", "them")
            odd = f"{self.odd:,} {are} not as sightline writes {them}: what is sound of {them} counts"
        return "; ".join(filter(None, [torn, odd, zeros_said(self.zeros)]))


class JsonLines:
    """The objects in the whole lines of a file from a place on.

    Args:
        file: its descriptor; see :class:`WholeLines`.
        place: where a line begins.
        end: how many bytes of the file count; None: all that there are when its end is reached.
        sound: gives what is sound of an object: itself, another one, or None, by which it is left out.

    Attributes:
        place: behind the line that was given last, or left out.
        begin: where the line that was given last begins.
        cut: bytes behind the last whole line, when all have been given.
        cut_zeros: zeros among them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryFile() as file:
        ...     _ = file.write(b'{"a": 1}\\n7\\n{"a": "x"}\\n{"a"')
        ...     file.flush()
        ...     lines = JsonLines(file.fileno(), sound=lambda each: each if each["a"] == 1 else {})
        ...     list(lines), lines.unreadable, lines.cut
        ([{'a': 1}, {}], Unreadable(torn=1, odd=1, zeros=0), 4)
    """

    def __init__(
        self,
        file: int,
        place: int = 0,
        end: int | None = None,
        *,
        sound: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda found: found,
    ) -> None:
        self.begin = place
        self._lines = WholeLines(file, place, end)
        self._sound = sound
        self._torn = 0
        self._odd = 0

    @property
    def place(self) -> int:
        return self._lines.place

    @property
    def cut(self) -> int:
        return self._lines.cut

    @property
    def cut_zeros(self) -> int:
        return self._lines.cut_zeros

    @property
    def unreadable(self) -> Unreadable:
        """What could not be read so far."""
        return Unreadable(self._torn + self._lines.torn, self._odd, self._lines.zeros)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            found = object_in(line)
            if found is None:
                self._torn += 1
                continue
            sound = self._sound(found)
            self._odd += sound is not found
            if sound is not None:
                self.begin = self._lines.place - len(line) - 1
                yield sound


def object_in(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line; None if there is none, as in one that a crash has torn.

    Example:
        >>> object_in(b'{"a": 1}'), object_in(b"[1]"), object_in(b'{"a"')
        ({'a': 1}, None, None)
    """
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def cut_said(cut: int | None = None) -> str:
    """What it means that a file which nobody writes any more ends within a line, for people.

    Args:
        cut: bytes of that line, if they are known.

    Example:
        >>> cut_said(28)
        'its last line is cut (28 B), as a kill leaves it: that line is lost, and nothing else'
    """
    size = "" if cut is None else f" ({wording.size(cut)})"
    return f"its last line is cut{size}, as a kill leaves it: that line is lost, and nothing else"


def zeros_said(zeros: int) -> str:
    """What a crash has left, for people; empty if it has left nothing.

    Example:
        >>> zeros_said(4 << 30)
        '4.29 GB of zeros, as a crash of a machine leaves them'
    """
    if not zeros:
        return ""
    return f"{wording.size(zeros)} of zeros, as a crash of a machine leaves them"
