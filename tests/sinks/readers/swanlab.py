"""What SwanLab's files hold of an experiment, by its own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.sdk.internal.core_python.store import DataStoreReader

import sightline as sl


class Experiment:
    """What the files of one experiment hold together; no step of a key twice, as SwanLab's server has it.

    Attributes:
        start: of the first file.
        series: by key.
        texts: by key and step, each with its caption.
        seqs: of all commits in all files.
        twice: values that are in two files.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        values: dict[str, dict[int, float]] = {}
        self.start: Any = None
        self.texts: dict[str, dict[int, list[tuple[str, str]]]] = {}
        self.seqs: list[int] = []
        self.twice = 0
        for path in sorted(folder.glob("run-*/run-*.swanlab")):
            records = read(path)
            if not records or records[0].start.id != identity:
                continue
            self.start = self.start or records[0].start
            for media in (record.media for record in records if record.HasField("media")):
                files = {file.name: file for file in path.parent.glob("media/**/*.txt")}
                self.texts.setdefault(media.key, {}).setdefault(
                    media.step,
                    [(files[each.filename].read_text(), each.caption) for each in media.value.items],
                )
            for scalar in (record.scalar for record in records if record.HasField("scalar")):
                if scalar.key == "sightline/seq":
                    assert scalar.step == scalar.value.number
                    self.seqs.append(scalar.step)
                    continue
                known = values.setdefault(scalar.key, {})
                self.twice += scalar.step in known
                known.setdefault(scalar.step, scalar.value.number)
        self.series = {key: sorted(each.items()) for key, each in values.items()}


def read(path: Path) -> list[Any]:
    """By SwanLab's reader, which stops where a file is cut."""
    reader = DataStoreReader()
    found = []
    try:
        reader.open(path)
        while data := reader.scan():
            found.append(Record.FromString(data))
    except Exception:  # noqa: BLE001 - it asserts what a file that is cut does not hold
        pass
    reader.close()
    return found


def experiment(run: Path | None, folder: Path | None = None, fork: str = "") -> Experiment:
    assert run is not None
    return Experiment(folder or run / "swanlab", next(sl.read_journal(run))["run_id"] + fork)
