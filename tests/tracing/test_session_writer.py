"""What is written of sessions: while they go on, as they end, by the processes of a job, before a kill."""

import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.files.process_files import Place, ProcessFiles
from sightline.tracing import session_writer
from sightline.tracing.session_files import Damage
from sightline.tracing.session_tracer import SessionTracer
from sightline.tracing.session_writer import SessionWriter
from tests.harness import Workers, until, workers_of
from tests.session_recorder import Recorder, sessions_of


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(
        str(Path(__file__).parent.parent / "multiprocess" / "workers" / "sessions.py"), tmp_path
    ) as made:
        yield made


def test_a_session_goes_on_in_other_processes(workers: Workers) -> None:
    """Generated in one, rewarded in the next, accepted in the third: one session, with the phases of all."""
    disks = [workers.disk(f"p{n}") for n in range(3)]
    stages: list[dict[str, Any]] = [
        {"role": "rollout", "phase": "generate", "resumes": False},
        {"role": "reward", "phase": "reward", "resumes": True},
        {"role": "trainer", "phase": "train", "resumes": True, "status": "accept"},
    ]
    for n, stage in enumerate(stages):
        worker = workers.start("stage", disk=f"p{n}", **stage)
        if n:
            text = (disks[n - 1] / "handed_on").read_text()
            (disks[n] / "carrier.part").write_text(text)
            (disks[n] / "carrier.part").rename(disks[n] / "carrier")
        worker.wait()
    runs = [disk / "runs" / "run" for disk in disks]
    (record,) = sessions_of(*reversed(runs))
    assert (record.task, record.status, record.payload) == ("gsm8k/17", "accepted", {"prompt": "How many?"})
    assert [phase.name for phase in record.phases] == ["generate", "reward", "train"]
    assert [phase.source.header["role"] for phase in record.phases] == ["rollout", "reward", "trainer"]
    assert (record.staleness, record.counters, record.running) == (2, {"tokens": 15}, False)
    assert len({part.source.header["pid"] for part in record.parts}) == 3
    assert record.end is not None
    (alone,) = sessions_of(runs[0])
    assert (alone.status, alone.end is not None) == ("pending", True)
    values = [next(r for r in sl.read_journal(run) if r["type"] == "commit")["values"] for run in runs]
    assert [each.get("rollout/session/accepted") for each in values] == [None, None, 1]
    assert "rollout/session/total_s/p50" not in values[0]
    took = sum((phase.end or 0) - phase.start for phase in record.phases) / 1e9
    assert values[2]["rollout/session/total_s/max"] >= took
    assert values[2]["rollout/session/staleness/mean"] == 2


def test_after_kill_9_the_sessions_in_flight_are_there(workers: Workers) -> None:
    """Shown as running, with what had happened in them a moment before, and those that had ended."""
    worker = workers.start("until_killed", sessions=20)
    path = worker.disk / "runs" / "run" / "sessions" / "p00000.a01.jsonl"
    until(lambda: path.exists() and path.read_bytes().count(b'"begin"') == 20)
    worker.tell("more")
    until(lambda: path.read_bytes().count(b'"more"') >= 20 and path.read_bytes().count(b"short/") > 100)
    worker.signal(signal.SIGKILL)
    worker.wait(-signal.SIGKILL)
    damages: list[Damage] = []
    records = list(sl.read_sessions(worker.disk / "runs" / "run", on_damage=damages.append))
    assert [damage.reason for damage in damages] in ([], ["it is cut short"])
    flying = [record for record in records if record.task.startswith("long/")]
    assert len(flying) == 20
    for record in flying:
        assert (record.status, record.running, record.end) == ("pending", True, None)
        assert [(phase.name, phase.end) for phase in record.phases] == [("generate", None), ("reward", None)]
        assert (record.payload, record.counters) == ({"prompt": "x" * 20}, {"tokens": 7})
    ended = [record for record in records if record.task.startswith("short/") and not record.running]
    assert len(ended) > 100
    assert {record.status for record in ended} == {"accepted"}


@pytest.mark.long
def test_a_kill_at_any_moment_leaves_files_that_can_be_read(workers: Workers) -> None:
    """At most the last line is cut."""
    moments = random.Random(0)
    for n in range(20):
        worker = workers.start("until_killed", disk=f"p{n}", sessions=50)
        worker.tell("more")
        path = worker.disk / "runs" / "run" / "sessions" / "p00000.a01.jsonl"
        until(path.exists)
        time.sleep(moments.random())
        worker.signal(signal.SIGKILL)
        worker.wait(-signal.SIGKILL)
        damages: list[Damage] = []
        records = list(sl.read_sessions(path, on_damage=damages.append))
        last = path.read_bytes().count(b"\n") + 1
        assert [(damage.line, damage.reason) for damage in damages] in ([], [(last, "it is cut short")])
        assert records
        for record in records:
            assert record.running == (record.status == "pending")


