"""Processes that stop, die, hang, or post rubbish: nobody waits for them, and no snapshot is lost."""

import random
import signal
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from tests.harness import Job, Worker, Workers, until


def amounts(journal: list[dict[str, Any]], process: int) -> int:
    """What the journal has of a process, in commits and late lines together."""
    lines = [record for record in journal if record["type"] in ("commit", "late")]
    return sum(line["values"].get(f"sent/{process}", 0) for line in lines)


def everything_sent_is_there(job: Job, processes: list[int]) -> None:
    """Commits and late lines together hold every amount of these processes exactly once, and sums add up."""
    journal = job.root.journal()
    lines = [record for record in journal if record["type"] in ("commit", "late")]
    for p in processes:
        sent = job[p].notes("sent")
        assert sum(amount for _, amount in sent) == amounts(journal, p), p
        merged = sum(line["values"].get("obs/merged_commits", 0) for line in lines)
        if not merged:  # then each amount stands by itself, at its step
            found = {
                line["step"]: line["values"][f"sent/{p}"] for line in lines if f"sent/{p}" in line["values"]
            }
            assert found == dict(sent), p
    for line in lines:
        own = [value for key, value in line["values"].items() if key.startswith("sent/")]
        assert line["values"].get("everyone", 0) == sum(own)
    commits = [record for record in lines if record["type"] == "commit"]
    assert [c["seq"] for c in commits] == list(range(1, len(commits) + 1))
    assert [c["step"] for c in commits] == sorted(c["step"] for c in commits)


def has_step(worker: Worker, step: int) -> bool:
    return any(commit["step"] >= step for commit in worker.commits())


def last_sent(worker: Worker) -> int:
    return max((step for step, _ in worker.notes("sent")), default=-1)


def test_a_process_stopped_beyond_the_deadline_is_missing_once_and_then_late(workers: Workers) -> None:
    job = workers.start_job(3, "steady", deadline_s=4.0, pace_s=0.05)
    until(lambda: has_step(job.root, 4), "the steps together")
    job.tell("go")
    until(lambda: has_step(job.root, 6), "steps after that")
    job[1].signal(signal.SIGSTOP)
    stopped_at = last_sent(job[1])
    until(lambda: any("missing" in c for c in job.root.commits()), "the deadline")
    until(lambda: has_step(job.root, stopped_at + 50), "many steps without the stopped one")
    job[1].signal(signal.SIGCONT)
    until(lambda: job.root.commits()[-1]["reported"] == 3, "all of them together again")
    job.tell("end")
    job.wait()

    everything_sent_is_there(job, [0, 1, 2])
    journal = job.root.journal()
    late = [record for record in journal if record["type"] == "late"]
    missing = [c for c in job.root.commits() if "missing" in c]
    assert late
    assert {record["process"] for record in late} == {1}
    assert Counter(p for c in missing for p in c["missing"]) == {1: 1}
    assert sum(c["values"].get("obs/late_snapshots", 0) for c in job.root.commits()) == len(late)


def test_a_dead_process_costs_one_deadline_and_nobody_waits(workers: Workers) -> None:
    deadline_s = 8.0
    job = workers.start_job(4, "steady", deadline_s=deadline_s, recoverable=True, pace_s=0.05, finish_s=60.0)
    until(lambda: has_step(job.root, 4), "the steps together")
    job.tell("go")
    until(lambda: has_step(job.root, 10), "steps after that")
    job[2].kill()
    died_at = last_sent(job[2])
    until(lambda: any("missing" in c for c in job.root.commits()), "the deadline")
    until(lambda: has_step(job.root, died_at + 150), "many steps without the dead one")
    survivors = [job[0], job[1], job[3]]
    for worker in survivors:
        worker.tell("end")
    for worker in survivors:
        worker.wait()

    commits = job.root.commits()
    missing = [c for c in commits if "missing" in c]
    assert [c["missing"] for c in missing] == [[2]]
    everything_sent_is_there(job, [0, 1, 3])
    sent, there = job[2].notes("sent"), amounts(job.root.journal(), 2)
    # What the dead one had posted is there; only commits of the moment of its death were never posted.
    assert sum(a for _, a in sent) - there <= sum(a for _, a in sent[-3:])
    waits = [b["time"] - a["time"] for a, b in pairwise(commits)]
    assert sum(wait > deadline_s / 2 for wait in waits) == 1
    for worker in survivors:
        (longest,) = worker.notes("longest_commit_s")
        assert longest < deadline_s / 2
    assert [r["missing"] for r in job.root.journal() if r.get("event") == "finish"] == [[]]


