"""Whether a run goes on, has ended, crashed or stalls: from its lock and a few lines of its journal.

Read are the journal's last lines, back to its latest commits, and what stands around its latest ``run`` line,
which is found by bisection; so it takes some milliseconds, however long the journal is. Holes, which a crash
of the machine may leave, are passed over, and so is what is too long for a line: 400 MB are read at most.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from sightline.errors import JournalError, RunDirectoryError
from sightline.files.file_lines import LONGEST, cut_said
from sightline.files.sparse_files import behind_zeros, data_from
from sightline.posting.stall import StallWatch
from sightline.runs.journal import NewerJournalError, is_run_line, lines_backwards, whole_end
from sightline.runs.run_directory import JOURNAL, Lock, lock_of
from sightline.runs.sound_lines import is_sound_run, sane_event
from sightline.support import wording
from sightline.support.foreign_numbers import seconds, whole

State = Literal["running", "stalled", "finished", "failed", "crashed", "unknown"]

_STEPS = 64  # whose pace is the usual one
_TAIL_BYTES = 4 << 20  # read for them, unless no commit stands there
_HEAD_LINES = 64  # behind a run line, in which the loop says how long it is
_PROBE_BYTES = 1 << 16
MOST_BYTES = 128 << 20  #: read of a damaged journal, backwards and by bisection each
_PIECE_BYTES = 1 << 20
_LATELY_S = 60.0  # in which a run has written that another host holds, where nothing else can be seen


@dataclass(frozen=True)
class RunState:
    """How a run stands, by what can be seen here; of its latest attempt.

    Attributes:
        state: ``"running"``: a live process holds it, or one on another host has committed lately;
            ``"stalled"``: that, but no step has come for five times the usual, and 10 s at least;
            ``"finished"``: its journal says that it has ended; ``"failed"``: that, by an exception;
            ``"crashed"``: none of these;
            ``"unknown"``: there is no journal here, or none that this version reads.
        reason: how that is known, in a few words.
        run_id: None where it is unknown.
        attempt: which start of the run this is, from 1; 0 where it is unknown.
        processes: how many the attempt has; 0 where it is unknown.
        started: when the attempt began, in s since the epoch.
        first_step: where its loop began, if it goes by ``run.steps``; else None.
        total_steps: the step that its loop ends before, if it goes by ``run.steps``; else None.
        last_step: of its last commit, None if there is none.
        last_seq: of its last commit, 0 if there is none.
        last_commit: when that was, in s since the epoch; None if there is none.
        step_s: median of seconds from step to step, lately; None if there are fewer than two steps.
        error: what ended it, if it was an exception.
        missing: processes that were waited for in vain: at its end, or now, if it stalls.
        lock: of its directory.
        newer: the format of its journal, if a newer version of sightline wrote it; else 0.
        cut_bytes: of a last line without its end; 0 while somebody writes it, or if zeros are in its place.
    """

    state: State
    reason: str
    run_id: str | None = None
    attempt: int = 0
    processes: int = 0
    started: float | None = None
    first_step: int | None = None
    total_steps: int | None = None
    last_step: int | None = None
    last_seq: int = 0
    last_commit: float | None = None
    step_s: float | None = None
    error: str | None = None
    missing: tuple[int, ...] = ()
    lock: Lock = field(default_factory=lambda: Lock(None))
    newer: int = 0
    cut_bytes: int = 0

    @property
    def is_live(self) -> bool:
        """Whether somebody is at it: running, or stalled."""
        return self.state in ("running", "stalled")

    @property
    def cut(self) -> str:
        """What is lost of its last line, for people; empty if nothing is."""
        return cut_said(self.cut_bytes) if self.cut_bytes else ""

    @property
    def has_ended(self) -> bool:
        """Whether its journal says that it has: finished, or failed."""
        return self.state in ("finished", "failed")


def state_of(run_dir: str | os.PathLike[str], *, now: float | None = None) -> RunState:
    """How a run stands. Quick for a journal of any length, and nobody is held up by it.

    Args:
        run_dir: its directory; a link to it will do.
        now: in s since the epoch; None: this moment.

    Raises:
        RunDirectoryError: there is no such directory.
        OSError: it cannot be read.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[]) as run:
        ...         for step in run.steps(3):
        ...             run.commit(step)
        ...     state = state_of(run.dir)
        >>> state.state, state.last_step, state.total_steps, state.attempt
        ('finished', 2, 3, 1)
    """
    directory = Path(run_dir)
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory} is no directory: expected a run's, as in runs/latest")
    lock = lock_of(directory)  # before the journal: a run that ends in between has its last line there
    try:
        seen = _look(directory / JOURNAL)
    except FileNotFoundError:
        others = any(directory.glob("*/p[0-9]*.a[0-9]*"))
        why = f"there is no {JOURNAL} here" + (
            ": the files are of processes whose root wrote elsewhere" if others else ""
        )
        return RunState("unknown", why, lock=lock)
    except NewerJournalError as error:
        return RunState("unknown", str(error), lock=lock, newer=error.format)
    except JournalError as error:
        return RunState("unknown", str(error), lock=lock)
    return _judged(seen, directory, lock, time.time() if now is None else now)


@dataclass
class _Seen:
    """What stands in the lines that were read.

    Attributes:
        last: the last line.
        is_cut: whether the beginning of another one follows.
        cut_bytes: of that, unless it begins with zeros.
        attempt: the latest, 0 if no line tells.
        run: that of its attempt; empty if a crash of the machine took it.
        commits: the latest, the last one first; of an earlier attempt if this one has none.
        events: by name the latest in the last lines of the attempt.
        loop: the event that says how long the loop is.
    """

    last: dict[str, Any]
    is_cut: bool
    cut_bytes: int = 0
    attempt: int = 0
    run: dict[str, Any] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    loop: dict[str, Any] = field(default_factory=dict)


def _look(path: Path) -> _Seen:
    """Reads the lines that count.

    Raises:
        JournalError: it is no journal, or has a newer format.
    """
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        size = whole_end(file.fileno(), length, most=MOST_BYTES)
        seen = _Seen({}, is_cut=size < length)
        if seen.is_cut and os.pread(file.fileno(), 1, size) != b"\0":
            seen.cut_bytes = length - size
        steps: set[int] = set()
        read = 0
        for line in lines_backwards(file.fileno(), size, most=MOST_BYTES):
            read += len(line)
            record = _record(line)
            if record is None:
                continue
            kind = record.get("type")
            seen.last = seen.last or record
            if not seen.attempt and whole(record.get("attempt")) is not None:
                seen.attempt = record["attempt"]
            if _is_commit(record):
                seen.commits.append(record)
                steps.add(record["step"])
            elif kind == "event" and not seen.run:
                seen.events.setdefault(str(record.get("event")), record)
            elif kind == "run" and is_run_line(record, path) and is_sound_run(record) and not seen.run:
                seen.run = record
            if seen.commits and (seen.run or len(steps) > _STEPS or read > _TAIL_BYTES):
                break
        if not seen.run and seen.attempt:
            # The lines behind it were not all read, so the loop's event is looked for too.
            beginning = lines_from(file, begin_of_attempt(file, seen.attempt, size), size)
            for _, record in itertools.islice(beginning, _HEAD_LINES):
                if record.get("type") == "run" and is_run_line(record, path) and is_sound_run(record):
                    seen.run = record
                elif record.get("type") == "event" and record.get("event") == "steps":
                    seen.loop = record
        seen.loop = sane_event(seen.events.get("steps") or seen.loop)
    if not seen.run and not seen.commits:
        raise JournalError(
            f"{path} has no whole line yet"
            if not seen.last
            else f"{path} has no run line: it is no journal of sightline"
        )
    return seen


def begin_of_attempt(file: BinaryIO, attempt: int, size: int) -> int:
    """Where the first line of an attempt is; the end of the file if it has none. Attempts only rise."""
    low, high = 0, size
    left = [MOST_BYTES]
    while high - low > _PROBE_BYTES:
        middle = (low + high) // 2
        at, record = next(
            (
                (at, each)
                for at, each in lines_from(file, middle, size, left)
                if whole(each.get("attempt")) is not None
            ),
            (size, None),
        )
        if record is None or record["attempt"] >= attempt:
            high = middle
        else:
            low = at
    return next(
        (at for at, each in lines_from(file, low, size, left) if each.get("attempt") == attempt),
        size,
    )


def lines_from(
    file: BinaryIO, position: int, size: int, left: list[int] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of the lines that begin at a place or behind it, and where they begin.

    Args:
        file: a journal.
        position: where to begin.
        size: how much of it counts.
        left: one number, of bytes that may be read; what is read is taken from it. None: any number.
    """
    file.seek(max(0, position - 1))
    if position:
        _line_of(file, left)  # the rest of a line that began before
    while (at := file.tell()) < size and (left is None or left[0] > 0):
        record = _record(_line_of(file, left))
        if record is not None:
            yield at, record


