"""trackio: rows in its local store, written at once, each with an id by which it is stored once.

trackio's own ``log`` hands rows to a thread and drops what its database refuses, and its ``init`` asks the
network who the user is. Rows are therefore given to its storage layer, which returns when they are stored.
On a network file system, where SQLite breaks, they go into trackio's inbox instead, which its dashboard takes
into the database. Spaces, browsers and the network are never touched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from sightline.errors import ConfigurationError
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import SEQ, together, values_of
from sightline.sinks.extras import need
from sightline.sinks.lineage import Rewind, check_rewind
from sightline.sinks.names import Names
from sightline.sinks.settings import check_types

_ROWS = 500  # in one transaction


@dataclass(frozen=True)
class TrackioConfig:
    """Settings of the trackio sink.

    Attributes:
        project: its name; several runs may share it.
        name: of the run; None: that of the run directory.
        group: of the run, if it belongs to one.
        dir: of trackio's store; None: ``trackio`` in the run directory. ``TRACKIO_DIR=<dir> trackio show``
            shows it. Give runs one directory to see them side by side; a program that uses trackio itself
            should give it trackio's own (``~/.cache/huggingface/trackio``).
        rewind: steps that a resumed run commits again: ``"continue"`` adds them (trackio keeps both rows of
            a step), ``"skip"`` leaves them out, and ``"fork"`` begins another run.
    """

    project: str = "sightline"
    name: str | None = None
    group: str | None = None
    dir: str | Path | None = None
    rewind: Rewind = "continue"

    def __post_init__(self) -> None:
        check_types("trackio", self)
        check_rewind("trackio", self.rewind)
        if not self.project:
            raise ConfigurationError("trackio project='': expected a name")


class TrackioSink:
    """Writes one row a commit into trackio's store.

    A row has the values, histograms and texts of the commit under their keys, its sample tables under
    ``samples/<table>``, and its ``seq`` under ``sightline/seq``. Keys that trackio keeps for itself
    (``step``, ``run``, …) begin with two underscores, as trackio's own ``log`` has it.

    Args:
        config: where to, and how.

    Raises:
        ConfigurationError: without ``pip install 'sightline[trackio]'``.
    """

    name = "trackio"
    stores_at_close = False

    def __init__(self, config: TrackioConfig | None = None) -> None:
        self._config = config or TrackioConfig()
        self.rewind: Rewind = self._config.rewind
        need("trackio", "trackio", "sightline[trackio]")
        self._names = Names("trackio", str)
        self.place = Path()
        self._inbox: Any = None
        self._id = self._run_name = ""
        self._run_config: dict[str, Any] | None = None

    def open(self, run: SinkRun) -> int | None:
        """The ``seq`` of the run's last row in the database; None if it goes into the inbox."""
        self.place = place = Path(self._config.dir or run.dir / "trackio").expanduser().absolute()
        self._id = run.run_id + run.suffix
        self._run_name = (self._config.name or run.name) + run.suffix
        self._run_config = self._described(run)
        reserved = set(import_module("trackio.utils").RESERVED_KEYS)
        self._names = Names(
            "trackio",
            lambda key: f"__{key}" if key in reserved or key.startswith("__") else key,
            longest=1000,
            taken=[SEQ],
            kept=run.kept.setdefault("names", {}),
        )
        place.mkdir(parents=True, exist_ok=True)
        self._inbox = None
        if _is_inbox_wanted(place):
            fragments: Any = import_module("trackio.fragments")
            self._inbox = fragments.FragmentWriter()
            return None
        with _storage_at(place) as storage:
            storage.validate_project_name(self._config.project)
            storage.init_db(self._config.project)
            answer = storage.query_project(
                self._config.project, f"SELECT MAX(log_id) AS last FROM metrics WHERE run_id = '{self._id}'"
            )
        last = answer["rows"][0]["last"]
        return int(last.rpartition(":")[2]) if last else 0

    def write(self, records: Sequence[Record]) -> None:
        """One row for each commit, all stored when this returns."""
        rows = list(self._rows(records))
        for at in range(0, len(rows), _ROWS):
            some = rows[at : at + _ROWS]
            if self._inbox is None:
                self._store(some)
            else:
                self._leave_in_inbox(some)
            self._run_config = None

    def close(self) -> None:
        """Nothing is held."""

    def _store(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with _storage_at(self.place) as storage:
            storage.bulk_log(
                project=self._config.project,
                run=self._run_name,
                run_id=self._id,
                metrics_list=[row["metrics"] for row in rows],
                steps=[row["step"] for row in rows],
                timestamps=[row["timestamp"] for row in rows],
                log_ids=[row["log_id"] for row in rows],
                config=self._run_config,
            )

    def _leave_in_inbox(self, rows: Sequence[Mapping[str, Any]]) -> None:
        fragments: Any = import_module("trackio.fragments")
        place = {"project": self._config.project, "run": self._run_name, "run_id": self._id}
        records = [fragments.metric_record({**place, **row, "config": None}) for row in rows]
        records[0]["config"] = self._run_config
        self._inbox.write_local(records, self.place / fragments.INBOX_DIR_NAME)

    def _rows(self, records: Sequence[Record]) -> Iterator[dict[str, Any]]:
        for commit, histograms, samples in together(records):
            said: dict[str, Any] = {**values_of(commit), **(commit.get("texts") or {})}
            for line in histograms:
                said[line["key"]] = {
                    "_type": "trackio.histogram", "bins": line["edges"], "values": line["counts"]
                }  # fmt: skip
            for line in samples:
                said[f"samples/{line['table']}"] = {"_type": "trackio.table", "_value": line["rows"]}
            seq = commit["seq"]
            yield {
                "metrics": {**{self._names[key]: value for key, value in said.items()}, SEQ: seq},
                "step": commit["step"],
                "timestamp": datetime.fromtimestamp(commit["time"], UTC).isoformat(),
                # Ids sort as numbers do: the greatest is the last.
                "log_id": f"{self._id}:{seq:015d}",
            }

    def _described(self, run: SinkRun) -> dict[str, Any]:
        """The run's configuration, and what it was, as trackio keeps them; names with ``_`` are its own."""
        described = {str(name): value for name, value in run.described().items()}
        names = Names("trackio", lambda name: name.lstrip("_") or "_")
        new = {name: names[name] for name in sorted(described, key=lambda name: name.startswith("_"))}
        return {
            **{new[name]: value for name, value in described.items()},
            "_Username": None,
            "_Created": datetime.fromtimestamp(run.facts.get("started", 0), UTC).isoformat(),
            "_Group": self._config.group,
        }


_turn = threading.Lock()


@contextmanager
def _storage_at(folder: Path) -> Iterator[Any]:
    """trackio's storage in a directory; for one at a time, since the directory is a global of trackio."""
    modules: list[Any] = [import_module(f"trackio.{name}") for name in ("utils", "sqlite_storage")]
    with _turn:
        before = [module.TRACKIO_DIR for module in modules]
        try:
            _point(modules, [folder] * len(modules))
            yield modules[-1].SQLiteStorage
        finally:
            _point(modules, before)


def _point(modules: Iterable[Any], folders: Iterable[Path]) -> None:
    for module, folder in zip(modules, folders, strict=True):
        if folder != module.TRACKIO_DIR:
            module.TRACKIO_DIR = folder


def _is_inbox_wanted(folder: Path) -> bool:
    """As trackio decides it."""
    mode = os.environ.get("TRACKIO_STORAGE_MODE", "auto").strip().lower()
    if mode in ("sqlite", "jsonl"):
        return mode == "jsonl"
    return bool(import_module("trackio.utils").is_network_filesystem(folder))
