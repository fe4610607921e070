"""Copies of a run's files: whose they are, and what one copy has over another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import orjson

from sightline.files.file_places import BLOCK, FilePlace

FOLDERS = ("logs", "traces", "sessions", "samples", "profiles")  #: that the processes of a run fill
ROOTS = ("metrics.jsonl", "run.json")  #: that the root writes

_OF_PROCESS = re.compile(r"(?:^|\.)p(\d{5,})\.a(\d{2,})(?:\.|$)")
_NUMBERED = re.compile(r"\.\d{4,}(?=\.\w+$)")
_HEAD = 64 << 10
# How long files may be that are compared as a whole; and of longer ones, how many samples, how long each.
_NEAR = (64 << 20, 64, 256 << 10)
_FAR = (1 << 20, 8, 128 << 10)

Relation = Literal["same", "older", "longer", "different"]


class Copy(NamedTuple):
    """A file of a run, somewhere.

    Attributes:
        place: where.
        path: in that place.
        name: in its run directory.
        size: in bytes.
        run_id: of the run, by its own header; None if it has none.
        head: its first line, by which a segment is known under any name; its name if it has none.
        attempt: of ``run.json``, which each attempt writes anew; else 0.
    """

    place: FilePlace
    path: str
    name: str
    size: int
    run_id: str | None
    head: bytes
    attempt: int

    @property
    def is_lines(self) -> bool:
        """Whether it only ever gets more lines."""
        return self.name.rpartition(".")[2] in ("jsonl", "json", "log", "stdout", "stderr") and (
            not self.name.startswith("profiles/") and self.name != "run.json"
        )

    @property
    def is_numbered(self) -> bool:
        """Whether it is a full segment."""
        return _NUMBERED.search(self.name) is not None


def names_in(paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Of paths those that belong to a run: the folder of its run directory, and the name in there.

    Example:
        >>> names_in(["host3/logs/p00003.a01.jsonl", "README.md"])
        {'host3/logs/p00003.a01.jsonl': ('host3', 'logs/p00003.a01.jsonl')}
    """
    found = {}
    for path in paths:
        parts = path.split("/")
        if parts[-1].startswith(".") or not path.isprintable() or {"", ".", ".."} & set(parts):
            continue  # the names of objects in a store may be anything
        if parts[-1] in ROOTS:
            found[path] = "/".join(parts[:-1]), parts[-1]
            continue
        for at, part in enumerate(parts[:-1]):
            if part in FOLDERS and any(map(_OF_PROCESS.search, parts[at + 1 :])):
                found[path] = "/".join(parts[:at]), "/".join(parts[at:])
                break
    return found


def unnumbered(name: str) -> str:
    """The name that a segment has, or had, while it is written.

    Example:
        >>> unnumbered("logs/p00003.a01.0007.jsonl")
        'logs/p00003.a01.jsonl'
    """
    return _NUMBERED.sub("", name)


def look(place: FilePlace, path: str, name: str, size: int) -> Copy:
    """What a file says of itself.

    Raises:
        RunDirectoryError: it cannot be read.
    """
    if name.startswith("profiles/") or not size:
        return Copy(place, path, name, size, None, name.encode(), 0)
    facts, head = _header(place.read(path, 0, _HEAD if name != "run.json" else size), name)
    run_id = facts.get("run_id")
    if not isinstance(run_id, str) or not run_id.isprintable() or not 0 < len(run_id) <= 200:
        run_id = None  # of nobody's
    attempt = facts.get("attempt")
    return Copy(
        place, path, name, size, run_id, name.encode() if name in ROOTS or run_id is None else head,
        attempt if name == "run.json" and type(attempt) is int else 0,
    )  # fmt: skip


def is_still(copy: Copy) -> bool:
    """Whether the file that has a copy's name is still the one that was looked at, and not the one after it.

    Raises:
        RunDirectoryError: it cannot be read.
    """
    return copy.is_numbered or look(copy.place, copy.path, copy.name, copy.size).head == copy.head


def relation(source: Copy, target: Copy) -> Relation:
    """What a copy is to another one of the same file.

    Files of lines grow at their ends; a part of a line at an end counts as nothing, since a kill leaves it
    and a restart takes it away. ``run.json`` is newer by its attempt.

    Raises:
        RunDirectoryError: one cannot be read.
    """
    if source.attempt != target.attempt:
        return "longer" if source.attempt > target.attempt else "older"
    if source.size == target.size and _is_equal(source, target, source.size):
        return "same"
    if not source.is_lines:
        return "different"
    shorter, longer = sorted((source, target), key=lambda each: each.size)
    if not _is_equal(shorter, longer, whole_size(shorter)):
        return "different"
    return "older" if source.size <= target.size else "longer"


def whole_size(copy: Copy) -> int:
    """How many bytes the whole lines of a file take."""
    end, length = copy.size, 1 << 16
    while end:
        start = max(0, end - length)
        newline = copy.place.read(copy.path, start, end).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end, length = copy.place.data_until(copy.path, start), min(2 * length, BLOCK)
    return 0


def _is_equal(one: Copy, other: Copy, size: int) -> bool:
    whole, samples, length = _NEAR if one.place.is_near and other.place.is_near else _FAR
    if size <= whole:
        pieces = [(at, min(size, at + BLOCK)) for at in range(0, size, BLOCK)]
    else:
        apart = (size - length) / (samples - 1)
        pieces = [(round(i * apart), round(i * apart) + length) for i in range(samples)]
    return all(
        one.place.read(one.path, start, end) == other.place.read(other.path, start, end)
        for start, end in pieces
    )


def _header(data: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    if name == "run.json":
        return _object(data), b""
    lines = data.split(b"\n", 3)
    if name.endswith(".log"):
        said = re.match(rb"# (?:.* )?run_id=(\w+)", lines[0])
        return {"run_id": said[1].decode()} if said else {}, lines[0]
    for line in lines[:3]:
        facts = _object(line.strip(b"\0 \t\r,"))
        if isinstance(facts.get("args"), dict):
            facts = facts["args"]
        if "run_id" in facts:
            return facts, line
    return {}, b""


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