def _line_of(file: BinaryIO, left: list[int] | None) -> bytes:
    """The line that begins here; of one that is too long or has NUL bytes in it what is behind alone."""
    parts: list[bytes] = []
    while True:
        part = file.readline(_PIECE_BYTES)
        parts.append(part)
        if left is not None:
            left[0] -= len(part)
        if len(part) < _PIECE_BYTES or part.endswith(b"\n") or (left is not None and left[0] <= 0):
            return behind_zeros(b"".join(parts))
        if part.endswith(b"\0"):
            parts = [b"\0"]  # torn
            file.seek(data_from(file.fileno(), file.tell()))
        elif len(parts) * _PIECE_BYTES > LONGEST:
            parts = [b"\0"]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None  # torn by a crash of the machine; readers skip it too
    return record if isinstance(record, dict) else None


def _is_commit(record: Mapping[str, Any]) -> bool:
    return (
        record.get("type") == "commit"
        and all(whole(record.get(name)) is not None for name in ("seq", "step", "attempt"))
        and seconds(record.get("time")) is not None
    )


def _judged(seen: _Seen, directory: Path, lock: Lock, now: float) -> RunState:
    watch, step_s = _pace([each for each in seen.commits if each["attempt"] == seen.attempt])
    last = seen.commits[0] if seen.commits else None
    last_time = last["time"] if last else None
    failed, finish, stall = (seen.events.get(name) for name in ("failed", "finish", "stall"))
    state: State
    missing: tuple[int, ...] = ()
    if finish is not None and seen.last is finish and not seen.is_cut:
        state, missing = "finished", _processes(finish.get("missing"))
        reason = "its journal ends with the end of the run"
        if missing:
            reason += f", which {wording.processes(missing)} did not reach"
        if failed is not None:
            state, reason = "failed", "it ended by an exception"
    else:
        times = (seconds(seen.last.get("time")), seconds(seen.run.get("started")), last_time)
        written = max((each for each in times if each is not None), default=0.0)
        lately = max(_LATELY_S, 5 * (step_s or 0))
        is_live, reason = _is_live(lock, _root_of(directory, seen.attempt), now - written, lately)
        state = "running" if is_live else "crashed"
        if is_live and watch.overdue(now=now):
            assert last is not None
            state = "stalled"
            reason = (
                f"no commit for {wording.duration(now - last['time'])}, usually {step_s or 0:.3g} s a step"
            )
            stall = None if stall is None else sane_event(stall)
            if stall is not None and (seconds(stall.get("time")) or 0) >= last["time"]:
                missing = _processes(stall.get("waiting_for"))
                reason += f"; step {stall.get('step')} waits for {wording.processes(missing)}"
    run = seen.run
    return RunState(
        state,
        reason,
        run_id=run.get("run_id"),
        attempt=seen.attempt,
        processes=whole(run.get("processes")) or 0,
        started=seconds(run.get("started")),
        first_step=whole(seen.loop.get("start")),
        total_steps=whole(seen.loop.get("total")),
        last_step=last["step"] if last else None,
        last_seq=last["seq"] if last else 0,
        last_commit=last_time,
        step_s=step_s,
        error=None if failed is None else str(failed.get("error")),
        missing=missing,
        lock=lock,
        cut_bytes=0 if state in ("running", "stalled") else seen.cut_bytes,
    )


