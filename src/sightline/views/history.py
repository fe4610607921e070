"""What a journal has said so far, column by column, read as it grows.

For views of a run: a report, a table, a live terminal. Values are kept exactly. What has no bound of its own
(samples, events, each process's values) is thinned out, so that memory stays bounded and no peak is lost.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from sightline.errors import RunDirectoryError
from sightline.files.file_lines import JsonLines, Unreadable
from sightline.files.sparse_files import last_data
from sightline.runs.host_health import PREFIXES
from sightline.runs.journal import Record, is_rewound, is_run_line, lines_backwards
from sightline.runs.run_directory import JOURNAL, no_journal
from sightline.runs.run_state import MOST_BYTES, begin_of_attempt, lines_from
from sightline.runs.sound_lines import is_sound_run, sane_event
from sightline.sinks.commits import is_commit
from sightline.sinks.lineage import Beginnings, Start
from sightline.sinks.sound_records import SoundRecords
from sightline.values.samples import RANKED_BY

_BLOCK_ROWS = 1024
_EVENTS = 10_000  # of a run, and late snapshots as many
_PROCESS_ROWS = 2048  # steps for which each process's values of a key are kept
_SAMPLES = 2000  # rows of a table
_HISTOGRAMS = 256  # of a key
_NUMBERS = {float, int}
_HEAD_LINES = 16  # in which an attempt's run line is
_PLACES = 16  # sets of commits whose steps are kept in order


class Series(NamedTuple):
    """One metric.

    Attributes:
        steps: ascending, each once, int64 ``[n]``.
        times: when each was committed, seconds since the epoch, float64 ``[n]``.
        values: float64 ``[n]``; also NaN and infinities, as they were recorded.
    """

    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


class ProcessTable(NamedTuple):
    """A metric's own values on each process.

    Attributes:
        steps: int64 ``[n]``; the first one of those that were joined.
        joined: how many steps make one row; the values are the largest of them.
        processes: which, ascending, ``[p]``.
        values: float64 ``[n, p]``; NaN where a process had none.
    """

    steps: NDArray[np.int64]
    joined: int
    processes: list[int]
    values: NDArray[np.float64]


class Missing(NamedTuple):
    """A commit that did not hear of all processes.

    Attributes:
        step: of the commit.
        time: seconds since the epoch.
        processes: the missing ones.
    """

    step: int
    time: float
    processes: list[int]


@dataclass
class SampleTable:
    """Rows of a sample table.

    Attributes:
        rows: each with ``step``, ``process`` and the columns that were recorded.
        recorded: how many rows all processes have recorded, of which these were chosen.
        columns: in the order in which they came.
        ranked_by: the one by which rows are best and worst.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    recorded: int = 0
    columns: list[str] = field(default_factory=list)
    ranked_by: str = RANKED_BY


