"""Files as a crash of a machine leaves them: gigabytes of zeros between lines, on disk a hole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HOLE = 4 << 30
BOUND = 64 << 20  #: bytes that a reader of a small file with holes may read


def put_hole(path: Path, *lines: bytes, at: int | None = None, size: int = HOLE) -> None:
    """Puts a hole into a file, at its end or in place of what stands behind a place; then lines."""
    end = path.stat().st_size if at is None else at
    os.truncate(path, end)
    os.truncate(path, end + size)
    if path.stat().st_blocks * 512 > 64 << 20:
        pytest.skip(f"the file system of {path} has no holes, so that no crash can leave one there")
    with path.open("ab") as file:
        file.write(b"".join(lines))


def read_bytes() -> int:
    """How much this process has read from files so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])
