"""Whether a run goes on, has ended, crashed or stalls; with real processes and real kills."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.runs.run_directory import RunDirectory, held, lock_of
from sightline.runs.run_state import MOST_BYTES, RunState, state_of
from sightline.views.run_list import runs_below
from tests import waiting_run
from tests.harness import Worker, Workers, workers_of
from tests.holes import read_bytes
from tests.waiting_run import started


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(waiting_run.__file__, tmp_path) as started:
        yield started


def at(worker: Worker, **arguments: Any) -> RunState:
    return state_of(worker.disk / "runs" / "run", **arguments)


def test_a_run_is_running_until_it_ends(workers: Workers) -> None:
    worker = started(workers, steps=3, total=10)
    state = at(worker)
    assert (state.state, state.is_live, state.last_step, state.last_seq) == ("running", True, 2, 3)
    assert (state.first_step, state.total_steps, state.attempt, state.processes) == (0, 10, 1, 1)
    assert state.lock.is_held
    assert state.lock.pid == worker.popen.pid
    assert str(worker.popen.pid) in state.reason
    worker.tell("end")
    worker.wait()
    ended = at(worker)
    assert (ended.state, ended.is_live, ended.lock.is_held) == ("finished", False, False)
    assert (ended.last_step, ended.run_id, ended.error) == (2, state.run_id, None)


def test_a_run_that_was_killed_has_crashed(workers: Workers) -> None:
    worker = started(workers, steps=1)
    worker.signal(signal.SIGKILL)
    worker.wait(-signal.SIGKILL)
    state = at(worker)
    assert (state.state, state.last_step) == ("crashed", 0)
    assert "no process holds it" in state.reason


def test_a_run_without_a_commit_is_running_too(workers: Workers) -> None:
    state = at(started(workers))
    assert (state.state, state.last_step, state.last_commit, state.step_s) == ("running", None, None, None)


def test_an_exception_is_how_a_run_has_ended(workers: Workers) -> None:
    worker = started(workers, steps=3, fails_at=1)
    worker.wait(1)
    state = at(worker)
    assert (state.state, state.has_ended, state.is_live, state.last_step) == ("failed", True, False, 0)
    assert state.error == "ValueError: no \x1b[31mgradient"


def test_a_later_attempt_counts_alone(workers: Workers) -> None:
    """Until it has committed, the last step is the one that it goes on from."""
    first = started(workers, steps=3)
    first.signal(signal.SIGKILL)
    first.wait(-signal.SIGKILL)
    (first.disk / "committed").unlink()
    second = started(workers, steps=3, total=8)
    state = at(second)
    assert (state.state, state.attempt, state.last_step) == ("running", 2, 2)
    assert (state.first_step, state.total_steps, state.step_s) == (3, 8, None)


def written(run_dir: Path, *lines: dict[str, Any], end: bytes = b"") -> Path:
    """A run directory with a journal of these lines, which nobody holds."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in lines) + end)
    return run_dir


def run_line(attempt: int = 1, *, started: float = 0.0, processes: int = 1) -> dict[str, Any]:
    return {
        "type": "run", "format": 1, "run_id": "ab", "attempt": attempt, "started": started,
        "processes": processes,
    }  # fmt: skip


def commit(step: int, moment: float, *, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "type": "commit", "seq": step + 1, "attempt": attempt, "step": step, "k": 0, "time": moment, **more,
    }  # fmt: skip


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "event", "event": name, "attempt": 1, **fields}


def test_a_run_stalls_when_no_step_comes_for_far_longer_than_usual(tmp_path: Path) -> None:
    """Commits of one step make no pace of their own; whoever is waited for is named."""
    directory = RunDirectory(tmp_path, "run")
    lines = [run_line(processes=4)]
    for step in range(20):
        lines += [commit(step, 100.0 + 30 * step), commit(step, 100.5 + 30 * step)]
    written(directory.path, *lines)
    last = lines[-1]["time"]
    assert state_of(directory.path, now=last + 140).state == "running"
    state = state_of(directory.path, now=last + 200)
    assert (state.state, state.is_live, state.step_s) == ("stalled", True, 30.0)
    assert state.reason == "no commit for 3 min, usually 30 s a step"
    written(directory.path, *lines, event("stall", step=20, waiting_for=[2, 3], time=last + 150))
    state = state_of(directory.path, now=last + 200)
    assert state.missing == (2, 3)
    assert state.reason.endswith("step 20 waits for processes 2, 3")
    directory.close()
    assert state_of(directory.path, now=last + 200).state == "crashed"


