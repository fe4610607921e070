"""Lines of all processes come in the order of the root's time, whatever has happened to clocks and files."""

from __future__ import annotations

import fcntl
import math
import random
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.errors import JournalError, RunDirectoryError
from sightline.run_logs.choosing import Choice, Ranges, pattern
from sightline.run_logs.merging import RunLogs, warnings_of
from sightline.support.wording import moment
from tests.holes import BOUND, put_hole, read_bytes
from tests.run_logs.written import EPOCH, S, Written


def said(run_dirs: list[Path], choice: Choice | None = None) -> list[str]:
    return [str(line.record["message"]) for line in RunLogs(run_dirs, choice, events=False).lines()]


def test_processes_whose_clocks_are_wrong_are_merged_in_true_order(tmp_path: Path) -> None:
    """One is 250 ms ahead and 50 ppm too fast, another one minutes behind; each says a line every second."""
    root = Written(tmp_path / "a", 0, processes=3)
    fast = Written(tmp_path / "b", 1, processes=3, ahead_ns=S // 4, ppm=50)
    late = Written(tmp_path / "c", 2, processes=3, ahead_ns=-300 * S)
    expected = []
    for second in range(2000):
        for i, each in enumerate((root, fast, late)):
            if second in (1, 5, 15, 35, 75, 155, 315, 635, 1235) and i:
                each.sync(second * S)
            if second % 30 == 0:
                each.clock(second * S)
            true = second * S + i * 5_000_000
            each.say(true, f"{second} {i}")
            expected.append((f"{second} {i}", EPOCH + true))
    dirs = [each.write() for each in (root, fast, late)]
    lines = list(RunLogs(dirs).lines())
    assert [line.record["message"] for line in lines] == [message for message, _ in expected]
    off = [abs(line.time_ns - at) for line, (_, at) in zip(lines, expected, strict=True)]
    assert max(off) < 2_000_000
    # Without the root's files it is still the root's time.
    lines = list(RunLogs(dirs[1:2]).lines())
    assert max(abs(line.time_ns - EPOCH - i * S - 5_000_000) for i, line in enumerate(lines)) < 2_000_000


def test_a_time_of_day_that_is_set_in_the_middle_moves_no_line(tmp_path: Path) -> None:
    """A line goes by the anchor before it, and that by the steady clock."""
    root = Written(tmp_path, 0).say(S, "before")
    root._ahead_ns = 3600 * S
    root.clock(70 * S).say(80 * S, "after")
    lines = list(RunLogs([root.write()]).lines())
    assert [(line.time_ns - EPOCH) // S for line in lines] == [1, 80]


def test_lines_of_threads_that_were_held_up_are_put_into_order(tmp_path: Path) -> None:
    log = Written(tmp_path)
    rng = random.Random(1)
    moments = [i * S // 100 + rng.randrange(S) for i in range(2000)]
    for at in moments:
        log.say(at, str(at))
    assert said([log.write()]) == [str(at) for at in sorted(moments)]


def test_segments_attempts_and_copies_are_one_log(tmp_path: Path) -> None:
    run = tmp_path / "run"
    Written(run).say(1, "one").write("p00000.a01.0000.jsonl")
    Written(run, segment=1).say(2, "two").write()
    Written(run, attempt=2, pid=9).say(3, "three").write()
    copy = tmp_path / "copy"  # an older one of the same file, under its earlier name
    Written(copy).write()
    assert said([run, copy]) == ["one", "two", "three"]
    assert said([run], Choice(attempts=Ranges.parse("2", "--attempt"))) == ["three"]


def test_damage_is_left_out_and_counted(tmp_path: Path) -> None:
    log = Written(tmp_path, processes=16).say(1, "one")
    log.data += b'\x00\x00"time":1}\n{"torn": \n[1]\n' + b"x" * (17 << 20) + b"\n"
    log.say(2, "two")
    log.data += b'{"time":17000'
    log.write()
    (tmp_path / "logs" / "foreign.jsonl").write_bytes(b'{"hello":1}\n')
    (tmp_path / "logs" / "p00001.a01.jsonl").write_bytes(b"")
    logs = RunLogs([tmp_path])
    assert [line.record["message"] for line in logs.lines()] == ["one", "two"]
    assert sum(logs.damage.lines.values()) == 4
    assert logs.damage.zeros == {str(log.path): 2}
    assert list(logs.damage.cut) == [str(log.path)]
    assert "foreign.jsonl" in str(logs.damage.problems)
    assert logs.missing() == {1: list(range(2, 16))}


def test_a_log_of_a_newer_format_is_left_out_and_a_journal_refused(tmp_path: Path) -> None:
    log = Written(tmp_path, processes=2).say(S, "of then")
    log.data = log.data.replace(b'"format":1', b'"format":2')
    log.write()
    Written(tmp_path, 1, processes=2).say(S, "of now").write()
    logs = RunLogs([tmp_path])
    assert [line.record["message"] for line in logs.lines()] == ["of now"]
    (problem,) = logs.damage.said()
    assert f"{log.path}: it has format 2, and this sightline reads 1" in problem
    assert not logs.missing()
    (tmp_path / "metrics.jsonl").write_bytes(b'{"type":"run","run_id":"r1","format":99}\n')
    with pytest.raises(JournalError, match="has format 99"):
        RunLogs([tmp_path])


def test_directories_of_two_runs_are_refused_by_their_ids(tmp_path: Path) -> None:
    dirs = [Written(tmp_path / each, run_id=each).write() for each in ("r1", "r2")]
    with pytest.raises(RunDirectoryError, match=r"of run r2, and .* of run r1"):
        RunLogs(dirs)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunDirectoryError, match="expected a run directory"):
        RunLogs([tmp_path / "empty"])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(levels={"": 30}), ["b", "c"]),
        (Choice(levels={"": 40, "talk.sub": 10}), ["a", "c"]),
        (Choice(processes=Ranges.parse("1,3-9", "--process")), ["d"]),
        (Choice(steps=Ranges.parse("2-3", "--step")), ["b"]),
        (Choice(since_ns=EPOCH + 3 * S), ["c", "d"]),
        (Choice(pattern=pattern(r"talk: c|x=17|oops")), ["a", "b", "c"]),
    ],
)
def test_lines_may_be_chosen(tmp_path: Path, choice: Choice, expected: list[str]) -> None:
    log = Written(tmp_path, processes=2)
    log.say(S, "a", "DEBUG", "talk.sub", step=1, exception="Traceback\noops")
    log.say(2 * S, "b", "WARNING", step=2, fields={"x": 17}).say(3 * S, "c", "ERROR").write()
    Written(tmp_path, 1, processes=2).say(4 * S, "d").write()
    assert said([tmp_path], choice) == expected