def test_the_processes_of_a_job_count_together(workers: Workers) -> None:
    """Each says what it has seen, and the commit has the sums."""
    job = workers.start_job(2, "in_a_job")
    job.wait()
    (commit,) = job.root.commits()
    names = ("accepted", "rejected", "failed", "dropped", "pending", "retries")
    assert [commit["values"][f"rollout/session/{name}"] for name in names] == [2, 2, 0, 2, 0, 0]
    assert commit["values"]["rollout/session/staleness/mean"] == 9.5
    assert commit["counts"]["rollout/session/total_s__count"] == 6
    assert commit["counts"]["rollout/session/phase/generate_s__count"] == 2
    for worker in job:
        (path,) = worker.disk.glob("runs/run/sessions/*.jsonl")
        assert len(sessions_of(path)) == 4


def test_a_forked_child_writes_nothing(workers: Workers) -> None:
    worker = workers.start("forked")
    worker.wait()
    (record,) = sessions_of(worker.disk / "runs" / "run")
    assert (record.task, record.status, record.phases) == ("parent", "accepted", [])


def test_a_session_in_flight_is_told_as_it_goes_on(recorder: Recorder) -> None:
    """Its phases with their ends, once each; and nothing while nothing happens."""
    recorder.writer._begun_after = 0
    session = recorder.tracer.session(task=1, a=1).begin()
    phase = session.phase("generate").__enter__()
    assert recorder.record(session).phases[0].end is None
    phase.__exit__(None, None, None)
    session.note(b=2)
    record = recorder.record(session)
    assert (record.running, record.payload) == (True, {"a": 1, "b": 2})
    assert record.phases[0].end is not None
    told = len(recorder.lines())
    assert len(recorder.lines()) == told == 3
    with session.phase("reward"):
        assert [(each.name, each.end is None) for each in recorder.record(session).phases] == [
            ("generate", False),
            ("reward", True),
        ]
    assert [each.get("n") for each in recorder.lines()[-1]["phases"]] == [1]
    session.note(b="later", c=3)
    assert recorder.record(session).payload == {"a": 1, "b": "later", "c": 3}
    assert recorder.lines()[-1]["payload"] == {"b": "later", "c": 3}
    session.accept()
    assert recorder.record(session).status == "accepted"


def test_when_too_many_wait_they_are_dropped_and_the_file_says_so(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_writer, "_WAITING", 3)
    with recorder.writer._taking:  # the writer does not come to it
        for task in range(10):
            with recorder.tracer.session(task=task) as session:
                session.accept()
    assert recorder.files.flush()
    damages: list[Damage] = []
    records = list(sl.read_sessions(recorder.dir, on_damage=damages.append))
    dropped = sum(int(damage.reason.split()[0]) for damage in damages)
    assert len(records) + dropped == 10
    assert dropped > 0


def test_what_begins_before_the_run_is_in_its_file(tmp_path: Path) -> None:
    """And what is in flight at the run's end is shown there, and ended in the next run's."""
    early = sl.session(task="early").begin()
    early.accept()
    flying = sl.session(task="flying").begin()
    for name in ("a", "b"):
        with sl.start(tmp_path, name=name, sinks=[]):
            if name == "b":
                flying.accept()
    first = {
        record.task: record for record in sessions_of(tmp_path / "a") if record.id in (early.id, flying.id)
    }
    assert (first["early"].status, first["flying"].running) == ("accepted", True)
    (last,) = (record for record in sessions_of(tmp_path / "a", tmp_path / "b") if record.id == flying.id)
    assert (last.status, last.running) == ("accepted", False)


def test_a_flush_ends_while_others_go_on_recording(recorder: Recorder) -> None:
    """And has what was recorded before it, be it many."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            with recorder.tracer.session(task="other") as session:
                session.accept()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for task in range(2000):
            with recorder.tracer.session(task=task) as session:
                session.accept()
        assert recorder.files.flush()
        written = recorder.path.read_bytes()
    finally:
        over.set()
        thread.join()
    lines = [json.loads(line) for line in written.splitlines(keepends=True) if line.endswith(b"\n")]
    assert {line.get("task") for line in lines} >= set(range(2000))


def test_full_files_are_followed_by_others(tmp_path: Path) -> None:
    """And a session in flight is read over all of them."""
    files = ProcessFiles(lambda: Place(tmp_path, "run", 1))
    tracer = SessionTracer()
    writer = SessionWriter(tracer, files, segment_bytes=1000)
    writer._begun_after = 0
    flying = tracer.session(task="flying").begin()
    for task in range(10):
        with flying.phase("wait"), tracer.session(task=task) as session:
            session.accept()
        assert files.flush()
    (before,) = (each for each in sessions_of(tmp_path) if each.task == "flying")
    assert (before.running, len(before.phases)) == (True, 10)
    flying.accept()
    assert writer.close()
    assert files.close()
    assert len(list((tmp_path / "sessions").iterdir())) > 3
    records = {record.task: record for record in sessions_of(tmp_path)}
    assert len(records) == 11
    assert records["flying"].status == "accepted"


def test_many_that_end_are_written_at_once(tmp_path: Path) -> None:
    """Without waiting for the next time: the threshold hurries the writer."""
    hurried = threading.Event()
    tracer = SessionTracer()
    tracer._begin_writing(3, hurried.set)
    for i in range(3):
        assert not hurried.is_set()
        with tracer.session(task=i) as session:
            session.accept()
    assert hurried.is_set()
