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

MANIFEST = "perfetto_manifest.json"


def write_archive(
    out: Path,
    traces: Sequence[ProcessTrace],
    clocks: Sequence[ProcessClock],
    advance: Callable[[int], object] = lambda size: None,
) -> None:
    """Writes the archive.

    A file that is torn, which would fail the whole archive, is written anew without what is torn; so is one
    that goes on after another, without what stands in both.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as archive:
            names = _names(traces)
            _add(archive, MANIFEST, io.BytesIO(manifest := _manifest(traces, clocks, names)), len(manifest))
            for trace in traces:
                begun: set[Any] = set()
                for i, path in enumerate(trace.files):
                    with tempfile.TemporaryFile(dir=out.parent) as clean:
                        damage = _clean(path, clean, begun, advance)
                        trace.damage[path] = damage
                        if i or damage or damage.is_cut:
                            _add(archive, names[path], clean, clean.tell())
                        else:
                            with open(path, "rb") as raw:
                                _add(archive, names[path], raw, damage.size)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def _names(traces: Sequence[ProcessTrace]) -> dict[Path, str]:
    several = len({trace.run_dir for trace in traces}) > 1
    names: dict[Path, str] = {}
    for i, trace in enumerate(traces):
        folder = f"{i:04d}.{trace.run_dir.resolve().name}/" if several else ""
        names |= {path: folder + path.name for path in trace.files}
    return names


def _manifest(
    traces: Sequence[ProcessTrace], clocks: Sequence[ProcessClock], names: dict[Path, str]
) -> bytes:
    several = len({(trace.run, trace.attempt) for trace in traces}) > 1
    # Against the earliest, since what lies before the reference is left out.
    first = min(range(len(traces)), key=lambda i: clocks[i].zero_ns)
    reference = names[traces[first].files[0]]
    files = []
    for trace, clock in zip(traces, clocks, strict=True):
        # Numbers of processes are those of the job, the same in each attempt.
        machine = trace.host or f"process {trace.process}"
        if several:
            machine += f" · {trace.run_dir.resolve().name} · attempt {trace.attempt}"
        for path in trace.files:
            entry: dict[str, Any] = {"path": names[path], "machine": {"name": machine}}
            if names[path] != reference:
                entry["clocks"] = {
                    "sync_to": {"file": reference},
                    "offset_ns": clock.zero_ns - clocks[first].zero_ns,
                }
            files.append(entry)
    # Perfetto knows the file by its first characters.
    return orjson.dumps({"perfetto_manifest": {"version": 1, "files": files}})


def _clean(path: Path, to: BinaryIO, begun: set[Any], advance: Callable[[int], object]) -> Damage:
    """Writes what is whole in a file, and each span's beginning once over all files of a process."""
    damage = Damage()
    to.write(b"[\n")
    for line in raw_lines(path, damage, advance):
        event = parsed(line, damage)
        if event is None:
            continue
        phase = event.get("ph")
        if phase in ("B", "b", "X"):
            key = (phase == "b", event.get("id") or event.get("tid"), event.get("name"), event.get("ts"))
            if phase != "X" and key in begun:
                continue
            if phase == "X" and key in begun:
                end = event["ts"] + event.pop("dur")
                to.write(orjson.dumps({**event, "ph": "E", "ts": end}) + b",\n")
                continue
            if phase != "X":
                begun.add(key)
        to.write(line.strip(b"\0 \t\r\n,") + b",\n")
    return damage


def _add(archive: tarfile.TarFile, name: str, data: BinaryIO, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    data.seek(0)
    archive.addfile(member, data)
