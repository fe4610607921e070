"""What a process has committed is on its disk, whatever happens to the process or the disk."""

import json
import random
import signal
import time
from collections import Counter

import pytest

import sightline as sl
from tests.harness import Worker, Workers, until


def check_attempts(worker: Worker) -> None:
    """The journal of a run that died and went on: whole lines in order, attempts one after another."""
    (run,) = worker.runs
    raw = (run / "metrics.jsonl").read_bytes()
    *whole, fragment = raw.split(b"\n")
    records = [json.loads(line) for line in whole]  # nothing torn but, at most, the last line
    assert not fragment or not fragment.endswith(b"\n")
    commits = [record for record in records if record["type"] == "commit"]
    numbers = [c["seq"] for c in commits]
    assert numbers == sorted(set(numbers))  # none twice; with gaps behind an attempt that was killed
    assert [c["step"] for c in commits] == list(range(len(commits)))  # each attempt goes on at next_step
    assert [c["attempt"] for c in commits] == sorted(c["attempt"] for c in commits)
    attempts = [record["attempt"] for record in records if record["type"] == "run"]
    assert attempts == list(range(1, len(attempts) + 1))
    assert len({record["run_id"] for record in records if record["type"] == "run"}) == 1
    assert list(sl.read_journal(run)) == records


# A death takes a tenth of a second; sixty fall into every part of a start and of a commit.
@pytest.mark.parametrize("times", [60, pytest.param(200, marks=pytest.mark.long)])
def test_the_journal_survives_kill_9_at_random_moments(workers: Workers, times: int) -> None:
    worker = workers.start("dies_again_and_again", times=times, seed=random.SystemRandom().randrange(2**32))
    worker.wait()
    assert worker.notes("failed") == []
    assert [status for _, status, _ in worker.notes("died")] == [-signal.SIGKILL] * times
    check_attempts(worker)
    commits = worker.commits()
    last = dict.fromkeys(range(1, times + 1), -1) | {c["attempt"]: c["step"] for c in commits}
    for step, attempt in worker.notes("safe"):  # flush() had returned before the process was killed
        assert last[attempt] >= step
    assert len(Counter(c["attempt"] for c in commits)) > times / 4  # the moments were spread over the commits
    # A run goes on where the journal ended when it started, and takes the next number.
    started = worker.notes("started")
    assert len(started) > times / 2
    for next_step, attempt in started:
        assert next_step == max((c["step"] for c in commits if c["attempt"] < attempt), default=-1) + 1


def test_a_fresh_start_never_appends_to_an_earlier_run(workers: Workers) -> None:
    workers.start("tries_to_start", resume="never").wait()
    worker = workers.start("tries_to_start", resume="never")
    worker.wait()
    ((kind, message),) = worker.notes("error")
    assert kind == "RunDirectoryError"
    assert "holds an earlier run" in message
    assert "resume='allow'" in message
    assert len(worker.commits()) == 1
    workers.start("tries_to_start", resume="must").wait()
    assert [(c["seq"], c["attempt"], c["step"]) for c in worker.commits()] == [(1, 1, 0), (2, 2, 1)]


def test_a_second_live_run_on_one_directory_is_refused_and_a_dead_one_lets_go(workers: Workers) -> None:
    first = workers.start("writes_for_ever", resume="never")
    until(lambda: first.notes("safe"), "commits")
    second = workers.start("tries_to_start", resume="allow")
    second.wait()
    ((kind, message),) = second.notes("error")
    assert kind == "RunDirectoryError"
    assert "held by a live run" in message
    assert str(first.popen.pid) in message
    first.kill()
    third = workers.start("tries_to_start", resume="must")
    third.wait()
    next_step, attempt, _ = third.notes("started")[-1]
    assert attempt == 2
    assert next_step > first.notes("safe")[-1]
    check_attempts(third)


def test_sigabrt_of_all_processes_loses_nothing_that_was_committed(workers: Workers) -> None:
    job = workers.start_job(2, "shows_what_is_committed")
    until(lambda: len(job.root.notes("safe")) >= 5, "commits")
    time.sleep(random.SystemRandom().random())
    for worker in reversed(job):  # the root's death would end the others in a way of its own
        worker.signal(signal.SIGABRT)
    for worker in job:
        worker.wait(-signal.SIGABRT)
    steps = {c["step"]: c for c in job.root.commits()}
    assert list(steps) == list(range(len(steps)))
    for step in job.root.notes("safe"):
        assert (steps[step]["values"]["amount"], steps[step]["reported"]) == (2 * step, 2)


@pytest.mark.parametrize("limit", [0, 1, 150, 1000])
def test_a_full_disk_holds_nobody_up_and_costs_no_line(workers: Workers, limit: int) -> None:
    worker = workers.start("fills_the_disk", limit=limit)
    worker.wait()
    (result,) = worker.notes("result")
    assert result["full"] <= result["size"] + limit
    assert result["flushed_when_full"] is False  # it was not safe, and did not say so
    assert (result["flushed"], result["finished"]) == (True, True)
    assert [line for line in result["said"] if "fails, lines wait in memory" in line] == result["said"][:1]
    assert any("works again" in line for line in result["said"])
    commits = worker.commits()
    assert [(c["seq"], c["step"]) for c in commits] == [(i + 1, i) for i in range(result["steps"])]
    assert sum(c["values"].get("obs/journal_errors", 0) for c in commits) > 0
    (run,) = worker.runs
    for line in (run / "metrics.jsonl").read_bytes().splitlines():
        json.loads(line)


def test_bad_sinks_hold_up_neither_training_nor_the_end(workers: Workers) -> None:
    worker = workers.start("with_bad_sinks", steps=200)
    worker.wait()
    assert worker.notes("finished") == [False]  # one of them is stuck
    assert worker.notes("good") == [list(range(200))]
    assert sorted(worker.notes("closed")) == ["good", "raising"]
    assert worker.output.count("sink raising fails") == 1
    assert worker.notes("longest_commit_s")[0] < 30.0  # the stuck one never returns
    commits = worker.commits()
    assert [c["step"] for c in commits] == list(range(200))


def test_an_exception_inside_the_block_keeps_what_was_committed(workers: Workers) -> None:
    worker = workers.start("fails_inside")
    worker.wait(1)
    assert "RuntimeError: the loss diverged" in worker.output
    assert [c["values"] for c in worker.commits()] == [{"loss": 1.0}]
    assert [r["error"] for r in worker.journal() if r.get("event") == "failed"] == [
        "RuntimeError: the loss diverged"
    ]


def test_forked_children_end_at_once_and_leave_the_run_to_their_parent(workers: Workers) -> None:
    worker = workers.start("forks")
    worker.wait()
    assert worker.notes("exit") == [7] * 20
    assert worker.notes("terminated") == [-signal.SIGTERM] * 20
    assert worker.notes("finished") == [True]
    commits = worker.commits()
    assert [c["step"] for c in commits] == list(range(len(commits)))
    assert {c["values"]["loss"] for c in commits} == {1.0}
