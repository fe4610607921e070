"""Replaying the journal of a run that has ended, or crashed, into a sink: from where the sink was."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sightline.errors import ConfigurationError, JournalError
from sightline.files.file_lines import JsonLines, Unreadable
from sightline.runs.journal import (
    Block,
    commits_between,
    gaps_of,
    is_run_line,
    whole_lines,
    whole_size,
)
from sightline.runs.run_directory import no_journal
from sightline.sinks.base import SinkRun, StoringSink
from sightline.sinks.commits import is_commit
from sightline.sinks.damage import Damage
from sightline.sinks.lineage import Beginnings, Lineage, Start
from sightline.sinks.looking import LookingSink
from sightline.sinks.reader import Handed, cursor_of, storing_reader
from sightline.sinks.sound_records import SoundRecords
from sightline.support.foreign_numbers import whole

_LOOK_S = 0.05


class JournalFile:
    """The lines of a journal that nobody writes any more."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, offset: int, limit: int) -> Block:
        """Whole lines from an offset on."""
        return whole_lines(self.path, offset, limit)


class Replay:
    """One run's journal and one sink.

    Args:
        directory: the run directory.
        sink: with a back end that keeps what it is given.
        from_step: leave out commits of lower steps.

    Raises:
        JournalError: there is no journal, it holds no run, or has a newer format.
        ConfigurationError: a sink that stores nothing, or no commit is from that step on.

    Attributes:
        sink: that.
        handed: what the sink was handed.
        damage: of what the sink has stored, as :meth:`missing` has seen it, in a sentence; else empty.
        unreadable: what no sink can be handed of the journal; of odd lines sinks get what is sound.
    """

    def __init__(self, directory: Path, sink: Any, *, from_step: int | None = None) -> None:
        if not isinstance(sink, StoringSink):
            fix = f": it is disabled; set {sink.name}.mode" if getattr(sink, "is_disabled", False) else ""
            raise ConfigurationError(
                f"sink {sink.name!r} keeps nothing that could be brought up to date{fix}"
            )
        self.handed = Handed()
        self._directory = directory = directory.resolve()
        self._path = directory / "metrics.jsonl"
        self.sink = sink
        self._from_step = from_step
        if not self._path.exists():
            raise JournalError(no_journal(directory))
        self._last_seq = 0
        run_line: dict[str, Any] | None = None
        begun = Beginnings()
        steps: list[int] = []
        self.unreadable = Unreadable()
        self.damage = ""
        for record in self._records():
            if record.get("type") == "run" and is_run_line(record, self._path):
                run_line = record
            begun.see(record)
            if is_commit(record):
                self._last_seq = max(self._last_seq, record["seq"])
                steps.append(record["step"])
                begun.commit(record["attempt"], record["step"])
        if run_line is None:
            raise JournalError(f"{self._path} holds no run line: it is no journal of sightline")
        if from_step is not None and steps and max(steps) < from_step:
            raise ConfigurationError(
                f"{self._path} has no commit of a step from {from_step} on: the last is of step {max(steps)}"
            )
        self._gaps = gaps_of(run_line)
        self._commits = commits_between(0, self._last_seq, self._gaps)
        self._starts = begun.starts or [Start(whole(run_line.get("attempt")) or 1, 0, None)]
        self._facts = {"config": None, **facts_of(directory), "run_id": run_line["run_id"]}

    def missing(self) -> Handed:
        """What the sink lacks, by its file if it has one, else by its cursor; nothing is changed.

        Raises:
            ConfigurationError: its file is another program's, or cannot be read.
        """
        lineage = _From(self._starts, self.sink.rewind, self._from_step)
        cursor = cursor_of(self.sink, self._directory, lineage, self._facts["run_id"])
        stored = cursor.seq
        if isinstance(self.sink, LookingSink):
            name = str(self._facts.get("name") or self._directory.name)
            run = SinkRun(
                self._facts["run_id"], name, self._directory, lineage.current.attempt, fork=lineage.fork
            )  # fmt: skip
            try:
                stored, self.damage = self.sink.look(run)
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"sink {self.sink.name!r}: {error}") from error
        steps = [
            record["step"]
            for record in self._records()
            if is_commit(record) and record["seq"] > stored and lineage.has(record)
        ]
        return Handed().and_those_of(steps)

    def _records(self) -> Iterator[dict[str, Any]]:
        """Sound ones; a last line that was cut by a kill is none."""
        with open(self._path, "rb", 0) as file:
            lines = JsonLines(file.fileno(), sound=SoundRecords())
            yield from lines
        self.unreadable = lines.unreadable

    def run(self, *, patience_s: float = 60.0) -> Iterator[tuple[int, int]]:
        """Brings the sink up to date.

        Args:
            patience_s: how long it may go without taking anything.

        Yields:
            Now and then: commits of the journal that it has or does not want, and all that there are.

        Raises:
            ConfigurationError: it is down, or has not taken anything for so long; what it took stays taken.
        """
        lineage = _From(self._starts, self.sink.rewind, self._from_step)
        size = whole_size(self._path)
        reader = storing_reader(
            self.sink, JournalFile(self._path), size,
            directory=self._directory, lineage=lineage, facts=self._facts, gaps=self._gaps,
            damage=Damage(self._path, is_said=False),
        )  # fmt: skip
        reader.wake(size, self._last_seq)
        behind, moved = self._commits, time.monotonic()
        while not reader.flush(_LOOK_S):
            now_behind = reader.look().lag_steps
            if now_behind < behind:
                behind, moved = now_behind, time.monotonic()
            if reader.is_down or time.monotonic() - moved > patience_s:
                break
            yield self._commits - behind, self._commits
        is_closed = reader.close(patience_s)
        self.handed = reader.handed
        if not is_closed:
            raise ConfigurationError(
                f"sink {self.sink.name!r} took no more: {reader.trouble or 'it does not answer'}. What it "
                f"has taken stays; the same command goes on from there"
            )
        yield self._commits, self._commits


class _From(Lineage):
    """Commits from a step on."""

    def __init__(self, starts: list[Start], rewind: Any, from_step: int | None) -> None:
        super().__init__(starts, rewind)
        self._from_step = from_step
        self.is_partial = from_step is not None

    def has(self, record: Mapping[str, Any]) -> bool:
        step = record.get("step")
        if self._from_step is not None and isinstance(step, int) and step < self._from_step:
            return False
        return super().has(record)


def facts_of(directory: Path) -> dict[str, Any]:
    """What ``run.json`` says; empty if it cannot be read."""
    try:
        found = orjson.loads((directory / "run.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
