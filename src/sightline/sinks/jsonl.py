"""JSONL: one flat row a commit, for tools that read such files and nothing else.

The journal has the same and more; a row here has no counts, histograms or values by process, and nothing is
nested. What an earlier attempt has written is read back, so no commit is lost or written twice. Rows that a
crash of the machine took from among others are written again, for which the file is begun anew.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sightline.files.file_lines import WholeLines
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import commits_in
from sightline.sinks.lineage import Rewind, check_rewind
from sightline.sinks.looking import Seen
from sightline.sinks.once import Once
from sightline.sinks.settings import check_types

log = logging.getLogger("sightline")

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
        self.place: Path | None = None
        self._run_id = ""
        self._file = -1
        self._once = Once(self.name)

    def open(self, run: SinkRun) -> int:
        """The ``seq`` of the run's last row. What follows the last whole row is cut off.

        Of a damaged file of this run alone, rows count up to the damage: the journal has the others too. The
        file is kept under another name, since the journal may be damaged as well.
        """
        path = self._path(run)
        self.place = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.close()
        self._run_id = run.run_id
        self._file = _opened(path)
        found = last_row(path, run.run_id)
        if found.is_damaged and not found.is_shared:
            self.close()
            kept = _begin_anew(path, found.sound)
            log.warning(
                "sightline: sink jsonl: %s was damaged by a crash of the machine: its rows from there on are "
                "written again, and it is kept as %s", path, kept.name,
            )  # fmt: skip
            self._file = _opened(path)
            return found.sound_seq
        if found.is_damaged:
            self._once.warn(
                "damaged",
                f"lacks rows that a crash of the machine took from {path}: several runs share that file, so "
                f"they are not written again",
            )
        if found.whole < os.fstat(self._file).st_size:
            os.ftruncate(self._file, found.whole)
        return found.seq

    def look(self, run: SinkRun) -> Seen:
        """What the file has, by which :meth:`open` would go on; nothing is changed."""
        path = self._path(run)
        if not path.exists():
            return Seen(0)
        found = last_row(path, run.run_id)
        if not found.is_damaged:
            return Seen(found.seq)
        said = f"{path}: rows are damaged, as by a crash of the machine"
        if found.is_shared:
            return Seen(found.seq, f"{said}; several runs share the file, so they are not written again")
        return Seen(found.sound_seq, f"{said}; from there on they are written again when the sink is opened")

    def _path(self, run: SinkRun) -> Path:
        path = Path(self._config.path or run.dir / "rows.jsonl").expanduser()
        return path.with_name(f"{path.stem}{run.suffix}{path.suffix}")

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


class Rows(NamedTuple):
    """What a file holds of a run.

    Attributes:
        seq: of the run's last row, 0 if there is none.
        whole: bytes up to the end of the last whole row.
        sound_seq, sound: the same, of what stands before the first damage.
        is_damaged: whether there are rows behind damage.
        is_shared: whether there are rows of other runs.
    """

    seq: int = 0
    whole: int = 0
    sound_seq: int = 0
    sound: int = 0
    is_damaged: bool = False
    is_shared: bool = False


def last_row(path: Path, run_id: str) -> Rows:
    """Where the rows of a run end in a file.

    Raises:
        ValueError: the file holds something else.
    """
    seq = whole = sound_seq = sound = 0
    is_torn = is_damaged = is_shared = False
    with open(path, "rb", 0) as file:
        lines = WholeLines(file.fileno())
        for line in lines:
            row = _parsed(line)
            if row is not None:
                whole = lines.place
                if row["run_id"] == run_id:
                    seq = max(seq, row["seq"])
                else:
                    is_shared = True
                if is_torn or lines.torn:
                    is_damaged = True
                else:
                    sound_seq, sound = seq, whole
                continue
            is_torn = True
            if lines.place == len(line) + 1 and not line.startswith(_BEGINNING):
                raise ValueError(_foreign(path))
        if not lines.place and not _BEGINNING.startswith(os.pread(file.fileno(), len(_BEGINNING), 0)):
            raise ValueError(_foreign(path))
    return Rows(seq, whole, sound_seq, sound, is_damaged, is_shared)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _begin_anew(path: Path, size: int) -> Path:
    """Leaves the beginning of a file in its place; returns where all of it is then."""
    path = path.resolve()
    names = (path.with_name(f"{path.stem}.damaged{n:02d}{path.suffix}") for n in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    part = path.with_name(f"{path.name}.part")
    with path.open("rb") as source, part.open("wb") as target:
        while size and (data := source.read(min(size, 1 << 20))):
            size -= target.write(data)
    os.rename(path, kept)  # a crash behind this leaves no file, and all rows are written again
    os.rename(part, path)
    return kept


def _foreign(path: Path) -> str:
    return f"{path} does not hold rows of the sink 'jsonl': choose another path"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for a line that a crash has torn."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and "run_id" in row and type(row.get("seq")) is int else None