def test_events_of_the_journal_are_lines(tmp_path: Path) -> None:
    Written(tmp_path).say(2 * S, "talk").write()
    at = EPOCH / 1e9
    events = [
        {"type": "run", "format": 1, "run_id": "r1", "attempt": 1, "started": at, "processes": 4},
        {
            "event": "stall",
            "step": 3,
            "k": 0,
            "seconds": 2.9,
            "waiting_for": [1],
            "type": "event",
            "attempt": 1,
            "time": at + 3,
        },
        {"type": "commit", "seq": 1, "texts": {"a": '"type":"event"'}},
        {"event": "finish", "missing": [], "type": "event", "attempt": 1, "time": at + 4},
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(e) + b"\n" for e in events))
    logs = RunLogs([tmp_path])
    lines = [line.shown_record() for line in logs.lines()]
    assert [line["message"] for line in lines] == [
        "attempt 1 begins with 4 processes",
        "talk",
        "no step has been complete for 3 s; step 3 waits for process 1",
        "attempt 1 ends",
    ]
    assert lines[2]["fields"] == lines[3]["fields"] == {}
    assert logs.missing() == {1: [1, 2, 3]}  # that there were four is told by the journal


def journal(run: Path, *lines: dict[str, Any]) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    (run / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in lines))
    return run


