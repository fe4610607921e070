"""A full disk is one trouble, however many files are on it: it is said once, by whoever meets it first."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

log = logging.getLogger("sightline")

_SAID_BY = (*map(os.strerror, (errno.ENOSPC, errno.EDQUOT)), "disk is full", "disk I/O error")  # SQLite's
_ROOM = 1 << 20  # bytes; what is refused where there is more of it is on another file system
_times: dict[int, int] = {}  # that each file system became full
_full: dict[int, object] = {}  # those that are; changed without a lock, which a fork could leave taken


def is_said(error: BaseException, path: Path) -> bool:
    """Whether an error comes of a full disk, which has then been said: just now if not before.

    Of a disk that is full and has space in turn it is said the 1st, 2nd, 4th, 8th, … time.

    Args:
        error: in whose text it stands.
        path: what could not be written, or a folder on the same file system.
    """
    why = next((text for text in _SAID_BY if text in str(error)), None)
    if why is None:
        return False
    device = _device(path)
    mine = object()
    if _full.setdefault(device, mine) is not mine:
        return True
    times = _times[device] = _times.get(device, 0) + 1
    if _is_told(times):
        log.error(
            "sightline: no space for %s (%s): training goes on, lines of the journal wait in memory, sinks "
            "try again, and what else does not fit is left out and counted (said once)", path, why,
        )  # fmt: skip
    return True


def has_space(path: Path) -> bool:
    """Whether a disk, of which it was said that it is full, takes data again; that is then said, once."""
    device = _device(path)
    if _full.pop(device, None) is None:
        return False
    if _is_told(_times.get(device, 1)):
        log.warning("sightline: there is space again for %s", path)
    return True


def forget() -> None:
    """Nothing has been said of any disk."""
    _full.clear()
    _times.clear()


def has_room(path: Path) -> bool:
    """Whether there is space on a file system, as far as it tells."""
    try:
        found = os.statvfs(path)
    except OSError:
        return True
    return found.f_bavail * found.f_frsize > _ROOM


def _is_told(times: int) -> bool:
    return times & (times - 1) == 0


def _device(path: Path) -> int:
    for place in (path, *path.absolute().parents):
        try:
            return os.stat(place).st_dev
        except OSError:
            continue
    return -1
