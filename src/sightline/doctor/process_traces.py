"""What the trace files of a run say of clocks, and of what could not be written; their ends are read only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from sightline.doctor.findings import Finding, note, ok, wrong
from sightline.errors import RunDirectoryError
from sightline.files.sparse_files import data_from, data_size
from sightline.support.wording import duration
from sightline.timeline.finding import ProcessTrace, find
from sightline.tracing.trace_writer import CLOCK, DROPPED, HEADER

_ENDS = 1 << 20  # bytes of a file's beginning and end in which clocks are looked for
_SEARCHED = 512 << 20  # bytes of all files in which dropped events are looked for, the latest first
_BLOCK = 1 << 20
_OFF_S = 1.0
_EXACT_S = 1e-5  # below which no difference means anything


def clock_findings(directory: Path, name: str) -> list[Finding]:
    """How far the processes' clocks are from process 0's, as the run has compared them.

    Args:
        directory: of the run.
        name: the same, as a command has it.
    """
    try:
        found = find([directory])
    except RunDirectoryError:
        return []
    attempt = max((trace.attempt for trace in found.traces), default=0)
    traces = [trace for trace in found.traces if trace.attempt == attempt]
    others = [trace for trace in traces if trace.process != 0]
    if not others:
        return []
    offsets: dict[int, tuple[float, float]] = {}
    for trace in others:
        offset = _offset(trace)
        if offset is not None:
            offsets[trace.process] = offset
    data = {
        "clocks": {str(p): {"offset_s": o, "uncertainty_s": u} for p, (o, u) in offsets.items()},
        "hosts": sorted({trace.host for trace in traces}),
    }
    if not offsets:
        if len(data["hosts"]) < 2:
            return [ok("clocks", "not compared; all files are of one host", data=data)]
        return [
            note(
                "clocks",
                "the clocks of the processes were never compared",
                "the run was too short, or has no store; the timeline goes by each host's time of day",
                "chronyc tracking, or timedatectl, on every host",
                data,
            )
        ]
    worst = max(offsets, key=lambda process: abs(offsets[process][0]))
    off, uncertain = offsets[worst][0], max(uncertainty for _, uncertainty in offsets.values())
    exactly = f"within {duration(uncertain)}" if uncertain >= _EXACT_S else "exactly"
    said = f"compared with process 0's: {len(offsets)} of {len(others)}, {exactly}; "
    if abs(off) > max(uncertain, _EXACT_S):
        said += f"process {worst}'s time of day is {duration(abs(off))} {'ahead' if off > 0 else 'behind'}"
    else:
        said += "no time of day differs by more"
    if abs(off) > _OFF_S:
        return [
            note(
                "clocks",
                said,
                "the timeline corrects that; times in logs and in the journal are each host's own",
                "sudo chronyc makestep on that host, or timedatectl set-ntp true",
                data,
            )
        ]
    return [ok("clocks", said, data=data)]


def _offset(trace: ProcessTrace) -> tuple[float, float] | None:
    """By how much its time of day is ahead of the root's, and how exactly that is known; in s."""
    anchor: tuple[int, int] | None = None
    offset: tuple[float, float] | None = None
    for path in (trace.files[0], trace.files[-1]):
        for event in _clock_events(path):
            args = event.get("args")
            if not isinstance(args, dict):
                continue
            try:
                if "root_time_ns" in args and anchor is not None:
                    own = anchor[1] + args["perf_counter_ns"] - anchor[0]
                    offset = (own - args["root_time_ns"]) / 1e9, args["uncertainty_ns"] / 1e9
                elif "time_ns" in args:
                    anchor = int(args["perf_counter_ns"]), int(args["time_ns"])
            except (KeyError, TypeError, ValueError):
                continue
    return offset


def _clock_events(path: Path) -> Iterator[dict[str, Any]]:
    """The header and the clock's events at the beginning and the end of a trace file."""
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        parts = [file.read(_ENDS)]
        if length > _ENDS:
            file.seek(max(_ENDS, length - _ENDS))
            parts.append(file.read().partition(b"\n")[2])
    for part in parts:
        for line in part.splitlines():
            if line.startswith(b'{"ph":"M"'):
                try:
                    event = orjson.loads(line.rstrip(b","))
                except orjson.JSONDecodeError:
                    continue
                if event.get("name") in (HEADER, CLOCK):
                    yield event


def dropped_findings(directory: Path, name: str) -> list[Finding]:
    """Events, sessions and lines of logs that could not be written, as the files themselves say.

    Args:
        directory: of the run.
        name: the same, as a command has it.
    """
    budget = _SEARCHED
    lost: dict[str, dict[str, int]] = {}
    is_partial = False
    for kind, pattern, mark, field_ in (
        ("events of traces", "traces/*.json", DROPPED.encode(), b'"dropped":'),
        ("lines of logs", "logs/*.jsonl", b'"lost":', b'"lost":'),
    ):
        for path in sorted(directory.glob(pattern), key=lambda each: each.stat().st_mtime, reverse=True):
            budget -= data_size(path.stat())
            if budget < 0:
                is_partial = True
                break
            count = sum(_number(line, field_) for line in _lines_with(path, mark))
            if count:
                by_process = lost.setdefault(kind, {})
                process = path.name.partition(".")[0]
                by_process[process] = by_process.get(process, 0) + count
    found = []
    for kind, by_process in lost.items():
        shown = ", ".join(f"{process}: {count}" for process, count in sorted(by_process.items())[:8])
        found.append(
            wrong(
                "dropped",
                f"{sum(by_process.values())} {kind} were dropped ({shown})",
                "more were recorded than could be written, or the disk refused them",
                f"fewer spans in inner loops, or a faster log_dir: sightline doctor --log-dir {name}",
                {"kind": kind, "by_process": by_process},
            )
        )
    if not found and budget != _SEARCHED:
        part = f" in the latest {_SEARCHED >> 20} MiB" if is_partial else ""
        found = [ok("dropped", f"no events or lines of logs were dropped{part}")]
    return found


def _lines_with(path: Path, mark: bytes) -> Iterator[bytes]:
    """The lines of a file that hold a mark."""
    rest = b""
    with open(path, "rb", 0) as file:
        while block := file.read(_BLOCK):
            if block.endswith(b"\0"):
                file.seek(data_from(file.fileno(), file.tell()))
            whole, newline, rest_of_block = (rest + block).rpartition(b"\n")
            rest = rest_of_block[-_BLOCK:]
            if newline and mark in whole:
                yield from (line for line in whole.split(b"\n") if mark in line)


def _number(line: bytes, field_: bytes) -> int:
    digits = line.partition(field_)[2].lstrip()[:20]
    number = digits[: next((i for i, byte in enumerate(digits) if not 48 <= byte <= 57), len(digits))]
    return int(number) if number else 0
