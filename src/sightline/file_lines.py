"""The whole lines of a file, past what a crash of a machine has left between them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sightline import wording
from sightline.sparse_files import behind_zeros, data_from

_BLOCK = 1 << 20
LONGEST = 64 << 20  #: what is longer is no line


class WholeLines:
    """The whole lines of a file from a place on, each without its line break; in bounded memory.

    Holes are not read. Of a line with NUL bytes in it, or of more than 64 MiB, the JSON object is given that
    begins right behind them, if any does: see :func:`~sightline.sparse_files.behind_zeros`.

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


def damage_said(torn: int, zeros: int) -> str:
    """What could not be read of a file, for people; empty if all could.

    Args:
        torn: lines.
        zeros: bytes of zeros in the place of others.

    Example:
        >>> damage_said(2, 0), damage_said(0, 0)
        ('2 lines could not be read', '')
        >>> damage_said(1, 4 << 30)
        '1 line could not be read; 4.29 GB of zeros, as a crash of a machine leaves them'
    """
    lines = f"{wording.counted(torn, 'line')} could not be read" if torn else ""
    return "; ".join(filter(None, [lines, zeros_said(zeros)]))


def zeros_said(zeros: int) -> str:
    """What a crash has left, for people; empty if it has left nothing.

    Example:
        >>> zeros_said(4 << 30)
        '4.29 GB of zeros, as a crash of a machine leaves them'
    """
    if not zeros:
        return ""
    return f"{wording.size(zeros)} of zeros, as a crash of a machine leaves them"