class History:
    """The journal of a run, as far as it has been read.

    Args:
        run_dir: the run directory.
        tail: about how many bytes of its end are read at first, and the ``run`` line that they stand behind;
            None: all. It opens at once however long the journal is.

    Attributes:
        begins_at: how many bytes before those that are read were left out.
        runs: the ``run`` lines, one for each attempt.
        events: the ``event`` lines, the newest 10,000; without fields of another kind than they should be.
        late: the ``late`` lines, as many.
        missing: the commits that did not hear of all processes, as many.
        out: the processes that were missing and have not been heard of since, each with the step from which
            on; what an attempt has lost is back in the next.
        reported: how many processes the last commit is of, and of how many it should be; None before it.
        health: how each process of the last attempt was when it last said so, by key (as in
            ``host/process/rss_bytes``) and process.
        samples: by table.
        texts: the last text under each key, and its step.
        nonfinite: ``(step, key, kind)`` of each value that is not finite, the first 10,000.
        commits: how many there are, of all attempts.

    Raises:
        RunDirectoryError: there is no journal.
        JournalError: a newer version of sightline wrote it.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder, sl.start(folder, sinks=[]) as run:
        ...     for step in run.steps(3):
        ...         sl.scalar("train/loss", 1 / (step + 1))
        ...         run.commit(step)
        ...     run.flush()
        ...     history = History(run.dir)
        ...     history.update()
        ...     history.series("train/loss").values.tolist()
        True
        True
        [1.0, 0.5, 0.3333333333333333]
    """

    def __init__(self, run_dir: str | os.PathLike[str], *, tail: int | None = None) -> None:
        self.run_dir = Path(run_dir)
        self._tail = tail
        self.path = self.run_dir / JOURNAL
        if not self.run_dir.is_dir():
            raise RunDirectoryError(f"{self.run_dir} is no directory: expected a run's, as in runs/latest")
        if not self.path.exists():
            raise RunDirectoryError(no_journal(self.run_dir))
        self._clear()

    def _clear(self) -> None:
        self._offset = 0
        self.begins_at = 0
        self._identity: tuple[int, int] | None = None
        self.runs: list[Record] = []
        self.events: list[Record] = []
        self.late: list[Record] = []
        self.missing: list[Missing] = []
        self.out: dict[int, int] = {}
        self.health: dict[str, dict[int, float]] = {}
        self.reported: tuple[int, int] | None = None
        self.samples: dict[str, SampleTable] = {}
        self.texts: dict[str, tuple[int, str]] = {}
        self.nonfinite: list[tuple[int, str, str]] = []
        self._sound = SoundRecords()
        self._unreadable = Unreadable()
        self._cut = Unreadable()  # behind the last whole line, where more may come
        self._begun = Beginnings()
        self._steps: list[int] = []
        self._times: list[float] = []
        self._attempts: list[int] = []
        self._blocks: dict[tuple[str, ...], _Blocks] = {}
        self._by_key: dict[str, list[tuple[_Blocks, int]]] = {}
        self._processes: dict[str, _ProcessRows] = {}
        self._histograms: dict[str, list[Record]] = {}
        self._places: dict[
            tuple[object, ...], tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]
        ] = {}

    # --- reading -------------------------------------------------------------------------------------------

    def update(self, limit: int | None = None) -> bool:
        """Reads what has been written since the last call; returns whether that was anything.

        Args:
            limit: about how many bytes at most; None: all.

        Raises:
            JournalError: a newer version of sightline wrote it.
        """
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return False
        if self._identity not in (None, (found.st_dev, found.st_ino)) or found.st_size < self._offset:
            self._clear()  # another file has taken its place
        if self._identity is None and self._tail is not None and found.st_size > self._tail:
            self._begin_at_end(self._tail, found.st_size)
        self._identity = found.st_dev, found.st_ino
        end = found.st_size if limit is None else min(found.st_size, self._offset + limit)
        before = self._offset
        if before >= end:
            return False
        with open(self.path, "rb", 0) as file:
            lines = JsonLines(file.fileno(), before, sound=self._sound_of)
            for record in lines:
                self._offset = lines.place
                self._take(record)
                if lines.place >= end:
                    break
        self._offset = lines.place
        self._cut = Unreadable(zeros=lines.cut_zeros)
        self._unreadable += replace(lines.unreadable, zeros=lines.unreadable.zeros - lines.cut_zeros)
        return self._offset > before

    def _begin_at_end(self, tail: int, size: int) -> None:
        """Goes to the first line of about the last so many bytes, and takes the ``run`` line before it."""
        with open(self.path, "rb") as file:
            offset = last_data(file.fileno(), size, tail)
            self._offset = self.begins_at = next(
                (at for at, _ in lines_from(file, offset, size, [MOST_BYTES])), size
            )
            lines = lines_backwards(file.fileno(), self._offset, most=MOST_BYTES)
            attempt = next(filter(None, map(_attempt_of, lines)), None)
            if attempt is None:
                return
            begin = begin_of_attempt(file, attempt, self._offset)
            for _, record in itertools.islice(lines_from(file, begin, self._offset), _HEAD_LINES):
                if record.get("type") == "run" and is_run_line(record, self.path) and is_sound_run(record):
                    self.runs.append(record)
                    self._begun.see(record)
                elif self.runs and is_rewound(record):
                    self._begun.see(record)

    @property
    def unreadable(self) -> Unreadable:
        """What could not be read of what has been."""
        return self._unreadable + self._cut

    @property
    def read(self) -> int:
        """How many bytes have been read."""
        return self._offset - self.begins_at

    @property
    def unread(self) -> int:
        """How many bytes are there that have not been read."""
        return max(0, self.path.stat().st_size - self._offset)

    def _sound_of(self, record: Record) -> Record | None:
        """What is sound of a record; of a ``run`` line all or nothing, since views go by its fields."""
        is_run = record.get("type") == "run"
        return None if is_run and not is_sound_run(record) else self._sound(record)

    def _take(self, record: Record) -> None:
        if is_commit(record):
            self._take_commit(record)
        else:
            kind = record.get("type")
            if kind == "run" and is_run_line(record, self.path):
                self.runs.append(record)
                self._begun.see(record)
                self.out.clear()
                self.health.clear()
                self.reported = None
            elif kind == "event":
                self._begun.see(record)
                _append_bounded(self.events, sane_event(record), _EVENTS)  # none of its fields is null
            elif kind == "late":
                late = sane_event(record)
                _append_bounded(self.late, late, _EVENTS)
                self.out.pop(late.get("process", -1), None)
            elif kind == "process_values":
                self._take_process_values(record)
            elif kind == "sample":
                self._take_samples(record)
            elif kind == "histogram":
                _append_thinned(self._histograms.setdefault(record["key"], []), record, _HISTOGRAMS)

    def _take_commit(self, record: Record) -> None:
        row = len(self._steps)
        self._steps.append(record["step"])
        self._times.append(float(record.get("time") or 0.0))
        self._attempts.append(int(record.get("attempt") or 1))
        self._begun.commit(self._attempts[-1], record["step"])
        values: dict[str, Any] = record["values"]
        nonfinite = record.get("nonfinite")
        if nonfinite:
            for key, kind in nonfinite.items():
                values[key] = float(kind)
                if len(self.nonfinite) < _EVENTS:
                    self.nonfinite.append((record["step"], key, str(kind)))
        keys = tuple(values)
        blocks = self._blocks.get(keys)
        if blocks is None:
            blocks = self._blocks[keys] = _Blocks()
            for column, key in enumerate(keys):
                self._by_key.setdefault(key, []).append((blocks, column))
        blocks.append(row, list(values.values()))
        self._note_reported(record)
        if record.get("missing"):
            missing = Missing(record["step"], self._times[-1], list(record["missing"]))
            _append_bounded(self.missing, missing, _EVENTS)
        for key, text in (record.get("texts") or {}).items():
            self.texts[key] = record["step"], text

    def _note_reported(self, record: Record) -> None:
        """A process is named as missing once, and then not waited for until it is back.

        A commit of final values is one process's, and says nothing of the others.
        """
        expected, reported = record.get("expected"), record.get("reported")
        if isinstance(expected, int) and isinstance(reported, int) and expected >= self.processes:
            self.reported = reported, expected
            if reported >= expected:
                self.out.clear()
        for process in record.get("missing") or ():
            self.out.setdefault(process, record["step"])

    def _take_process_values(self, record: Record) -> None:
        processes, values = record["processes"], record["values"]
        for process in processes:
            self.out.pop(process, None)
        for key, numbers in values.items():
            if not isinstance(numbers, list):
                continue
            if key.startswith(PREFIXES):
                latest = self.health.setdefault(key, {})
                latest.update(
                    (process, value)
                    for process, value in zip(processes, numbers, strict=False)
                    if type(value) in _NUMBERS
                )
            rows = self._processes.get(key)
            if rows is None:
                rows = self._processes[key] = _ProcessRows()
            rows.append(record["step"], processes, numbers)

    def _take_samples(self, record: Record) -> None:
        step, rows = record["step"], record["rows"]
        table = self.samples.setdefault(record["table"], SampleTable())
        table.recorded += record["recorded"]
        table.ranked_by = record.get("ranked_by", table.ranked_by)
        for row in rows:
            table.columns += [each for each in row if each not in table.columns]
            table.rows.append({"step": step} | row | {"step": step})
        if len(table.rows) > _SAMPLES:  # every other one of the older half
            half = len(table.rows) // 2
            table.rows[:half] = table.rows[:half:2]

    # --- what is there -------------------------------------------------------------------------------------

    @property
    def commits(self) -> int:
        return len(self._steps)

    @property
    def keys(self) -> list[str]:
        """The metrics, in the order in which they came."""
        return list(self._by_key)

    @property
    def starts(self) -> list[Start]:
        """How each attempt began, by its first commit too."""
        return self._begun.starts if self.runs else []

    @property
    def last_step(self) -> int | None:
        """Of the last commit; None if there is none."""
        return self._steps[-1] if self._steps else None

    @property
    def last_time(self) -> float | None:
        """When the last commit was made, seconds since the epoch; None if there is none."""
        return self._times[-1] if self._times else None

    @property
    def processes(self) -> int:
        """How many the last attempt has; 1 where that is unknown."""
        known = self.runs[-1].get("processes") if self.runs else 1
        return max(1, known) if isinstance(known, int) else 1

    def series(self, key: str) -> Series:
        """A metric as it is now: what a later attempt has gone over again is left out.

        Where a step was committed several times in an attempt, the last one counts. Unknown keys are empty.
        """
        return self._series(key, shown=True)

    def gone_over(self, key: str) -> Series:
        """What :meth:`series` leaves out, because a later attempt has gone over these steps again."""
        return self._series(key, shown=False)

    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """The steps, times and attempts of all commits, in the order in which they were made."""
        return (
            np.array(self._steps, np.int64),
            np.array(self._times, np.float64),
            np.array(self._attempts, np.int64),
        )

    def process_table(self, key: str, *, first_step: int | None = None) -> ProcessTable | None:
        """A metric's own values on each process; None if the journal has none.

        Args:
            key: of the metric.
            first_step: rows of earlier steps are left out.
        """
        rows = self._processes.get(key)
        return None if rows is None else rows.table(first_step)

    @property
    def process_keys(self) -> list[str]:
        """The metrics that have a :meth:`process_table`."""
        return list(self._processes)

    def histograms(self, key: str) -> list[Record]:
        """The ``histogram`` lines of a key, 256 at most."""
        return self._histograms.get(key, [])

    @property
    def histogram_keys(self) -> list[str]:
        """The keys that have :meth:`histograms`."""
        return list(self._histograms)

    def _series(self, key: str, *, shown: bool) -> Series:
        found = self._by_key.get(key, ())
        if not found:
            return Series(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        steps, times, taken = self._placed(tuple(blocks for blocks, _ in found), shown=shown)
        return Series(steps, times, np.concatenate([blocks.column(at) for blocks, at in found])[taken])

    def _placed(
        self, found: tuple[_Blocks, ...], *, shown: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Steps and times of a series, and which of its values they have; the same for most keys."""
        key = (*map(id, found), shown, len(self._steps), len(self.runs))
        if key in self._places:
            return self._places[key]
        rows = np.concatenate([blocks.rows() for blocks in found])
        steps, times, attempts = (each[rows] for each in self._cached_rows())
        is_over = self._is_over(steps, attempts)
        kept = np.flatnonzero(~is_over if shown else is_over)
        order = kept[np.lexsort((rows[kept], steps[kept]))]
        is_last = np.ones(len(order), bool)
        is_last[:-1] = steps[order][1:] != steps[order][:-1]
        order = order[is_last]
        if len(self._places) >= _PLACES:
            self._places.clear()
        self._places[key] = steps[order], times[order], order
        return self._places[key]

    def steps(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The steps, ascending, each once, and when each was first committed; as :meth:`series` has them."""
        steps, times, attempts = self._cached_rows()
        kept = ~self._is_over(steps, attempts)
        found, first = np.unique(steps[kept], return_index=True)
        return found, times[kept][first]

    def step_seconds(self) -> NDArray[np.float64]:
        """Seconds from the last commit of the step before to the step's own last one, float64 ``[n]``, as
        :meth:`steps` has them.

        NaN for the first one of an attempt, before which there may have been a pause.
        """
        steps, times, attempts = self._cached_rows()
        rows = np.flatnonzero(~self._is_over(steps, attempts))[::-1]
        rows = rows[np.unique(steps[rows], return_index=True)[1]]
        seconds = np.maximum(np.diff(times[rows], prepend=np.nan), 0.0)
        seconds[1:][np.diff(attempts[rows]) != 0] = np.nan
        return seconds

    def _is_over(self, steps: NDArray[np.int64], attempts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows a later attempt has gone over again."""
        is_over = np.zeros(len(steps), bool)
        for start in self.starts:
            is_over |= (attempts < start.attempt) & (steps >= start.first_step)
        return is_over

    def _cached_rows(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        cached: Any = self.__dict__.get("_rows")
        if cached is None or len(cached[0]) != len(self._steps):
            cached = self.__dict__["_rows"] = self.rows()
        return cached  # type: ignore[no-any-return]


class _Blocks:
    """The values of all commits that have the same keys, packed by the thousand."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.int64]] = []
        self._packed: list[NDArray[np.float64]] = []  # [keys, rows]
        self._open_rows: list[int] = []
        self._open: list[list[float]] = []

    def append(self, row: int, values: list[float]) -> None:
        self._open_rows.append(row)
        self._open.append(values)
        if len(self._open) == _BLOCK_ROWS:
            self._pack()

    def rows(self) -> NDArray[np.int64]:
        """Which commits they are, by their number in the file."""
        return np.concatenate([*self._rows, np.array(self._open_rows, np.int64)])

    def column(self, at: int) -> NDArray[np.float64]:
        """The values of one key in them."""
        opened = np.array([_number(values[at]) for values in self._open], np.float64)
        return np.concatenate([*(packed[at] for packed in self._packed), opened])

    def _pack(self) -> None:
        self._rows.append(np.array(self._open_rows, np.int64))
        try:
            packed = np.array(self._open, np.float64)
        except (TypeError, ValueError, OverflowError):  # something that is no number, in a file of others'
            packed = np.array([[_number(each) for each in values] for values in self._open], np.float64)
        self._packed.append(np.ascontiguousarray(packed.T))
        self._open_rows, self._open = [], []


class _ProcessRows:
    """Rows of one key, of which neighbours are joined to their maximum when they become too many."""

    def __init__(self) -> None:
        self._joined = 1
        self._rows: list[tuple[int, dict[int, float]]] = []
        self._count = 0  # in the last row

    def append(self, step: int, processes: Sequence[int], values: Sequence[float | None]) -> None:
        new: dict[int, float]
        if _NUMBERS.issuperset(map(type, values)):  # as a rule, and much quicker
            new = dict(zip(processes, values, strict=False))  # type: ignore[arg-type]
        else:
            new = {process: _number(value) for process, value in zip(processes, values, strict=False)}
        if self._rows and self._count < self._joined:
            _join(self._rows[-1][1], new)
            self._count += 1
            return
        self._rows.append((step, new))
        self._count = 1
        if len(self._rows) > _PROCESS_ROWS:
            self._halve()

    def _halve(self) -> None:
        *whole, last = self._rows
        joined = []
        for (step, first), (_, second) in zip(whole[::2], whole[1::2], strict=True):
            _join(first, second)
            joined.append((step, first))
        self._rows = [*joined, last]
        self._joined *= 2

    def table(self, first_step: int | None) -> ProcessTable:
        rows = [row for row in self._rows if first_step is None or row[0] >= first_step]
        steps = np.array([step for step, _ in rows], np.int64)
        names = list(rows[0][1]) if rows else []
        if all(list(values) == names for _, values in rows):  # as a rule, and much quicker
            order = np.argsort(np.array(names, np.int64))
            table = np.array([list(values.values()) for _, values in rows], np.float64)
            table = table.reshape(len(rows), len(names))[:, order]
            return ProcessTable(steps, self._joined, sorted(names), table)
        processes = sorted({process for _, values in rows for process in values})
        place = {process: at for at, process in enumerate(processes)}
        table = np.full((len(rows), len(processes)), np.nan)
        for row, (_, values) in enumerate(rows):
            for process, value in values.items():
                table[row, place[process]] = value
        return ProcessTable(steps, self._joined, processes, table)


def _join(into: dict[int, float], other: Mapping[int, float]) -> None:
    for process, value in other.items():
        had = into.get(process)
        if had is None or not had >= value:
            into[process] = value


def _append_bounded(items: list[Any], item: Any, limit: int) -> None:
    items.append(item)
    if len(items) > limit:
        del items[: limit // 10 or 1]


def _append_thinned(items: list[Any], item: Any, limit: int) -> None:
    """Beyond the limit, every other one of the older ones goes."""
    items.append(item)
    if len(items) > limit:
        items[:-1] = items[:-1:2]


def _attempt_of(line: bytes) -> int | None:
    try:
        attempt = orjson.loads(line).get("attempt")
    except (orjson.JSONDecodeError, AttributeError):  # torn, or no object
        return None
    return attempt if isinstance(attempt, int) else None


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def bands(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """Which keys belong together, as parts of one distribution.

    Returns:
        for each name that several keys share, its parts (``mean``, ``std``, ``min``, ``max``, ``p05``, …),
        each with its key.

    Example:
        >>> bands(["train/loss", "train/length", "train/length/p50", "train/length/max"])
        {'train/length': {'mean': 'train/length', 'p50': 'train/length/p50', 'max': 'train/length/max'}}
    """
    keys = list(keys)
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        base, slash, part = key.rpartition("/")
        if slash and (part in _PARTS or (part[:1] == "p" and part[1:].replace(".", "", 1).isdigit())):
            found.setdefault(base, {})[part] = key
    known = set(keys)
    return {
        base: ({"mean": base} if base in known and "mean" not in parts else {}) | parts
        for base, parts in found.items()
        if len(parts) > 1 or base in known
    }


_PARTS = ("mean", "std", "min", "max", "median")
