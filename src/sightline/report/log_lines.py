"""Warnings and errors of the text logs of all processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

_MARKS = (b'"level":"WARNING"', b'"level":"ERROR"', b'"level":"CRITICAL"')
_FILE_BYTES = 16 << 20  # of one file, the last ones
_ALL_BYTES = 128 << 20
_LINES = 2000


class LogLines(NamedTuple):
    """What was found.

    Attributes:
        lines: as they were logged, by time, the newest 2,000.
        left_out: how many bytes were not read.
        damaged: files with lines that could not be read, and how many.
    """

    lines: list[dict[str, Any]]
    left_out: int
    damaged: dict[Path, int]


def log_lines(run_dirs: Sequence[Path]) -> LogLines:
    """Reads the ends of the logs, in bounded memory."""
    found: list[dict[str, Any]] = []
    left_out, room = 0, _ALL_BYTES
    damaged: dict[Path, int] = {}
    paths = [path for run_dir in run_dirs for path in sorted(run_dir.glob("logs/*.jsonl"))]
    for path in paths:
        size = path.stat().st_size
        take = min(size, _FILE_BYTES, room)
        room -= take
        left_out += size - take
        with open(path, "rb") as file:
            file.seek(size - take)
            data = file.read(take)
        lines = data.split(b"\n")[take < size : -1]  # what follows the last line break is being written
        for line in lines:
            if not any(mark in line[:200] for mark in _MARKS):
                continue
            try:
                said = orjson.loads(line)
            except orjson.JSONDecodeError:
                damaged[path] = damaged.get(path, 0) + 1
                continue
            if isinstance(said, dict) and isinstance(said.get("time"), (int, float)):
                found.append(said)
        if len(found) > 4 * _LINES:
            found = sorted(found, key=lambda each: each["time"])[-_LINES:]
    return LogLines(sorted(found, key=lambda each: each["time"])[-_LINES:], left_out, damaged)
