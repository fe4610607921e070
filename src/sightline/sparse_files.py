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
    reads_at = os.lseek(file, 0, os.SEEK_CUR)
    try:
        return os.lseek(file, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole follows
            return max(place, os.fstat(file).st_size)
        return place
    finally:
        os.lseek(file, reads_at, os.SEEK_SET)


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