def test_a_run_that_another_host_holds_is_known_by_what_it_writes(tmp_path: Path) -> None:
    """Where its lock cannot be seen from here, and where a copy came without one."""
    path = written(tmp_path / "run", run_line(), *(commit(step, 100.0 + step) for step in range(9)))
    for lock in (None, {"pid": 1, "host": "elsewhere"}):
        if lock is not None:
            (path / ".lock").write_text(json.dumps(lock))
        assert state_of(path, now=110.0).state == "running"
        gone = state_of(path, now=1000.0)
        assert gone.state == "crashed"
        assert "15 min old" in gone.reason
    assert "elsewhere may not be seen" in gone.reason


def test_whoever_brings_sinks_up_to_date_is_not_the_run(workers: Workers) -> None:
    """`sightline sync` holds a run as the run did."""
    worker = started(workers, steps=1)
    worker.signal(signal.SIGKILL)
    worker.wait(-signal.SIGKILL)
    with held(worker.disk / "runs" / "run"):
        state = at(worker)
    assert state.state == "crashed"
    assert f"process {os.getpid()} on " in state.reason


def test_looking_keeps_nobody_out(tmp_path: Path) -> None:
    """Several may look at once, and nothing is written."""
    directory = RunDirectory(tmp_path, "run")
    path = directory.path
    before = (path / ".lock").read_bytes()
    assert lock_of(path).is_held
    directory.close()
    with open(path / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # another one who looks
        assert lock_of(path).is_held is False
    assert (path / ".lock").read_bytes() == before
    RunDirectory(tmp_path, "run").close()


def test_a_directory_that_nobody_may_write_is_looked_at(tmp_path: Path) -> None:
    path = written(tmp_path / "run", run_line(), commit(0, 1.0))
    (path / ".lock").write_text(json.dumps({"pid": 1, "host": os.uname().nodename}))
    for each in (path / ".lock", path / "metrics.jsonl"):
        each.chmod(0o444)
    path.chmod(0o555)
    try:
        assert state_of(path).state == "crashed"
        assert lock_of(path).is_held is False
    finally:
        path.chmod(0o755)


def test_without_locks_the_process_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that refuses flock: a holder on this host is looked for by its number."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path = written(tmp_path / "run", run_line(), commit(0, 1.0))
    monkeypatch.setattr(fcntl, "flock", refuse)
    for pid, state in ((os.getpid(), "running"), (2**22 + 1, "crashed")):
        (path / ".lock").write_text(json.dumps({"pid": pid, "host": os.uname().nodename}))
        found = state_of(path)
        assert (found.state, found.lock.is_held) == (state, None)
        assert "cannot be locked here: No locks available" in found.reason


def test_a_cut_last_line_belongs_to_nobody(tmp_path: Path) -> None:
    path = written(tmp_path / "run", run_line(), commit(0, 1.0), event("finish"))
    assert state_of(path).state == "finished"
    written(path, run_line(), commit(0, 1.0), event("finish"), end=b'{"type":"ru')
    assert state_of(path).state == "crashed"
    written(path, run_line(), end=b'{"type":"commit","seq":1')
    assert state_of(path).last_step is None


def test_lines_that_are_none_of_ours_are_passed_over(tmp_path: Path) -> None:
    path = written(
        tmp_path / "run", run_line(), commit(4, 1.0), end=b'{"ty\n[1]\n{"type":"commit"}\n{"type":"run"}\n'
    )
    state = state_of(path)
    assert (state.state, state.last_step, state.attempt) == ("crashed", 4, 1)


@pytest.mark.parametrize("repeated", [1, 200_000])
def test_only_the_ends_of_a_journal_are_read(tmp_path: Path, repeated: int) -> None:
    """The run line and the loop's length are found behind a long first attempt, and before a long second."""
    path = tmp_path / "run" / "metrics.jsonl"
    written(path.parent, run_line(), event("steps", start=0, total=9))
    padding = "x" * 200
    with path.open("ab") as file:
        for attempt in (1, 2):
            if attempt == 2:
                file.write(orjson.dumps({**run_line(2), "run_id": "second"}) + b"\n")
                file.write(orjson.dumps({**event("steps", start=7, total=50), "attempt": 2}) + b"\n")
            line = orjson.dumps(commit(7, 5.0, attempt=attempt, texts={"t": padding})) + b"\n"
            file.write(line * repeated)
            file.write(orjson.dumps(commit(attempt, 6.0, attempt=attempt)) + b"\n")
    begin = read_bytes()
    state = state_of(path.parent)
    assert (state.run_id, state.attempt, state.first_step, state.total_steps) == ("second", 2, 7, 50)
    assert state.last_step == 2
    assert read_bytes() - begin < 16 << 20


@pytest.mark.parametrize("hole", ["end", "middle", "cut"])
def test_the_hole_that_a_crash_of_the_machine_leaves_is_passed_over(tmp_path: Path, hole: str) -> None:
    """Gigabytes that read as NUL bytes, in a sparse file: behind all lines, between two, in the last."""
    path = written(tmp_path / "run", run_line(), event("steps", start=0, total=9), commit(0, 1.0))
    size = 64 << 30
    with (path / "metrics.jsonl").open("ab") as file:
        if hole != "end":
            file.truncate(size)
            file.seek(size)
            file.write(b"\n" if hole == "middle" else b'rest"}')
            lines = (
                [{**run_line(2), "run_id": "second"}, commit(1, 2.0, attempt=2)] if hole == "middle" else []
            )
            file.write(b"".join(orjson.dumps(each) + b"\n" for each in lines))
        else:
            file.truncate(size)
    begin = read_bytes()
    state = state_of(path)
    assert read_bytes() - begin < 16 << 20
    if hole == "middle":
        assert (state.state, state.run_id, state.last_step) == ("crashed", "second", 1)
    else:
        assert (state.state, state.run_id, state.last_step, state.total_steps) == ("crashed", "ab", 0, 9)
    (run,) = runs_below(tmp_path)
    assert run.state.last_step == state.last_step
    assert read_bytes() - begin < 64 << 20


def test_of_a_journal_without_lines_so_much_is_read(tmp_path: Path) -> None:
    """A copy of a hole is bytes, and these could go on for ever."""
    path = written(tmp_path / "run", run_line(), commit(0, 1.0), end=bytes(MOST_BYTES + (1 << 20)))
    begin = read_bytes()
    assert state_of(path).state == "unknown"
    assert "no line ends in the last 128 MB" in state_of(path).reason
    assert read_bytes() - begin < 3 * MOST_BYTES


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(sl.RunDirectoryError, match="no directory: expected a run's"):
        state_of(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert state_of(tmp_path / "empty").reason == "there is no metrics.jsonl here"
    newer = written(tmp_path / "newer", {**run_line(), "format": 9}, commit(0, 1.0))
    assert "format 9, and this sightline writes 1" in state_of(newer).reason
    assert "no journal of sightline" in state_of(written(tmp_path / "other", {"loss": 1})).reason
    assert "no whole line yet" in state_of(written(tmp_path / "cut", end=b"{")).reason
    peer = tmp_path / "peer"
    (peer / "traces").mkdir(parents=True)
    (peer / "traces" / "p00003.a01.0000.json").write_text("[\n")
    assert "whose root wrote elsewhere" in state_of(peer).reason
    for each in ("empty", "newer", "other", "cut", "peer"):
        assert state_of(tmp_path / each).state == "unknown"


def test_a_copy_is_a_run_that_nobody_holds(workers: Workers, tmp_path: Path) -> None:
    worker = started(workers, steps=1)
    shutil.copytree(worker.disk / "runs" / "run", tmp_path / "copy")
    assert at(worker).state == "running"
    assert state_of(tmp_path / "copy").state == "crashed"


@pytest.mark.parametrize("odd", ["7", None, [1], {}, True, 2**63, -1.5, 1e300], ids=str)
def test_a_journal_whose_fields_are_of_odd_types_has_a_state(tmp_path: Path, odd: Any) -> None:
    """What is unknown of it is not shown."""
    run = {**run_line(), "started": odd, "processes": odd}
    events = [
        event("steps", start=odd, total=odd),
        commit(1, 2.0), commit(2, 3.0) | {"time": odd}, commit(3, 4.0) | {"step": odd},
        {**event("stall", waiting_for=odd), "time": odd}, {**event("finish", missing=odd), "time": odd},
    ]  # fmt: skip
    for end in (6, 5):
        state = state_of(written(tmp_path / str(end), run, *events[:end]))
        assert state.last_step in ((1, 2) if odd == -1.5 else (1,))
        for number in (state.processes, state.first_step, state.total_steps):
            assert number is None or type(number) is int
        assert state.started is None or type(state.started) is float
        (listed,) = runs_below(tmp_path / str(end))
        assert listed.state.last_step == state.last_step