def test_a_process_restarted_under_its_index_takes_part_again(workers: Workers) -> None:
    options: dict[str, Any] = {"deadline_s": 4.0, "recoverable": True, "pace_s": 0.05, "finish_s": 60.0}
    job = workers.start_job(3, "steady", **options)
    until(lambda: has_step(job.root, 4), "the steps together")
    job.tell("go")
    until(lambda: has_step(job.root, 6), "steps after that")
    job[1].kill()
    until(lambda: any("missing" in c for c in job.root.commits()), "the deadline")
    began = (job.root.disk / "go").stat().st_mtime
    options |= {"first": last_sent(job.root), "began": began}
    again = workers.start("steady", disk="p1again", env=job[1].env, **options)
    until(lambda: again.notes("sent"), "its new life")
    until(lambda: job.root.commits()[-1]["reported"] == 3, "all of them together again")
    for worker in (job[0], again, job[2]):
        worker.tell("end")
    for worker in (job[0], again, job[2]):
        worker.wait()
    everything_sent_is_there(Job([job[0], job[0], job[2]]), [0, 2])
    sent = dict(again.notes("sent"))
    journal = job.root.journal()
    lines = [record for record in journal if record["type"] in ("commit", "late") and record["step"] in sent]
    assert {line["step"]: line["values"].get("sent/1") for line in lines} == sent


def test_peers_train_on_while_the_root_is_stopped_and_nothing_is_lost(workers: Workers) -> None:
    job = workers.start_job(3, "steady", deadline_s=4.0, queue_size=8, pace_s=0.01)
    until(lambda: has_step(job.root, 4), "the steps together")
    job.tell("go")
    until(lambda: has_step(job.root, 8), "steps after that")
    # The root has slots open that the others, stopped for a moment, will post while it is stopped itself.
    for worker in job[1:]:
        worker.signal(signal.SIGSTOP)
    at = last_sent(job.root)
    until(lambda: last_sent(job.root) > at + 30, "the root's steps ahead")
    job.root.signal(signal.SIGSTOP)
    for worker in job[1:]:
        worker.signal(signal.SIGCONT)
    before = [last_sent(worker) for worker in job]
    until(
        lambda: all(last_sent(p) > b + 200 for p, b in list(zip(job, before, strict=True))[1:]),
        "the peers' steps",
    )
    since = time.monotonic()
    until(lambda: time.monotonic() > since + 6.0, "a stop longer than the deadline")
    job.root.signal(signal.SIGCONT)
    until(lambda: has_step(job.root, before[0] + 500), "the root's steps")
    job.tell("end")
    job.wait()

    everything_sent_is_there(job, [0, 1, 2])
    assert sum(c["values"].get("obs/merged_commits", 0) for c in job.root.commits()) > 100
    # The root's own absence is not held against the others.
    assert [c for c in job.root.commits() if "missing" in c] == []
    for worker in job[1:]:
        (longest,) = worker.notes("longest_commit_s")
        assert longest < 4.0  # less than any wait for the stopped root would be


def test_rubbish_on_the_runs_channel_is_counted_and_the_run_goes_on(workers: Workers) -> None:
    job = workers.start_job(2, "garbage", steps=20)
    job.wait()
    (posted,) = job[1].notes("posted")
    everything_sent_is_there(job, [0, 1])
    commits = job.root.commits()
    assert sum(c["values"].get("obs/unreadable_snapshots", 0) for c in commits) == posted
    assert [c for c in commits if "missing" in c] == []
    assert commits[-1]["reported"] == 2
    output = job.root.output
    assert output.count("a post of another process cannot be read") == 1
    assert output.count("is without values") == 1
    assert "Traceback" not in output


def test_the_root_does_not_hang_when_a_peer_never_ends(workers: Workers) -> None:
    job = workers.start_job(2, "never_ends", finish_s=3.0)
    until(lambda: job.root.notes("again"), "finish")
    job.tell("end")
    job.wait()
    assert job.root.notes("finished") == [False]
    assert job.root.notes("again") == [True]  # idempotent: nothing is left to do
    assert "process 1 did not end in time" in job.root.output
    (commit,) = job.root.commits()
    assert (commit["values"]["everyone"], commit["reported"]) == (2, 2)
    assert [r["missing"] for r in job.root.journal() if r.get("event") == "finish"] == [[1]]


