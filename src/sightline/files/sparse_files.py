"""Holes in files: where a crash of a machine took what had been written. They read as NUL bytes."""

from __future__ import annotations

import errno
import os

_STEP = 1 << 16


def data_from(file: int, place: int) -> int:
    """The first place from ``place`` on that is in no hole.

    Args:
        file: its descriptor; where it is to be read next stays as it is.
        place: in bytes.

    Returns:
        ``place`` itself where a file system knows no holes; the end of the file if the hole reaches it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryFile() as file:
        ...     size = file.truncate(1 << 30)
        ...     data_from(file.fileno(), 5) == data_until(file.fileno(), size) + size == 1 << 30
        True
    """
    return _found(file, place, os.SEEK_DATA, place)


def data_until(file: int, place: int) -> int:
    """The last place up to ``place`` before which there is no hole, to 64 kB.

    Args:
        file: its descriptor.
        place: in bytes.
    """
    step = _STEP
    while place and data_from(file, max(0, place - step)) >= place:
        place = max(0, place - step)
        step *= 2
    while step > _STEP:
        step //= 2
        if place and data_from(file, max(0, place - step)) >= place:
            place = max(0, place - step)
    return place


def last_data(file: int, size: int, most: int) -> int:
    """Where the last ``most`` bytes of a file begin, if those of holes do not count.

    Args:
        file: its descriptor.
        size: of the file, in bytes, as far as it counts.
        most: how many bytes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryFile() as file:
        ...     written = file.write(b"lines")
        ...     size = file.truncate(1 << 30)
        ...     last_data(file.fileno(), size, most=1 << 20), last_data(file.fileno(), 5, most=2)
        (0, 3)
    """
    pieces = []
    at = 0
    while (begin := data_from(file, at)) < size:
        end = os.fstat(file).st_size
        at = min(size, max(begin + 1, _found(file, begin, os.SEEK_HOLE, end)))
        pieces.append((begin, at))
    for begin, end in reversed(pieces):
        if end - begin >= most:
            return end - most
        most -= end - begin
    return 0


def data_size(stat: os.stat_result) -> int:
    """About how many bytes of a file are in no hole."""
    return min(stat.st_size, 512 * stat.st_blocks)


def behind_zeros(line: bytes) -> bytes:
    """Of a line with NUL bytes the JSON object that begins right behind the last one, if any does.

    Any other line is as it was: JSON has no such bytes. The end of one object is never another one, so what
    can be read of it was written as a line.

    Example:
        >>> [behind_zeros(line) for line in (b'{"a": 1, "b\\0\\0\\0{"a": 2}', b'{"a\\0\\0": 1}', b'{"a": 1}')]
        [b'{"a": 2}', b'', b'{"a": 1}']
    """
    _, zero, rest = line.rpartition(b"\0")
    return rest if not zero or rest.startswith(b"{") else b""


def _found(file: int, place: int, what: int, unknown: int) -> int:
    """The first place from one on with data, or a hole; ``unknown`` where a file system knows no holes."""
    reads_at = os.lseek(file, 0, os.SEEK_CUR)
    try:
        return os.lseek(file, place, what)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole follows
            return max(place, os.fstat(file).st_size)
        return unknown
    finally:
        os.lseek(file, reads_at, os.SEEK_SET)