AT = EPOCH / 1e9
RUN = {"type": "run", "format": 1, "run_id": "r1", "attempt": 1, "started": AT, "processes": 3}


def commit(step: int, missing: list[int] | None = None, **more: Any) -> dict[str, Any]:
    """As a journal has it."""
    reported = 3 - len(missing or ())
    facts = {"type": "commit", "seq": step + 1, "attempt": 1, "step": step, "k": 0, "time": AT + step}
    absent = {"missing": missing} if missing else {}
    return {**facts, "expected": 3, "reported": reported, **absent, "values": {"a": 1.0}, **more}


def values(step: int, processes: list[int]) -> dict[str, Any]:
    facts = {"type": "process_values", "seq": step + 1, "attempt": 1, "step": step, "k": 0}
    return {**facts, "processes": processes, "values": {"a": [1.0] * len(processes)}}


def test_a_process_that_drops_out_is_told_once_and_when_it_is_back(tmp_path: Path) -> None:
    run = journal(
        tmp_path, RUN, commit(0), values(0, [0, 1, 2]), commit(1, [1, 2]), values(1, [0]),
        commit(2, reported=1), values(2, [0]), commit(3, reported=2), values(3, [0, 2]), commit(4),
        commit(5, [1]), {"event": "finish", "missing": [1], "type": "event", "attempt": 1, "time": AT + 6},
    )  # fmt: skip
    lines = list(RunLogs([run]).lines())
    assert [(line.level, line.shown_record()["message"]) for line in lines[1:]] == [
        (30, "step 1 is complete without processes 1, 2"),
        (20, "process 2 is back at step 3"),
        (20, "process 1 is back at step 4"),
        (30, "step 5 is complete without process 1"),
        (20, "attempt 1 ends, without the end of process 1"),
    ]
    assert not any(line.shown_record()["fields"] for line in lines)
    chosen = Choice(processes=Ranges.parse("2", "--process"))
    assert [line.record["step"] for line in RunLogs([run], chosen).lines()] == [1, 3]


