"""When a step does not come: the journal says who is late, where it stands, and when it went on."""

import signal
from typing import Any

from sightline.report.log_lines import log_lines
from sightline.report.problems import Problem, problems
from sightline.runs.host_health import host_health, stalls
from sightline.support.wording import duration
from sightline.views.history import History
from tests.harness import Job, Workers, until

LATE = 2


def events(job: Job, name: str) -> list[dict[str, Any]]:
    return [record for record in job.root.journal() if record.get("event") == name]


def told(job: Job) -> list[Problem]:
    """What a report has, with the files of all processes."""
    (name,) = [each.name for each in job.root.runs]
    dirs = [job[number].disk / "runs" / name for number in range(3)]
    history = History(dirs[0])
    history.update()
    return problems(history, log_lines(dirs))[0]


def at_step_8(job: Job, name: str) -> list[dict[str, Any]]:
    """Events behind the commit of step 7; those before are of a slow machine."""
    journal = job.root.journal()
    behind = [i for i, record in enumerate(journal) if record["type"] == "commit" and record["step"] == 7]
    return [each for each in journal[behind[0] :] if each.get("event") == name] if behind else []


def go_on(job: Job) -> None:
    job.tell("go")
    until(lambda: job.root.commits()[-1]["step"] == 11, "the last step")
    job.tell("end")
    job.wait()


def test_a_process_that_is_late_is_named_with_its_span_and_line(workers: Workers) -> None:
    """By its own post: `process 2 has been in reward for … s (common.py:… in wait_for …)`."""
    job = workers.start_job(3, "is_late", process=LATE, together=False)
    until(lambda: job[LATE].notes("late"), "the late one")
    until(lambda: at_step_8(job, "stall"), "the stall of step 8")
    until(lambda: [e for e in at_step_8(job, "stacks") if e.get("span") == "reward"], "its place")
    go_on(job)

    found = [each for each in stalls(job.root.journal()) if LATE in each.places and each.step == 8]
    (stall,) = found
    place = stall.places[LATE]
    assert (stall.waiting_for, stall.suspects, stall.missing) == ((LATE,), (LATE,), ())
    assert stall.seconds is not None
    assert place.span == "reward"
    assert "common.py" in place.at
    assert "in wait_for" in place.at
    assert "in score" in place.stack
    assert place.told().startswith(f"process {LATE} has been in reward for ")
    assert 0 < place.span_s < place.waited_s + 60  # the span was there when the root came to wait
    (event,) = [e for e in events(job, "stacks") if e["process"] == LATE and e["step"] == 7][-1:]
    assert [name for name, _ in event["spans"]] == ["step", "reward"]
    (resumed,) = [e for e in events(job, "resumed") if e["step"] == 8]
    assert (resumed["k"], resumed["missing"]) == (0, [])
    assert resumed["seconds"] >= resumed["time"] - stall.begin - 0.5
    assert "step 8 waits for 1 of 3 processes: process 2 (last step 7)" in job.root.output
    assert "process 2 has been in reward for" in job.root.output
    assert "going on after" in job.root.output
    log = next(job[LATE].disk.glob("runs/*/logs/p00002.*.log")).read_text()
    assert "open spans: step (" in log
    assert "thread MainThread" in log
    rows = told(job)
    (row,) = [each for each in rows if each.kind == "stall" and each.step == 8]
    assert (
        f"waited {duration(stall.seconds)} for process {LATE}: process {LATE} was in reward for " in row.text
    )
    assert (row.process, row.until) == (LATE, stall.end)
    assert "thread MainThread" in row.more  # which its log alone has
    again = (
        "step 8 waits for",
        f"process {LATE} has been in reward",
        "step 8 is complete",
        "open spans: step (",
    )
    assert [
        each.text for each in rows if each is not row and any(words in each.text for words in again)
    ] == []
    health = host_health(job.root.journal())
    assert set(health) == {0, 1, 2}
    assert all(each["host/process/rss_bytes"].peak > 1e7 for each in health.values())


def test_one_that_keeps_all_from_committing_is_told_from_those_that_wait(workers: Workers) -> None:
    """As before a collective: no slot is open, everybody is waited for, and two of three are elsewhere."""
    job = workers.start_job(3, "is_late", process=LATE, together=True)
    until(lambda: job[LATE].notes("late"), "the late one")
    until(lambda: at_step_8(job, "stall"), "a stall without a slot")
    places = {(0, "update"), (1, "update"), (2, "reward")}
    until(
        lambda: places <= {(e["process"], e.get("span")) for e in at_step_8(job, "stacks")},
        "the places of all",
    )
    go_on(job)
    (stall,) = [each for each in stalls(job.root.journal()) if len(each.places) == 3]
    assert stall.waiting_for == (0, 1, 2)
    assert {p: place.span for p, place in stall.places.items()} == {0: "update", 1: "update", 2: "reward"}
    assert stall.suspects == (LATE,)
    assert stall.end is not None


def test_one_that_holds_the_interpreter_cannot_say_where_it_is_and_that_is_said(workers: Workers) -> None:
    job = workers.start_job(3, "is_late", process=LATE, together=False)
    job[LATE].tell("in C")
    until(lambda: job[LATE].notes("late"), "the late one")
    until(lambda: [e for e in events(job, "silent") if e["step"] == 8], "that it is silent")
    assert [e for e in at_step_8(job, "stacks") if e["process"] == LATE] == []
    job[LATE].signal(signal.SIGUSR1)
    go_on(job)
    (stall,) = [each for each in stalls(job.root.journal()) if each.silent]
    assert (stall.waiting_for, stall.silent) == ((LATE,), (LATE,))
    assert "process 2 cannot say where" in job.root.output
    (row,) = [each for each in told(job) if "say where" in each.text]
    assert (row.kind, row.step) == ("stall", 8)
    assert f"process {LATE} could not say where" in row.text
    assert stall.end is not None


def test_going_on_without_the_late_one_names_it(workers: Workers) -> None:
    job = workers.start_job(3, "is_late", process=LATE, together=False, deadline_s=4.0)
    until(lambda: job[LATE].notes("late"), "the late one")
    until(lambda: [e for e in events(job, "resumed") if e["missing"]], "the deadline")
    go_on(job)
    (stall,) = [each for each in stalls(job.root.journal()) if each.missing]
    assert (stall.missing, stall.suspects) == ((LATE,), (LATE,))
    (row,) = [each for each in told(job) if "went on without" in each.text]
    assert f"it went on without process {LATE}" in row.text
