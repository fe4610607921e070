"""The memory that a container may use, and uses, as the kernel's control groups have it (version 2 and 1).

In a container the machine's memory is not what counts: the kernel kills at the group's limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

_NO_LIMIT = 1 << 60  # version 1 has no word for none: a number near 2**63, rounded down to pages


class Memory(NamedTuple):
    """Bytes that a group uses, without the file cache that the kernel can drop at once, and may use."""

    used_bytes: int
    limit_bytes: int


class _Version(NamedTuple):
    limit: str
    used: str
    droppable: str  # a field of memory.stat


_TWO = _Version("memory.max", "memory.current", "inactive_file")
_ONE = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def memory(root: Path = ROOT, membership: Path = MEMBERSHIP) -> Memory | None:
    """The tightest limit on this process's memory, and how much of it is used; None if there is none.

    A limit may be set on the process's own group or on one around it.

    Args:
        root: where control groups are mounted.
        membership: the file that says which group the process is in.
    """
    for folder, version in _groups(root, membership):
        found = [limited for each in folder if (limited := _read(each, version)) is not None]
        if found:
            return min(found, key=lambda memory: memory.limit_bytes)
    return None


def _groups(root: Path, membership: Path) -> list[tuple[list[Path], _Version]]:
    """For each hierarchy that may limit memory: the process's group and those around it."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if "memory" in controllers.split(","):
            found.append((_upwards(root / "memory", path), _ONE))
        elif number == "0" and not controllers:
            found.append((_upwards(root, path), _TWO))
    return found


def _upwards(mount: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    # In a container the mount may show its own group as the root, while the path is the machine's.
    return [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _read(group: Path, version: _Version) -> Memory | None:
    try:
        limit = (group / version.limit).read_text().strip()
        if limit == "max" or int(limit) >= _NO_LIMIT:
            return None
        used = int((group / version.used).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return Memory(max(0, used - int(stat.get(version.droppable, 0))), int(limit))
    except (OSError, ValueError):  # no such group here, or not ours to read
        return None
