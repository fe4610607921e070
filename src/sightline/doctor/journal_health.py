"""One pass over a journal: what is damaged, missing, late and counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.files.file_lines import JsonLines, Unreadable, WholeLines
from sightline.files.sparse_files import last_data
from sightline.runs.host_health import HostHealth, Stalls
from sightline.runs.journal import FORMAT, commits_between, gaps_of
from sightline.sinks.commits import is_commit
from sightline.sinks.sound_records import SoundRecords
from sightline.support.foreign_numbers import real, whole
from sightline.values.naming import RESERVED

_MOST_BYTES = 256 << 20  # of a longer journal the end is read
_NAMED = 64


@dataclass
class Span:
    """Something that happened in some steps.

    Attributes:
        count: how often.
        first, last: the steps.
    """

    count: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, step: int | None, count: int = 1) -> None:
        self.count += count
        if step is not None:
            self.first = step if self.first is None else min(self.first, step)
            self.last = step if self.last is None else max(self.last, step)

    @property
    def steps(self) -> str:
        """As in ``step 7`` or ``steps 3 to 9``."""
        if self.first is None:
            return ""
        return f"step {self.first}" if self.first == self.last else f"steps {self.first} to {self.last}"


@dataclass
class Health:
    """What a journal holds, and how it is.

    Attributes:
        size: bytes.
        skipped: bytes before those that were read.
        cut: bytes behind the last whole line.
        unreadable: what could not be read; without holes before what was.
        kinds: how many lines of each type.
        newer: the format of a newer version, or 0.
        attempts: by number: its ``run`` line, and the steps of its commits.
        commits: how many were read.
        backwards: commits whose ``seq`` is not above the one before.
        lost: commits that are not there, by ``seq``, and that no gap explains.
        gaps: numbers that were left out on purpose: the last one before, the last one left out.
        last_seq: of the last commit.
        missing: by process: the commits that were closed without it.
        missing_now: who is missing in the last commit.
        late: by process: snapshots that came too late.
        obs: by name: what was counted.
        sinks: by name: errors of a sink, and whether it stores.
        events: by name: how many.
        nonfinite: by key the first event.
        stalls: times in which no step came.
        hosts: how each process is, and was at worst.
    """

    size: int = 0
    skipped: int = 0
    cut: int = 0
    unreadable: Unreadable = field(default_factory=Unreadable)
    kinds: Counter[str] = field(default_factory=Counter)
    newer: int = 0
    attempts: dict[int, tuple[Mapping[str, Any], Span]] = field(default_factory=dict)
    commits: int = 0
    backwards: int = 0
    lost: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    last_seq: int = 0
    missing: dict[int, Span] = field(default_factory=dict)
    missing_now: tuple[int, ...] = ()
    late: dict[int, Span] = field(default_factory=dict)
    obs: dict[str, Span] = field(default_factory=dict)
    sinks: dict[str, tuple[Span, bool]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    nonfinite: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stalls: Stalls = field(default_factory=Stalls)
    hosts: HostHealth = field(default_factory=HostHealth)


def health_of(path: Path, *, most: int = _MOST_BYTES) -> Health:
    """Reads a journal once, in bounded memory.

    Args:
        path: of the journal.
        most: bytes, without those of holes; of a longer one the end is read.

    Raises:
        OSError: it cannot be read.
    """
    health = Health()
    first_seq: int | None = None
    with open(path, "rb", 0) as file:
        health.size = os.fstat(file.fileno()).st_size
        begin = last_data(file.fileno(), health.size, most)
        if begin:  # within a line, of which the rest is passed over
            rest = WholeLines(file.fileno(), begin, health.size)
            next(iter(rest), None)
            begin = health.skipped = rest.place
        # What comes meanwhile is the next look's.
        lines = JsonLines(file.fileno(), begin, health.size, sound=SoundRecords())
        for record in lines:
            kind: str = record["type"]
            health.kinds[kind] += 1
            if first_seq is None and is_commit(record):
                first_seq = record["seq"] - 1
            _note(health, kind, record)
        health.cut = lines.cut
        health.unreadable = lines.unreadable + Unreadable(odd=health.hosts.odd)
    if first_seq is not None:
        begin = first_seq if health.skipped else 0
        health.lost = max(0, commits_between(begin, health.last_seq, health.gaps) - health.commits)
    return health


def _note(health: Health, kind: str, record: dict[str, Any]) -> None:
    attempt, step = whole(record.get("attempt")), whole(record.get("step"))
    health.stalls.add(record)
    health.hosts.add(record)
    if kind == "run":
        written = whole(record.get("format")) or 0
        health.newer = max(health.newer, written if written > FORMAT else 0)
        if attempt is not None:
            health.attempts[attempt] = record, Span()
            health.gaps = gaps_of(record) or health.gaps
    elif kind == "commit":
        _note_commit(health, record, attempt)
    elif kind == "late":
        process = whole(record.get("process"))
        if process is not None:
            health.late.setdefault(process, Span()).add(step)
    elif kind == "event":
        name = record["event"]
        health.events[name] += 1
        if name == "nonfinite" and len(health.nonfinite) < _NAMED:
            health.nonfinite.setdefault(str(record.get("key")), record)


def _note_commit(health: Health, record: dict[str, Any], attempt: int | None) -> None:
    seq, step = record["seq"], record["step"]
    health.commits += 1
    health.backwards += seq <= health.last_seq
    health.last_seq = max(health.last_seq, seq)
    if attempt in health.attempts:
        health.attempts[attempt][1].add(step)
    missing = record.get("missing") or []
    for process in missing:
        health.missing.setdefault(process, Span()).add(step)
    if missing or (whole(record.get("expected")) or 1) > 1:
        health.missing_now = _still(health.missing_now, missing, record)
    for key, value in record["values"].items():
        if key.startswith(RESERVED) and value is not None:
            number = real(value)
            if number is not None:
                _note_count(health, key.removeprefix(RESERVED), number, step)


def _still(before: tuple[int, ...], missing: list[int], record: Mapping[str, Any]) -> tuple[int, ...]:
    """Who has not come back. A process is named once, and not waited for again until it has."""
    absent = (whole(record.get("expected")) or 0) - (whole(record.get("reported")) or 0)
    if absent <= 0:
        return ()
    return tuple(sorted({*before, *missing}))


def _note_count(health: Health, name: str, value: float, step: int) -> None:
    if name.startswith("sink/"):
        sink, _, what = name.removeprefix("sink/").rpartition("/")
        errors, stores = health.sinks.get(sink, (Span(), False))
        if what == "errors" and value:
            errors.add(step, int(value))
        health.sinks[sink] = errors, stores or what == "lag_steps"
    elif value:
        health.obs.setdefault(name, Span()).add(step, int(value))
