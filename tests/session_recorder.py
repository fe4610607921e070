"""Sessions as they are recorded, and the files that they are written to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.files.process_files import Place, ProcessFiles
from sightline.tracing.session_files import Damage, SessionRecord
from sightline.tracing.session_tracer import SessionTracer
from sightline.tracing.session_writer import SessionWriter
from sightline.tracing.sessions import Session


class Recorder:
    """A tracer, and the files that it is written to."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.tracer = SessionTracer()
        self.files = ProcessFiles(lambda: Place(directory, "run", 1))
        self.writer = SessionWriter(self.tracer, self.files)
        self.path = directory / "sessions" / "p00000.a01.jsonl"

    def records(self) -> list[SessionRecord]:
        """What has been written by now; nothing of it damaged."""
        assert self.files.flush()
        damages: list[Damage] = []
        found = list(sl.read_sessions(self.dir, on_damage=damages.append))
        assert damages == []
        return found

    def record(self, session: Session) -> SessionRecord:
        (found,) = (each for each in self.records() if each.id == session.id)
        return found

    def lines(self) -> list[dict[str, Any]]:
        assert self.files.flush()
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


def sessions_of(*runs: Path) -> list[SessionRecord]:
    return list(sl.read_sessions(runs, on_damage=lambda damage: pytest.fail(str(damage))))
