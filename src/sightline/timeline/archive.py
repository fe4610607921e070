"""A merged trace as an archive of the files as they are, with a manifest that says how they belong together.

The archive is in GNU's format: Perfetto does not read that of Python's default. The manifest is read by
Perfetto from version 58 on; older ones show the processes each by its own clock.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from sightline.timeline.clocks import ProcessClock
from sightline.timeline.finding import ProcessTrace
from sightline.timeline.lines import Damage, parsed, raw_lines
from sightline.timeline.reading import NO_EVENT, check, numbers

_MOST_TID, _FAR_US = (1 << 32) - 1, float(1 << 61)
MANIFEST = "perfetto_manifest.json"


def write_archive(
    out: Path,
    traces: Sequence[ProcessTrace],
    clocks: Sequence[ProcessClock],
    advance: Callable[[int], object] = lambda size: None,
) -> None:
    """Writes the archive: a member for each process, the file as it is where it is one, and whole.

    The segments of a process are put together, since Perfetto joins nothing over members: neither the
    beginning and the end of a span, nor, which is a limit of this form, the two ends of an arrow between
    processes. A torn line, which would fail the whole archive, is left out, as is what is no event, and
    numbers that viewers refuse are made such as they take, as in the other formats.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as archive:
            names = _names(traces)
            manifest = _manifest(traces, clocks, names)
            _add(archive, MANIFEST, io.BytesIO(manifest), len(manifest))
            for trace, name in zip(traces, names, strict=True):
                with tempfile.TemporaryFile(dir=out.parent) as joined:
                    is_changed = _join(trace, joined, advance)
                    (path, damage), *others = trace.damage.items()
                    if others or damage or damage.is_cut or is_changed:
                        _add(archive, name, joined, joined.tell())
                    else:
                        with open(path, "rb") as raw:
                            _add(archive, name, raw, damage.size)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def _names(traces: Sequence[ProcessTrace]) -> list[str]:
    several = len({trace.run_dir for trace in traces}) > 1
    names = []
    for trace in traces:
        folder = f"{trace.run}.{trace.run_dir.resolve().name}/" if several else ""
        first = trace.files[0].name
        if len(trace.files) > 1:
            first = f"p{trace.process:05d}.a{trace.attempt:02d}.json"
        names.append(folder + first)
    return names


def _manifest(traces: Sequence[ProcessTrace], clocks: Sequence[ProcessClock], names: Sequence[str]) -> bytes:
    several = len({(trace.run, trace.attempt) for trace in traces}) > 1
    # Against the earliest, since what lies before the reference is left out.
    first = min(range(len(traces)), key=lambda i: clocks[i].zero_ns)
    files = []
    for i, (trace, clock, name) in enumerate(zip(traces, clocks, names, strict=True)):
        # Numbers of processes are those of the job, the same in each attempt.
        machine = trace.host or f"process {trace.process}"
        if several:
            machine += f" · {trace.run_dir.resolve().name} · attempt {trace.attempt}"
        entry: dict[str, Any] = {"path": name, "machine": {"name": machine}}
        if i != first:
            offset = clock.zero_ns - clocks[first].zero_ns
            entry["clocks"] = {"sync_to": {"file": names[first]}, "offset_ns": offset}
        files.append(entry)
    # Perfetto knows the file by its first characters.
    return orjson.dumps({"perfetto_manifest": {"version": 1, "files": files}})


def _join(trace: ProcessTrace, to: BinaryIO, advance: Callable[[int], object]) -> bool:
    """Writes what is whole in the files of a process, and each span's beginning once.

    Returns whether an event of it is not as it was.
    """
    begun: set[str] = set()
    is_changed = False
    to.write(b"[\n")
    for path in trace.files:
        damage = trace.damage[path] = Damage()
        for line in raw_lines(path, damage, advance):
            event = parsed(line, damage)
            if event is None:
                continue
            try:
                check(event)
            except NO_EVENT:
                damage.torn += 1
                continue
            mended = _mended(event)
            if mended is not event:
                is_changed = True
                if mended is None:
                    continue
                event, line = mended, orjson.dumps(mended)
            phase = event["ph"]
            if phase in ("B", "b", "X"):
                # Of a lane: while it is open, its thread is not known.
                where = ("id", "id2") if phase == "b" else ("tid",)
                key = str([phase == "b", *(event.get(each) for each in (*where, "name", "ts"))])
                if key in begun:
                    if phase == "X":  # it has begun in an earlier segment
                        event |= {"ph": "E", "ts": event["ts"] + event.pop("dur", 0)}
                        to.write(orjson.dumps(event) + b",\n")
                    continue
                if phase != "X":
                    begun.add(key)
            to.write(line.strip(b" \t\r\n,") + b",\n")
    return is_changed


def _mended(event: dict[str, Any]) -> dict[str, Any] | None:
    """An event with numbers that viewers take; None if nothing of it can be drawn."""
    changes: dict[str, Any] = {
        name: value
        for name, least, most in (("tid", 0, _MOST_TID), ("ts", 0, _FAR_US), ("dur", 0, _FAR_US))
        if name in event and (value := min(max(event[name], least), most)) != event[name]
    }
    if "tid" not in event and event["ph"] in ("B", "E", "X", "i", "s", "f"):
        changes["tid"] = 1
    if event["ph"] == "i" and event.get("s", "t") not in ("t", "p", "g"):
        changes["s"] = "t"
    if event["ph"] == "C":
        args = event.get("args") or {}
        values = numbers(args)
        if not values:
            return None
        if len(values) < len(args):
            changes["args"] = values
    return {**event, **changes} if changes else event


def _add(archive: tarfile.TarFile, name: str, data: BinaryIO, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    data.seek(0)
    archive.addfile(member, data)
