"""The journal: one append-only file of JSON lines, from which everything else can be made again.

Each line is written to the kernel by one call as it is committed, so it survives the death of the process by
any signal. A line that was cut by a crash can only be the last; opening the journal to continue it removes
that fragment. Lines are told apart by ``"type"``:

``run``
    ``format``, ``run_id``, ``attempt``, ``started`` (epoch s), ``processes``, ``starts`` (of all attempts so
    far: [its number, its first step, the last step before it or null]), ``gaps`` (numbers that ``seq`` has
    left out, in order: [the last one before, the last one left out]), ``aliases`` {key: [its other names]},
    and ``derived`` {other name: what it shows} for those that show no key's own value. A key or name that
    ends in ``/`` is a prefix; a ``*`` stands for any part of one. The first line of every attempt.
``commit``
    ``seq`` (strictly increasing over the file, with gaps), ``attempt``, ``step``, ``k``, ``time`` (epoch s),
    ``expected``, ``reported`` (how many processes), ``missing`` (which, if any), ``values`` {key: number or
    null}, ``nonfinite`` {key: "nan" | "inf" | "-inf"} for the nulls, ``counts`` {key: int}, ``texts``; and,
    if records were not finite, ``nonfinite_records`` {key: {``count``: how many, ``processes`` [..]: on which
    (the lowest 64; none where they are unknown, as of values given to ``commit``), and ``nan``, ``inf``,
    ``-inf``: how many of each kind that there is}}. A sum or a last value counts as one record.
``process_values``
    ``seq`` (of its commit), ``attempt``, ``step``, ``k``, ``processes`` [..], ``values`` {key: [..]}.
``histogram``
    A distribution of a commit, one line for each, written with it: ``seq`` (of its commit), ``attempt``,
    ``step``, ``k``, ``key``, ``edges`` [..] (ascending) and ``counts`` [..], one fewer. A bin holds its lower
    edge, the last one both. Counts add up to the finite records; all are ``<key>__count`` of the commit.
``sample``
    Some rows of a sample table, written with the commit that they belong to: ``seq`` (of its commit),
    ``attempt``, ``step``, ``k``, ``table``, ``recorded`` (rows on all processes), ``rows`` [{column: value}],
    each with its ``process``. All rows in full are in the files of the processes.
``late``
    A snapshot that came after its slot was closed: ``attempt``, ``step``, ``k``, ``process``, ``time``, and
    ``values``, ``nonfinite``, ``counts``, ``texts`` as above.
``event``
    ``event`` (its name), ``attempt``, ``time``, and fields of its own. ``nonfinite`` stands before the commit
    in which a key is not finite for the first time in an attempt: ``key``, ``step``, the fields that
    ``nonfinite_records`` has of it, and ``site``, where it is recorded on the first of these processes.

    ``stall``: no slot has closed for ``seconds``, five times the median; ``step`` and ``k`` of the one that
    is open (null: nobody has opened one), ``waiting_for`` [..]. ``stacks``, of a process whose own commits
    have not come for as long (``waited_s``), and again each time that has doubled: ``process``, its last
    ``step``, ``at`` (the innermost line of its main thread that is in no library), ``inside`` (the innermost
    one, if that is a library's), ``span`` and ``span_s`` (its innermost open span, for how long), ``spans``
    [[name, seconds]..] from the outermost in, ``stacks`` (its main thread's; its log has those of all).
    ``silent``: ``processes`` [..] that are waited for and have not said where they are, since nothing of them
    runs. ``resumed``: a slot has closed again, ``step`` and ``k``, after ``seconds``, without ``missing``.

    ``rewound``, before the first commit of an attempt that has begun lower than its ``run`` line says: at
    ``step``, with all ``starts`` as they are now.

Readers skip types and fields that they do not know.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sightline.errors import JournalError
from sightline.files import full_disks
from sightline.files.file_lines import WholeLines, zeros_said
from sightline.files.sparse_files import behind_zeros, data_until
from sightline.support import wording
from sightline.support.foreign_numbers import position

log = logging.getLogger("sightline")

FORMAT = 1
REWOUND = "rewound"
_BLOCK = 1 << 16
_BUFFER_BYTES = 64 << 20  # what is kept in memory while the disk refuses
_HIGHEST = 1 << 52  # readers take numbers up to twice that
_SHORTEST_GAP = _BUFFER_BYTES >> 6  # more commits than fit in there: none has a line as short as 64 bytes

Record = dict[str, Any]


class Journal:
    """The writing end. One process, the root, holds it; it has the run's lock.

    What is appended together goes to the kernel together. A write that fails (a full disk) does not raise:
    lines wait in memory, up to 64 MiB, and go out with a later one; what does not fit is lost, and counted.
    One thread writes; any may :meth:`read`.

    Args:
        path: the file; made if it does not exist, and continued after its last whole line if it does.

    Attributes:
        seq: of the last commit line.
        attempt: of the last run line, 0 if there is none.
        run_line: the last one, or None.
        starts_line: the line that says how the attempts began: that one, or a ``rewound`` event behind it.
        last_step: of the last commit line, or None.
        has_ended: whether its last line says that the last attempt has ended, so that it holds all commits.
        gaps: numbers that ``seq`` has left out: the last one before, the last one left out.
        size: bytes of whole lines that are in the kernel.
        lost: lines that did not fit into memory while the disk refused them.

    Raises:
        JournalError: the file cannot be opened, is no journal, or has a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = 0
        self.attempt = 0
        self.run_line: Record | None = None
        self.starts_line: Record | None = None
        self.last_step: int | None = None
        self.has_ended = False
        self.gaps: list[tuple[int, int]] = []
        self.lost = 0
        self._lock = threading.Lock()  # over size and what waits
        self._waiting: deque[tuple[bytes, int]] = deque()  # what was appended together, and how many lines
        self._waiting_bytes = 0
        self._written = 0  # bytes of the first one that are in the kernel
        self._failed = False
        self._is_full = False  # the disk, which is why
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self.size = os.fstat(self._file).st_size
        except OSError as error:
            raise JournalError(f"{path}: cannot open the journal: {error}") from error
        try:
            was_cut = self._cut_fragment()
            self._find_place()
            self.has_ended = self.has_ended and not was_cut
            self.gaps = gaps_of(self.run_line)
        except BaseException as error:
            os.close(self._file)
            if isinstance(error, OSError):
                raise JournalError(f"{path}: cannot read the journal: {error}") from error
            raise

    def append(self, *records: Mapping[str, Any]) -> bool:
        """Writes records as lines; returns whether all that was given so far is in the kernel."""
        self._write_waiting()  # makes room, where the disk has some again
        if records:
            lines = b"".join(map(_line, records))
            with self._lock:
                if self._waiting and self._waiting_bytes + len(lines) > _BUFFER_BYTES:
                    self.lost += len(records)
                else:
                    self._waiting.append((lines, len(records)))
                    self._waiting_bytes += len(lines)
        return self._write_waiting()

    def _write_waiting(self) -> bool:
        try:
            while self._waiting:
                lines, _ = self._waiting[0]
                self._written += os.write(self._file, memoryview(lines)[self._written :])
                if self._written == len(lines):
                    self._written = 0
                    with self._lock:
                        self._waiting.popleft()
                        self._waiting_bytes -= len(lines)
                        self.size += len(lines)
        except OSError as error:
            self._is_full = full_disks.is_said(error, self.path)
            if not self._is_full and not self._failed:
                log.error("sightline: writing %s fails, lines wait in memory: %s", self.path, error)
            self._failed = True
            return False
        if self._failed:
            self._failed = False
            if self._is_full:
                full_disks.has_space(self.path)
            else:
                log.warning("sightline: writing %s works again", self.path)
        return True

    def close(self) -> None:
        """Writes what waits, if it can, and closes the file."""
        if self._file >= 0:
            self.append()
            if self._waiting:
                log.error(
                    "sightline: %d lines could not be written to %s, and are lost",
                    sum(count for _, count in self._waiting),
                    self.path,
                )
            os.close(self._file)
            self._file = -1

    def leave_gap(self, known: int) -> None:
        """Lets ``seq`` go on above all that earlier attempts can have used, where that is not known for sure:
        above the clock in milliseconds, and well above what is known.

        Sinks may hold commits that this file does not: the disk refused them, a crash of the machine took
        them, or the run was on another machine. A number that is used twice would hide the later commit.

        Args:
            known: the highest number that is known from elsewhere.
        """
        begin = max(max(self.seq, _counted(known)) + _SHORTEST_GAP, time.time_ns() // 1_000_000)
        # A gap behind which nothing was committed is part of this one.
        self.gaps = [*(gap for gap in self.gaps if gap[1] <= self.seq), (self.seq, begin)]
        self.seq = begin

    @property
    def run_id(self) -> str | None:
        """Of the run that the journal holds."""
        return None if self.run_line is None else self.run_line["run_id"]

    @property
    def end(self) -> int:
        """Where the next line begins, or will once the disk has taken those before it."""
        with self._lock:
            return self.size + self._waiting_bytes

    def read(self, offset: int, limit: int) -> Block:
        """Whole lines from an offset on, also those that the disk has refused so far; from any thread.

        Args:
            offset: where a line begins.
            limit: bytes, about; at least one line is returned if there is one.
        """
        with self._lock:
            # Else they are on their way to the kernel, and nobody may have them before it has.
            size, waiting = self.size, list(self._waiting) if self._failed else []
        block = Block(offset, b"")
        if offset < size:
            block = whole_lines(self.path, offset, min(limit, size - offset))
        taken = [block.data]
        end = block.end
        at = size
        for lines, _ in waiting:
            if end == at and end - block.begin < limit:
                taken.append(lines)
                end += len(lines)
            at += len(lines)
        return Block(block.begin, b"".join(taken))

    @property
    def waiting(self) -> bool:
        """Whether lines wait in memory because the disk refuses them."""
        return bool(self._waiting)

    def _cut_fragment(self) -> bool:
        end = whole_end(self._file, self.size)
        was_cut = end < self.size
        if was_cut:
            os.ftruncate(self._file, end)
            self.size = end
        return was_cut

    def _find_place(self) -> None:
        """Reads backwards, to the last run line that has commits after it: no further than one attempt."""
        is_torn = False
        for number, line in enumerate(lines_backwards(self._file, self.size)):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                is_torn = True  # by a crash of the machine, which may have taken commits; readers skip it too
                continue
            if not isinstance(record, dict):
                continue
            kind = record.get("type")
            if number == 0:
                self.has_ended = kind == "event" and record.get("event") == "finish"
            seq = position(record.get("seq"))
            step, attempt = (record.get(name) for name in ("step", "attempt"))
            if seq is not None and isinstance(step, int):  # else it is no line of ours
                self.seq = max(self.seq, _counted(seq))
                if kind == "commit" and self.last_step is None:
                    self.last_step = step
            if isinstance(attempt, int):
                self.attempt = max(self.attempt, attempt)
            if is_rewound(record):
                self.starts_line = self.starts_line or record
            if kind == "run" and is_run_line(record, self.path):
                self.run_line = self.run_line or record
                self.starts_line = self.starts_line or record
                if self.last_step is not None:
                    break
        self.has_ended = self.has_ended and not is_torn
        if self.size and self.run_line is None:
            raise JournalError(
                f"{self.path} has {self.size} bytes and no run line: it is no journal of sightline"
            )


def _counted(seq: int) -> int:
    """``seq``, if a run can have counted so far, with room for those to come."""
    return seq if seq < _HIGHEST else 0


class NewerJournalError(JournalError):
    """A newer version of sightline wrote a journal, and nothing of it is read.

    Attributes:
        format: that it has.
    """

    def __init__(self, path: Path, written: int) -> None:
        super().__init__(
            f"{path} has format {written}, and this sightline writes {FORMAT}: "
            f"a newer version wrote it: pip install --upgrade sightline"
        )
        self.format = written


def is_run_line(record: Mapping[str, Any], path: Path) -> bool:
    """Whether a record of type ``run`` is one of ours.

    Raises:
        NewerJournalError: a newer version of sightline wrote it.
    """
    if not isinstance(record.get("run_id"), str) or not isinstance(record.get("format"), int):
        return False
    if record["format"] > FORMAT:
        raise NewerJournalError(path, record["format"])
    return True


def is_rewound(record: Mapping[str, Any]) -> bool:
    """Whether a record says that an attempt began lower than its ``run`` line has it."""
    return record.get("type") == "event" and record.get("event") == REWOUND


def commits_between(first: int, last: int, gaps: Iterable[tuple[int, int]]) -> int:
    """How many commits there are from after one ``seq`` on to another, where numbers were left out.

    Example:
        >>> commits_between(3, 1002, gaps=[(5, 1000)])
        4
    """
    left_out = sum(max(0, min(last, after) - max(first, before)) for before, after in gaps)
    return max(0, last - first - left_out)


def whole_size(path: Path) -> int:
    """How many bytes the whole lines of a file take."""
    with open(path, "rb") as file:
        return whole_end(file.fileno(), os.fstat(file.fileno()).st_size)


class Block(NamedTuple):
    """Whole lines of a file that stand one behind the other.

    Attributes:
        begin: where the first one begins; behind the place that was asked for if there is a hole.
        data: the lines; empty if there are none yet.
    """

    begin: int
    data: bytes

    @property
    def end(self) -> int:
        """Where what follows them begins."""
        return self.begin + len(self.data)


def whole_lines(path: Path, offset: int, limit: int) -> Block:
    """The whole lines of a file from an offset on, about ``limit`` bytes of them, or one longer line.

    They end before a hole, and begin behind one that is at the offset: see :class:`WholeLines`.
    """
    with open(path, "rb", 0) as file:
        data = os.pread(file.fileno(), limit, offset)
        sound = data.partition(b"\0")[0]
        end = sound.rfind(b"\n") + 1
        if end:
            return Block(offset, data[:end])
        if len(sound) == len(data) < limit:  # the beginning of a line
            return Block(offset, b"")
        lines = WholeLines(file.fileno(), offset)
        line = next(iter(lines), None)
        if line is None:
            return Block(lines.place, b"")
        return Block(lines.place - len(line) - 1, line + b"\n")


def read_journal(path: str | os.PathLike[str], *, offset: int = 0) -> Iterator[Record]:
    """The records of a journal, in order; of a live one, those that are whole by now.

    Lines that are no JSON (torn by a crash of the machine) and holes are skipped; a warning of the log counts
    them.

    Args:
        path: ``metrics.jsonl``, or the run directory that holds it.
        offset: bytes to skip; a place where a line begins.

    Raises:
        OSError: there is no such file, or it cannot be read.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[]) as run:
        ...         sl.scalar(loss=0.5)
        ...         run.commit(1)
        ...     [r["values"] for r in read_journal(run.dir) if r["type"] == "commit"]
        [{'loss': 0.5}]
    """
    path = Path(path)
    if path.is_dir():
        path = path / "metrics.jsonl"
    torn = 0
    with open(path, "rb", 0) as file:
        lines = WholeLines(file.fileno(), offset)
        for line in lines:
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                torn += 1
                continue
            if isinstance(record, dict):
                yield record
    torn += lines.torn
    if torn or lines.zeros:
        skipped = [wording.counted(torn, "torn line") if torn else "", zeros_said(lines.zeros)]
        log.warning("sightline: %s: skipped %s", path, ", ".join(filter(None, skipped)))


def values_before(
    path: str | os.PathLike[str], step: int, wanted: Callable[[str], bool]
) -> list[dict[str, float | int]]:
    """The wanted values of the commits that led to a step, in order; none that is null.

    What a later attempt has gone over again, from its checkpoint on, is left out.

    Example:
        >>> values_before(os.devnull, 7, lambda key: key == "loss")
        []
    """
    kept: list[tuple[int, dict[str, float | int]]] = []
    attempt = None
    for record in read_journal(path):
        at, values = record.get("step"), record.get("values")
        if record.get("type") == "commit" and isinstance(at, int) and isinstance(values, dict):
            if record.get("attempt") != attempt:
                attempt = record.get("attempt")
                kept = [each for each in kept if each[0] < at]
            kept.append((at, {k: v for k, v in values.items() if v is not None and wanted(k)}))
    return [values for at, values in kept if at < step]


def numbers(values: Mapping[str, float | int]) -> tuple[dict[str, float | int | None], dict[str, str]]:
    """Values as JSON can hold them: null for what is not finite, and a dict that says what it was.

    Example:
        >>> numbers({"loss": 0.5, "kl": math.nan})
        ({'loss': 0.5, 'kl': None}, {'kl': 'nan'})
    """
    finite: dict[str, float | int | None] = {}
    nonfinite: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**64:  # more than JSON's readers can hold
            value = _as_float(value)
        if math.isfinite(value):
            finite[key] = value
        else:
            finite[key] = None
            nonfinite[key] = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return finite, nonfinite


def gaps_of(line: Mapping[str, Any] | None) -> list[tuple[int, int]]:
    """Those that a ``run`` line tells of; none if it is an older one."""
    gaps = (line or {}).get("gaps")
    return [
        (each[0], each[1])
        for each in (gaps if isinstance(gaps, list) else ())
        if isinstance(each, list) and len(each) == 2 and all(position(seq) is not None for seq in each)
    ]


def whole_end(file: int, end: int, *, most: int | None = None) -> int:
    """Where the last whole line before ``end`` ends, in a file given by its descriptor.

    Args:
        file: its descriptor.
        end: where to begin.
        most: bytes that are read for it (those of a hole are not); None: any number.

    Raises:
        JournalError: no line ends in so many bytes.
    """
    read = 0
    while end and os.pread(file, 1, end - 1) != b"\n":
        start = max(0, end - _BLOCK)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        read += end - start
        if most is not None and read > most:
            raise JournalError(f"no line ends in the last {read >> 20} MB of the journal: it is damaged")
        end = start + newline + 1 if newline >= 0 else data_until(file, start)
    return end


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, default=repr, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_jsonable(record), default=repr, option=orjson.OPT_APPEND_NEWLINE)