def test_an_attempt_that_was_killed_is_told_at_its_last_line(tmp_path: Path) -> None:
    """Not one that has said its end, nor the last one while it goes on."""
    finish = {"event": "finish", "missing": [], "type": "event", "attempt": 2, "time": AT + 30}
    more = [{**RUN, "attempt": 2, "started": AT + 20}, finish, {**RUN, "attempt": 3, "started": AT + 40}]
    run = journal(tmp_path, RUN, commit(0), commit(7), values(7, [0, 1, 2]), *more)
    with open(run / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as somebody who is at it
        lines = list(RunLogs([run]).lines())
    told = f"attempt 1 ended without saying so; last heard {moment(AT + 7, now=AT + 7)}"
    begins = [f"attempt {attempt} begins with 3 processes" for attempt in (1, 2, 3)]
    assert [line.shown_record()["message"] for line in lines] == [
        begins[0],
        told,
        begins[1],
        "attempt 2 ends",
        begins[2],
    ]
    assert (lines[1].level, lines[1].time_ns, lines[1].attempt) == (40, EPOCH + 7 * S, 1)
    *_, last = RunLogs([run]).lines()
    assert last.shown_record()["message"].startswith("attempt 3 ended without saying so")


@pytest.mark.parametrize("logged", [(), (0,), (0, 1)])
def test_a_stall_is_told_once(tmp_path: Path, logged: tuple[int, ...]) -> None:
    """By the lines of the processes whose logs are here, else by the journal's events."""
    event = {"type": "event", "attempt": 1}
    journal(
        tmp_path, {**RUN, "processes": 2},
        {**event, "event": "stall", "time": AT + 10.1, "step": 1, "waiting_for": [1]},
        {**event, "event": "stacks", "time": AT + 10.2, "process": 1, "step": 0, "stacks": "thread"},
        commit(1, [1], time=AT + 20, reported=1, expected=2),
        {**event, "event": "resumed", "time": AT + 20.1, "step": 1, "missing": [1]},
    )  # fmt: skip
    if 0 in logged:
        log = Written(tmp_path, processes=2).say(
            10 * S, "no step has been complete for 10 s", logger="sightline"
        )
        without = "going on after 10 s: step 1 is complete, without process 1"
        log.say(20 * S, without, logger="sightline").write()
    if 1 in logged:
        stacks = "open spans: step (10 s); the threads are at\nthread"
        Written(tmp_path, 1, processes=2).say(10 * S, stacks, logger="sightline").write()
    lines = RunLogs([tmp_path]).lines(is_live=True)
    events = [line.record["event"] for line in lines if "event" in line.record]
    told = {0: ["stall", "resumed"], 1: ["stacks"]}
    left_out = [each for process in logged for each in told[process]]
    assert events == [each for each in ("stall", "stacks", "resumed") if each not in left_out]


def test_who_is_lost_in_a_stall_is_told_by_its_end(tmp_path: Path) -> None:
    """Also to who asks for that process alone; and by itself, where the stall has no end."""
    event = {"type": "event", "attempt": 1}
    stall = {**event, "event": "stall", "time": AT + 10, "step": 1, "waiting_for": [1]}
    over = {**event, "event": "resumed", "time": AT + 20.1, "step": 1, "seconds": 20.0, "missing": [1]}
    lost = commit(1, [1], time=AT + 20)
    ended = journal(tmp_path / "ended", RUN, stall, lost, values(1, [0, 2]), over, commit(21, [1]))
    lines = list(RunLogs([ended], Choice(processes=Ranges.parse("1", "--process"))).lines(is_live=True))
    assert [(line.level, line.shown_record()["message"]) for line in lines] == [
        (30, "going on after 20 s: step 1 is complete, without process 1")
    ]
    cut = journal(tmp_path / "cut", RUN, stall, lost, commit(21, [1]), commit(22, [1, 2]))
    told = [line.shown_record()["message"] for line in RunLogs([cut]).lines(is_live=True)]
    assert told[2:] == ["step 1 is complete without process 1", "step 22 is complete without process 2"]
    dead = journal(tmp_path / "dead", RUN, stall, lost, values(1, [0, 2]))
    told = [line.shown_record()["message"] for line in RunLogs([dead]).lines()]
    assert told[2] == "step 1 is complete without process 1"
    assert told[3].startswith("attempt 1 ended without saying so")


def test_a_failure_and_a_value_that_is_not_finite_are_told_once(tmp_path: Path) -> None:
    """By the log where it is here, else by the journal in the same words."""

    def train() -> None:
        with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
            sl.scalar("train/loss", math.nan)
            sl.scalar("train/it's", math.inf)
            run.commit(0)
            raise ValueError("bad batch")

    with pytest.raises(ValueError, match="bad batch"):
        train()
    told = [line.shown_record() for line in RunLogs([tmp_path / "run"], Choice(levels={"": 30})).lines()]
    assert sorted((each["logger"], each["message"].partition(" (")[0]) for each in told) == [
        ("sightline", '"train/it\'s" has non-finite values'),
        ("sightline", "'train/loss' has non-finite values"),
        ("sightline", "the run ends by ValueError: bad batch"),
        ("uncaught", "uncaught ValueError"),
    ]
    shutil.rmtree(tmp_path / "run" / "logs")
    lines = RunLogs([tmp_path / "run"], Choice(levels={"": 30})).lines()
    assert sorted(line.shown_record()["message"].partition(", recorded")[0] for line in lines) == [
        '"train/it\'s" has non-finite values at step 0 on process 0',
        "'train/loss' has non-finite values at step 0 on process 0",
        "the run ends by ValueError: bad batch",
    ]


def test_an_event_of_any_shape_is_a_line(tmp_path: Path) -> None:
    names = ["finish", "failed", "steps", "rewound", "stall", "silent", "resumed", "nonfinite", "mine"]
    odd: list[Any] = [None, "x", -1, True, [], {}, ["a"], 1e300]
    fields = ["step", "seconds", "missing", "processes", "waiting_for", "error", "start", "total", "key"]
    events = [
        {"event": name, **dict.fromkeys(fields, value), "type": "event", "attempt": 1, "time": AT + 1}
        for name in names
        for value in odd
    ]
    lines = list(RunLogs([journal(tmp_path, RUN, *events)]).lines(is_live=True))
    assert len(lines) == 1 + len(events)
    assert all(line.shown_record()["message"] for line in lines)


def test_a_merge_does_not_hold_what_it_merges(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        for process in range(4):
            log = Written(tmp_path / str(lines), process, processes=4)
            log.data += b"".join(
                b'{"time":%d.5,"level":"INFO","logger":"talk","process":%d,"message":"%d %s"}\n'
                % (EPOCH // S + i, process, i, b"x" * 200)
                for i in range(lines)
            )
            log.write()
        tracemalloc.start()
        count = sum(1 for _ in RunLogs([tmp_path / str(lines)]).lines())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 4 * lines
        return found

    first = peak(3_000)
    assert peak(20_000) < first + 8_000_000  # of 22 MB


def test_warnings_for_a_report_are_bounded(tmp_path: Path) -> None:
    log = Written(tmp_path, processes=2)
    for i in range(100):
        log.say(i * S, f"{i}", ("INFO", "WARNING", "ERROR")[i % 3], step=i)
    found = warnings_of([log.write()], most=6)
    assert [(line.record["message"], line.record["step"]) for line in found.lines] == [
        (str(i), i) for i in (1, 2, 4, 95, 97, 98)
    ]
    assert (found.left_out, found.missing) == (60, {1: [1]})


def test_the_last_lines_are_found_without_reading_those_before(tmp_path: Path) -> None:
    """Over segments and processes, on clocks that drift; the damage before them is not met."""
    run, messages = tmp_path, []
    for process in range(2):
        for segment in range(4):
            log = Written(
                run, process, processes=2, segment=segment, ahead_ns=process * S // 4, ppm=process * 50
            )
            log.data += b"torn\n" if segment == 0 else b""
            for second in range(segment * 1000, segment * 1000 + 1000):
                if second % 30 == 0:
                    log.clock(second * S)
                if process and second in (0, 5, 15, 35, 75, 155, 315, 635, 1235, 1835, 2435, 3035, 3635):
                    log.sync(second * S)
                log.say(second * S + process * 10_000_000, f"{second} {process} " + "x" * 600)
                messages.append((second, process))
            name = f"p{process:05d}.a01.{segment:04d}.jsonl"
            log.write(name if segment < 3 else None)
    for wanted in (1, 50, 1000, 10_000):
        logs = RunLogs([run])
        logs.skip_to_last(wanted)
        found = [tuple(map(int, line.record["message"].split()[:2])) for line in logs.lines()]
        assert found[-wanted:] == sorted(messages)[-wanted:]
        assert (len(found) == 8000) == (wanted == 10_000)
        assert bool(logs.damage) == (wanted == 10_000)


@pytest.mark.parametrize("last", [0, 5])
def test_a_hole_is_passed_over_and_told(tmp_path: Path, last: int) -> None:
    """Also where the last lines are looked for from the end."""
    log = Written(tmp_path).say(1, "before")
    log.write()
    log.data = b""
    log.say(2, "behind").clock(3).say(4, "the last")
    put_hole(log.path, b"\n" + log.data)
    put_hole(log.path)
    begin = read_bytes()
    logs = RunLogs([tmp_path])
    if last:
        logs.skip_to_last(last)
    assert [line.record["message"] for line in logs.lines()] == ["before", "behind", "the last"]
    assert logs.damage.said()[1:] == [
        f"8.59 GB of zeros, as a crash of a machine leaves them, left out ({log.path})"
    ]
    assert read_bytes() - begin < BOUND
