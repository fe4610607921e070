"""The trace files of run directories, by run, attempt and process; their headers, clocks and arrows."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.errors import RunDirectoryError
from sightline.support.clock import Anchor, Sync
from sightline.timeline.lines import Damage, parsed, raw_lines
from sightline.tracing.trace_writer import CLOCK, HEADER

_HEAD = 64 << 10  # bytes in which a header must come
_NEEDED = {
    "format": int,
    "run_id": str,
    "attempt": int,
    "process": int,
    "base_ns": int,
    "perf_counter_ns": int,
    "time_ns": int,
}


@dataclass(eq=False)
class ProcessTrace:
    """What one process has written in one attempt.

    Attributes:
        run: which of the given runs, from 0.
        run_dir: where it was found.
        run_id: the run's identity.
        attempt, process: which.
        processes: how many the attempt had.
        host, role: of the process.
        base_ns: what its times count from, on its clock.
        files: its segments, in order.
        anchors: moments on its clock and by its own time of day.
        syncs: moments on its clock and the root's.
        flows_out: ids of the arrows that begin in it.
        flows_out_at: when, in ns from ``base_ns`` on.
        last_ns: about when the last event ends, in ns from ``base_ns`` on.
        damage: by file.
        shift: by how much the numbers of its threads are above those from 1 on.
    """

    run: int
    run_dir: Path
    run_id: str
    attempt: int
    process: int
    processes: int
    host: str
    role: str
    base_ns: int
    files: list[Path] = field(default_factory=list)
    shift: int = 0
    anchors: list[Anchor] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=list)
    flows_out: array[int] = field(default_factory=lambda: array("Q"))
    flows_out_at: array[int] = field(default_factory=lambda: array("q"))
    last_ns: int = 0
    damage: dict[Path, Damage] = field(default_factory=dict)


@dataclass
class Found:
    """The traces of some run directories.

    Attributes:
        traces: in the order of runs, attempts and processes.
        foreign: files that are no traces of sightline, and why.
        unbegun: files in which nothing stands yet, as when the process was killed while it made them.
    """

    traces: list[ProcessTrace]
    foreign: list[tuple[Path, str]]
    unbegun: list[Path]


def find(run_dirs: Iterable[Path]) -> Found:
    """Looks at the beginnings of all trace files.

    Raises:
        RunDirectoryError: a directory that has none, or is given twice.
    """
    found: dict[tuple[int, int, int], ProcessTrace] = {}
    foreign: list[tuple[Path, str]] = []
    unbegun: list[Path] = []
    seen: set[Path] = set()
    runs: dict[str, int] = {}
    for run_dir in run_dirs:
        if run_dir.resolve() in seen:
            raise RunDirectoryError(f"{run_dir} is given twice")
        seen.add(run_dir.resolve())
        if not run_dir.is_dir():
            raise RunDirectoryError(f"{run_dir} is no directory: expected a run's, as in runs/latest")
        paths = sorted(run_dir.glob("traces/*.json"))
        if not paths and (runs_in := sorted(each.parent.name for each in run_dir.glob("*/traces"))):
            raise RunDirectoryError(
                f"{run_dir} has no traces: expected a run directory; it has runs: {', '.join(runs_in[:5])}"
            )
        if not paths:
            raise RunDirectoryError(
                f"{run_dir} has no traces (no files {run_dir / 'traces' / '*.json'}): expected the "
                f"directory of a run of `sl.start`, which was traced: not with "
                f"tracing={{'enabled': False}}, nor under SIGHTLINE_DISABLED=1"
            )
        for path in paths:
            facts, why = _header(path)
            if facts is None:
                if why:
                    foreign.append((path, why))
                else:
                    unbegun.append(path)
                continue
            # Directories of one run, one of each host, are one run.
            run = runs.setdefault(facts["run_id"], len(runs))
            key = run, facts["attempt"], facts["process"]
            trace = found.get(key)
            if trace is None:
                trace = found[key] = ProcessTrace(
                    run, run_dir, facts["run_id"], facts["attempt"], facts["process"],
                    int(facts.get("processes", 1)), str(facts.get("host", "")), str(facts.get("role", "")),
                    facts["base_ns"], shift=_shift(facts.get("main_tid")),
                )  # fmt: skip
            elif facts["base_ns"] != trace.base_ns:
                foreign.append((path, "another process of the same number and attempt has written it"))
                continue
            trace.files.append(path)
    return Found([found[key] for key in sorted(found)], foreign, unbegun)


def _shift(main_tid: Any) -> int:
    return main_tid - 1 if type(main_tid) is int and 0 < main_tid < 1 << 32 else 0


def _header(path: Path) -> tuple[dict[str, Any] | None, str]:
    """What a file says of itself; or why it does not, empty if it is yet to say it."""
    read, line = 0, b""
    for line in raw_lines(path, damage := Damage()):
        event = parsed(line, damage)
        if event is not None and event.get("name") == HEADER:
            facts = event.get("args")
            if not isinstance(facts, dict) or not all(
                isinstance(facts.get(name), kind) for name, kind in _NEEDED.items()
            ):
                return None, "its header lacks format, run, attempt, process or clock"
            if facts["format"] > 1:
                return None, (
                    f"it has format {facts['format']}, and this sightline reads 1: a newer version wrote "
                    f"it: pip install --upgrade sightline"
                )
            return facts, ""
        read += len(line)
        if read > _HEAD:
            break
    if (damage.is_cut and b'"name":"sightline"' in line) or (not damage.size and not damage.error):
        return None, ""
    return None, damage.error or "no trace of sightline: it has no header"


def scan(trace: ProcessTrace, advance: Callable[[int], object] = lambda size: None) -> None:
    """Reads a process's clocks, and where its arrows begin; both are needed before anything can be placed."""
    for path in trace.files:
        timed = b""
        for line in raw_lines(path, ignored := Damage(), advance):
            if line.startswith(b'{"ph":"M"'):
                event = parsed(line, ignored)
                if event is not None and event.get("name") in (HEADER, CLOCK):
                    _note_clock(trace, event.get("args"))
            elif line.startswith(b'{"ph":"s"'):
                event = parsed(line, ignored)
                if event is not None:
                    try:
                        flow, at = flow_id(event["id"]), round(event["ts"] * 1000)
                    except (KeyError, TypeError, ValueError):
                        continue  # told when it is read for good
                    trace.flows_out.append(flow)
                    trace.flows_out_at.append(at)
            elif line.endswith(b"},\n"):
                timed = line
        event = parsed(timed, ignored) or {}
        with suppress(TypeError, ValueError, OverflowError):
            last = round((event.get("ts", 0) + event.get("dur", 0)) * 1000)
            trace.last_ns = min(max(trace.last_ns, last), 1 << 61)


def flow_id(given: Any) -> int:
    """An arrow's id, a number below 2^64.

    Raises:
        TypeError, ValueError: it is none.
    """
    flow = int(given, 16)
    if not 0 <= flow < 1 << 64:
        raise ValueError(given)
    return flow


def _note_clock(trace: ProcessTrace, args: Any) -> None:
    if not isinstance(args, dict):
        return
    values = {key: value for key, value in args.items() if isinstance(value, int)}
    if values.keys() >= set(Sync._fields):
        trace.syncs.append(Sync(*(values[name] for name in Sync._fields)))
    elif values.keys() >= set(Anchor._fields):
        trace.anchors.append(Anchor(*(values[name] for name in Anchor._fields)))