def _jsonable(value: Any) -> Any:
    """Without what JSON cannot hold: lone surrogates (models write them), large integers, odd keys."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return _as_float(value)
    if isinstance(value, Mapping):
        return {_jsonable(str(key)): _jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(each) for each in value]
    return value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def lines_backwards(file: int, end: int, *, most: int | None = None) -> Iterator[bytes]:
    """The lines before ``end`` of a file, the last one first, none empty.

    Args:
        file: its descriptor.
        end: where to begin.
        most: bytes that are read at most, and so of a line that is kept; None: any number. One that is longer
            is cut, which no reader takes for a line. Of one with NUL bytes there is what stands behind them,
            and a NUL byte before it, so that the damage is seen.
    """
    parts: list[bytes] = []  # of a line whose beginning has not been found, the last one first
    has_zeros = False
    left = most
    while end and (left is None or left > 0):
        start = max(0, end - _BLOCK)
        beginning, *lines = os.pread(file, end - start, start).split(b"\n")
        left = None if left is None else left - (end - start)
        if lines:
            *whole, last = lines
            yield from _past_zeros(last + b"".join(reversed(parts)))
            for line in reversed(whole):
                yield from _past_zeros(line)
            parts, has_zeros = [], False
        if not has_zeros:  # what stands before them counts no more
            has_zeros = b"\0" in beginning
            parts.append(b"\0" * has_zeros + beginning.rpartition(b"\0")[2])
        end = start if lines else data_until(file, start)
        if end < start and not has_zeros:
            has_zeros = True
            parts.append(b"\0")
    if not end:
        yield from _past_zeros(b"".join(reversed(parts)))


def _past_zeros(line: bytes) -> Iterator[bytes]:
    if b"\0" not in line:
        if line:
            yield line
        return
    if behind := behind_zeros(line):
        yield behind
    yield b"\0"