def _pace(commits: list[dict[str, Any]]) -> tuple[StallWatch, float | None]:
    """What knows the usual pace from step to step, and its median in s; of commits, the last one first."""
    watch = StallWatch()
    begun: dict[int, float] = {}
    for each in reversed(commits):
        begun.setdefault(each["step"], each["time"])
    for moment in begun.values():
        watch.beat(now=moment)
    steps = [later - earlier for earlier, later in itertools.pairwise(begun.values())]
    return watch, statistics.median(steps) if steps else None


def _is_live(lock: Lock, root: tuple[int, str] | None, silent_s: float, lately_s: float) -> tuple[bool, str]:
    """Whether somebody is at a run whose journal does not say that it has ended; and how that is known.

    Args:
        root: pid and host of the attempt's root, if they are known.
        silent_s: how long nothing has been written.
        lately_s: how long that may be, where nothing else can be seen.
    """
    here = os.uname().nodename
    holder = f"process {lock.pid} on {lock.host}" if lock.pid is not None else "a process"
    if lock.is_held:
        if root is not None and lock.pid is not None and (lock.pid, lock.host) != root:
            return (
                False,
                f"its journal has no end; {holder} holds it, which is not the run (`sightline sync`?)",
            )
        return True, f"{holder} holds it"
    if lock.is_held is False and lock.host in (here, None):
        return False, "its journal has no end, and no process holds it"
    if lock.is_held is None and lock.host == here and lock.pid is not None:
        return _lives(lock.pid), f"{holder} {'lives' if _lives(lock.pid) else 'is gone'} ({lock.why})"
    unseen = lock.why or f"the lock of {lock.host} may not be seen from {here}"
    said = f"its last line is {wording.duration(silent_s)} old, and {unseen}"
    return silent_s < lately_s, said


def _root_of(directory: Path, attempt: int) -> tuple[int, str] | None:
    """Process id and host of an attempt's root, by ``run.json``; None while that is of an earlier one."""
    try:
        facts = orjson.loads((directory / "run.json").read_bytes())
        return (int(facts["pid"]), str(facts["host"])) if facts["attempt"] == attempt else None
    except (OSError, ValueError, TypeError, LookupError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _processes(found: Any) -> tuple[int, ...]:
    return tuple(each for each in found if whole(each) is not None) if isinstance(found, list) else ()
