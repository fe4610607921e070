"""JSONL: one flat row a commit, for tools that read such files and nothing else.

The journal has the same and more; a row here has no counts, histograms or values by process, and nothing is
nested. What an earlier attempt has written is read back, so no commit is lost or written twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sightline.file_lines import WholeLines
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import commits_in
from sightline.sinks.lineage import Rewind, check_rewind
from sightline.sinks.settings import check_types

_OURS = ("run_id", "step", "time", "seq")
_BEGINNING = b'{"run_id":'


@dataclass(frozen=True)
class JSONLConfig:
    """Settings of the JSONL sink.

    Attributes:
        path: the file; None: ``rows.jsonl`` in the run directory. Several runs may append to one file, one at
            a time. A fork goes into a file beside it (``rows.fork02.jsonl``).
        rewind: steps that a resumed run commits again: ``"continue"`` adds them (of two rows of one step the
            later one counts), ``"skip"`` leaves them out, and ``"fork"`` begins another file.
    """

    path: str | Path | None = None
    rewind: Rewind = "continue"

    def __post_init__(self) -> None:
        check_types("jsonl", self)
        check_rewind("jsonl", self.rewind)


class JSONLSink:
    """Appends rows to a file.

    A row has ``run_id``, ``step``, ``time`` (epoch s), ``seq`` (of the commit), and the values and texts of
    the commit under their keys, null where a value is not finite. A key that is called as one of those four
    has an underscore behind it.

    Args:
        config: where to, and how.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=["jsonl"]) as run:
        ...         sl.scalar(loss=0.5)
        ...         run.commit(7)
        ...     row = orjson.loads((run.dir / "rows.jsonl").read_bytes())
        >>> row["step"], row["seq"], row["loss"]
        (7, 1, 0.5)
    """

    name = "jsonl"
    stores_at_close = False

    def __init__(self, config: JSONLConfig | None = None) -> None:
        self._config = config or JSONLConfig()
        self.rewind: Rewind = self._config.rewind
        self._run_id = ""
        self._file = -1

    def open(self, run: SinkRun) -> int:
        """The ``seq`` of the run's last row. What follows the last whole row is cut off."""
        path = Path(self._config.path or run.dir / "rows.jsonl").expanduser()
        path = path.with_name(f"{path.stem}{run.suffix}{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.close()
        self._run_id = run.run_id
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        stored, whole = last_row(path, run.run_id)
        if whole < os.fstat(self._file).st_size:
            os.ftruncate(self._file, whole)
        return stored

    def write(self, records: Sequence[Record]) -> None:
        """One row for each commit, all in the kernel when this returns."""
        rows = [
            orjson.dumps(self._row(each), option=orjson.OPT_APPEND_NEWLINE) for each in commits_in(records)
        ]
        rest = memoryview(b"".join(rows))
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        """Closes the file."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _row(self, commit: Record) -> dict[str, Any]:
        row = {
            "run_id": self._run_id, "step": commit["step"], "time": commit["time"], "seq": commit["seq"]
        }  # fmt: skip
        for key, value in {**(commit.get("texts") or {}), **commit["values"]}.items():
            row[f"{key}_" if key in _OURS else key] = value
        return row


def last_row(path: Path, run_id: str) -> tuple[int, int]:
    """The ``seq`` of a run's last row in a file, 0 if there is none, and how many bytes the whole rows take.

    Raises:
        ValueError: the file holds something else.
    """
    seq = whole = 0
    with open(path, "rb", 0) as file:
        lines = WholeLines(file.fileno())
        for line in lines:
            row = _parsed(line)
            if row is not None:
                whole = lines.place
                if row["run_id"] == run_id:
                    seq = max(seq, row["seq"])
            elif lines.place == len(line) + 1 and not line.startswith(_BEGINNING):
                raise ValueError(_foreign(path))
        if not lines.place and not _BEGINNING.startswith(os.pread(file.fileno(), len(_BEGINNING), 0)):
            raise ValueError(_foreign(path))
    return seq, whole


def _foreign(path: Path) -> str:
    return f"{path} does not hold rows of the sink 'jsonl': choose another path"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for a line that a crash has torn."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and "run_id" in row and type(row.get("seq")) is int else None