@pytest.mark.parametrize("resume", ["allow", "must"])
def test_when_the_root_cannot_start_the_others_raise_too(workers: Workers, resume: str) -> None:
    job = workers.start_job(2, "root_cannot_start", resume=resume)
    job.wait()
    for worker in job:
        ((kind, message),) = worker.notes("error")
        assert kind == "RunDirectoryError"
        assert ("cannot make" if resume == "allow" else "resume='must'") in message
    assert "the root cannot start the run" in job[1].notes("error")[0][1]


@pytest.mark.parametrize(("resume", "why"), [("allow", "sink"), ("never", "sink"), ("allow", "part")])
def test_whatever_keeps_the_root_from_starting_the_others_hear_of_it_and_its_name_is_free(
    workers: Workers, resume: str, why: str
) -> None:
    job = workers.start_job(2, "root_fails_at_the_start", resume=resume, why=why)
    job.wait()
    ((kind, error),) = job.root.notes("error")
    if why == "sink":
        assert (kind, error) == ("RuntimeError", "odd ?")
        error = "RuntimeError: odd \\ud800"
    else:
        assert kind == "ConfigurationError"
        assert "needs the program tee" in error
    heard = f"the root cannot start the run: {error}"
    if resume == "allow":
        assert job[1].notes("error") == [["RunDirectoryError", heard]]
    else:
        assert job[1].notes("finished") == [False]  # its log has no place
        assert f"process 1 commits nothing: {heard}" in job[1].output
    assert [(c["attempt"], c["values"]["everyone"]) for c in job.root.commits()] == [(1, 2)]


def test_when_the_root_cannot_start_fresh_the_others_train_on_and_say_why(workers: Workers) -> None:
    (workers.disk("p0") / "runs").touch()
    job = workers.start_job(2, "root_cannot_start", resume="never")
    job.wait()
    assert job.root.notes("error")[0][0] == "RunDirectoryError"
    assert job[1].notes("error") == []
    assert "process 1 commits nothing: the root cannot start the run" in job[1].output


def test_resumed_processes_go_on_where_the_roots_journal_ends(workers: Workers) -> None:
    for attempt in (1, 2):
        job = workers.start_job(2, "resumes", steps=3)
        job.wait()
        for worker in job:
            assert worker.notes("next_step")[-1] == [3 * (attempt - 1), attempt]
    commits = job.root.commits("run")
    assert [(c["seq"], c["attempt"], c["step"]) for c in commits] == [
        (i + 1, 1 + i // 3, i) for i in range(6)
    ]
    assert [c["values"]["everyone"] for c in commits] == [2] * 6


def test_runs_pair_by_their_number_among_shared_ones(workers: Workers) -> None:
    job = workers.start_job(2, "restarts")
    job.wait()
    for name in ("first", "second"):
        (commit,) = job.root.commits(name)
        assert (commit["values"]["everyone"], commit["reported"]) == (2, 2)


def test_odd_texts_and_events_cost_no_commit(workers: Workers) -> None:
    job = workers.start_job(2, "odd_texts", steps=3)
    job.wait()
    commits = job.root.commits()
    assert [c["values"]["everyone"] for c in commits] == [2, 2, 2]
    assert all(c["texts"]["completion"].startswith("half of a pair") for c in commits)
    assert {"odd", "odder"} <= {r.get("event") for r in job.root.journal()}


@pytest.mark.long
def test_eight_processes_that_are_stopped_at_random_lose_nothing(workers: Workers) -> None:
    chance = random.Random(1)
    job = workers.start_job(8, "steady", deadline_s=1.0, queue_size=16, pace_s=0.02)
    until(lambda: has_step(job.root, 4), "the steps together")
    job.tell("go")
    for _ in range(20):
        stopped = chance.sample(job, chance.randint(1, 4))
        for worker in stopped:
            worker.signal(signal.SIGSTOP)
        time.sleep(chance.choice([0.1, 0.5, 3.0]))
        for worker in stopped:
            worker.signal(signal.SIGCONT)
        time.sleep(chance.random())
    job.tell("end")
    job.wait()
    everything_sent_is_there(job, list(range(8)))
    journal = job.root.journal()
    assert any(record["type"] == "late" for record in journal)
    assert any("missing" in record for record in journal if record["type"] == "commit")
