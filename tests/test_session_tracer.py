"""Rollout sessions as they are recorded, from any task, thread and process; their files and metrics."""

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline import session_tracer, session_writer, sessions
from sightline.naming import unconventional
from sightline.process_files import Place, ProcessFiles
from sightline.session_files import Damage, SessionRecord
from sightline.session_metrics import covered, snake_case
from sightline.session_tracer import SessionTracer
from sightline.session_writer import SessionWriter
from sightline.sessions import UNSAID, Session
from tests.harness import Workers, until, workers_of


class Recorder:
    """A tracer, and the files that it is written to."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.tracer = SessionTracer()
        self.files = ProcessFiles(lambda: Place(directory, "run", 1))
        self.writer = SessionWriter(self.tracer, self.files)
        self.path = directory / "sessions" / "p00000.a01.jsonl"

    def records(self) -> list[SessionRecord]:
        """What has been written by now; nothing of it damaged."""
        assert self.files.flush()
        damages: list[Damage] = []
        found = list(sl.read_sessions(self.dir, on_damage=damages.append))
        assert damages == []
        return found

    def record(self, session: Session) -> SessionRecord:
        (found,) = (each for each in self.records() if each.id == session.id)
        return found

    def lines(self) -> list[dict[str, Any]]:
        assert self.files.flush()
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path)
    yield made
    assert made.writer.close()
    assert made.files.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(str(Path(__file__).parent / "multiprocess" / "session_workers.py"), tmp_path) as made:
        yield made


def sessions_of(*runs: Path) -> list[SessionRecord]:
    return list(sl.read_sessions(runs, on_damage=lambda damage: pytest.fail(str(damage))))


# --- many at once ------------------------------------------------------------------------------------------


def test_of_a_thousand_overlapping_sessions_every_phase_has_its_own_end(recorder: Recorder) -> None:
    """Of two spans of one name that overlap in a session, too: each lies where its block was."""
    tracer = recorder.tracer
    blocks: dict[tuple[str, int], tuple[int, int, int, int]] = {}
    shuffled = random.Random(0)

    async def call(session: Session, k: int) -> None:
        before = time.perf_counter_ns()
        async with session.phase("toolcall", k=k):
            inside = time.perf_counter_ns()
            await asyncio.sleep(shuffled.random() / 20)
            assert tracer.current_session() is session
            leaving = time.perf_counter_ns()
        blocks[session.id, k] = (before, inside, leaving, time.perf_counter_ns())

    async def rollout(i: int) -> None:
        async with tracer.session(task=i // 8) as session:
            with tracer.session_phase("generate"):
                await asyncio.sleep(0)
            await asyncio.gather(*(call(session, k) for k in range(3)))
            session.count(turns=1)
            session.accept()
        assert tracer.current_session() is None

    async def main() -> None:
        await asyncio.gather(*(rollout(i) for i in range(1000)))

    asyncio.run(main())
    records = recorder.records()
    assert len(records) == 1000
    assert sorted(record.task for record in records) == sorted(i // 8 for i in range(1000))
    for record in records:
        assert (record.status, record.counters, record.running) == ("accepted", {"turns": 1}, False)
        assert [phase.name for phase in record.phases] == ["generate"] + ["toolcall"] * 3
        source = record.parts[0].source
        for phase in record.phases[1:]:
            before, inside, leaving, after = map(source.time_ns, blocks[record.id, phase.args["k"]])
            assert phase.end is not None
            assert before <= phase.start <= inside <= leaving <= phase.end <= after
        assert record.start <= record.phases[0].start
    assert len({record.id for record in records}) == 1000


def test_sixteen_threads_do_not_disturb_each_other(recorder: Recorder) -> None:
    """With phases that are not nested, and all threads counting in one session too."""
    tracer = recorder.tracer
    shared = tracer.session(task="shared").begin()
    trouble: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for i in range(50):
                with tracer.session(task=f"{thread}/{i}") as session, ExitStack() as late:
                    first = session.phase("generate", k=1).__enter__()
                    late.push(session.phase("generate", k=2).__enter__().__exit__)
                    first.__exit__(None, None, None)
                    assert tracer.current_session() is session
                    session.count(tokens=i)
                    shared.count(tokens=1)
                    with shared.phase("reward"):
                        session.reject("too easy")
                assert tracer.current_session() is None
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    shared.accept()
    records = {record.task: record for record in recorder.records()}
    assert len(records) == 16 * 50 + 1
    assert records["shared"].counters == {"tokens": 800}
    assert len(records["shared"].phases) == 800
    assert all(phase.end is not None for record in records.values() for phase in record.phases)
    for thread in range(16):
        for i in range(50):
            record = records[f"{thread}/{i}"]
            a, b = record.phases
            assert (record.status, record.reason) == ("rejected", "too easy")
            assert record.counters == {"tokens": i}
            assert (a.args, b.args) == ({"k": 1}, {"k": 2})
            assert a.start <= b.start <= (a.end or 0) <= (b.end or 0)


# --- the current session -----------------------------------------------------------------------------------


def test_the_current_session_is_that_of_the_innermost_open_block() -> None:
    """In this thread and this task; another thread has none."""
    tracer = SessionTracer()
    elsewhere: list[Session | None] = []
    assert tracer.current_session() is None
    with tracer.session(task=1) as outer:
        with tracer.session(task=2) as inner:
            assert tracer.current_session() is inner
            thread = threading.Thread(target=lambda: elsewhere.append(tracer.current_session()))
            thread.start()
            thread.join()
        assert tracer.current_session() is outer
    assert tracer.current_session() is None
    assert elsewhere == [None]


def test_a_task_that_outlives_the_block_has_no_session_afterwards() -> None:
    """Though it has the context of the block that it was made in."""
    tracer = SessionTracer()

    async def main() -> tuple[bool, bool]:
        left = asyncio.Event()

        async def background() -> tuple[bool, bool]:
            within = tracer.current_session() is session
            await left.wait()
            with tracer.session_phase("log"):
                pass
            return within, tracer.current_session() is None

        async with tracer.session(task=1) as session:
            task = asyncio.create_task(background())
            await asyncio.sleep(0)
            session.accept()
        left.set()
        result = await task
        assert session.phases == []
        return result

    assert asyncio.run(main()) == (True, True)


def test_a_phase_of_the_current_session_is_nothing_without_one() -> None:
    tracer = SessionTracer()
    with tracer.session_phase("reward", k=1) as phase:
        phase.set(score=1.0)
    assert tracer.take(10) == []


# --- how sessions end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (asyncio.CancelledError(), "dropped", "cancelled"),
        (GeneratorExit(), "dropped", "closed"),
        (KeyboardInterrupt(), "dropped", "interrupted"),
        (SystemExit(1), "dropped", "interrupted"),
        (ValueError("no answer"), "failed", "ValueError: no answer"),
    ],
)
def test_an_exception_ends_a_session(
    recorder: Recorder, error: BaseException, status: str, reason: str
) -> None:
    """It goes on its way, and the phase that it leaves is marked too."""
    session = recorder.tracer.session(task=1)
    with pytest.raises(type(error)), session, session.phase("generate"):
        raise error
    record = recorder.record(session)
    assert (record.status, record.reason) == (status, reason)
    assert (record.phases[0].error or "").startswith(type(error).__name__)
    assert record.phases[0].end is not None


def test_a_cancelled_task_ends_as_dropped(recorder: Recorder) -> None:
    """With its phases ended, and the others untouched."""

    async def rollout(i: int) -> None:
        async with recorder.tracer.session(task=i) as session, session.phase("generate"):
            await asyncio.sleep(3600 if i % 2 else 0)
            session.accept()

    async def main() -> None:
        tasks = [asyncio.create_task(rollout(i)) for i in range(20)]
        while sum(task.done() for task in tasks) < 10:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    for record in recorder.records():
        expected = ("dropped", "cancelled") if record.task % 2 else ("accepted", None)
        assert (record.status, record.reason) == expected
        assert record.phases[0].end is not None


def test_a_block_that_says_nothing_is_dropped_and_says_so_once(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has said that the sample is used; `otherwise` may."""
    for task in range(3):
        with recorder.tracer.session(task=task):
            pass
    with recorder.tracer.session(task=3, otherwise="accepted"):
        pass
    statuses = {record.task: (record.status, record.reason) for record in recorder.records()}
    assert statuses == {**dict.fromkeys(range(3), ("dropped", UNSAID)), 3: ("accepted", None)}
    (said,) = caplog.records
    assert "otherwise='accepted'" in said.getMessage()


def test_a_final_status_stays(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """A different one later is counted and logged once; the same one again is nothing. Nothing is raised."""
    tracer = recorder.tracer
    for _ in range(2):
        with tracer.session(task=1) as session:
            session.accept("good")
            session.accept("very")
            session.reject("no")
            session.drop()
            session.retry()
    last = tracer.session(task=2)
    with pytest.raises(OSError, match="disk"):
        rejected_and_failed(last)
    assert tracer.take_conflicts() == 6
    assert [record.getMessage().count("'rejected' is not taken") for record in caplog.records] == [1]
    assert {(record.task, record.status, record.reason) for record in recorder.records()} == {
        (1, "accepted", "good"),
        (2, "rejected", "no"),
    }
    assert last.error == "OSError: disk"


def rejected_and_failed(session: Session) -> None:
    with session:
        session.reject("no")
        raise OSError("disk")


def test_a_log_handler_may_use_sessions_in_another_thread() -> None:
    """Nothing is held while something is logged."""
    tracer = SessionTracer()
    other = tracer.session(task="other").begin()
    done: list[bool] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            thread = threading.Thread(target=other.count, kwargs={"warnings": 1}, daemon=True)
            thread.start()
            thread.join(20)
            done.append(not thread.is_alive())

    handler = Handler()
    logging.getLogger("sightline").addHandler(handler)
    try:
        with tracer.session(task=1):
            pass
        with tracer.session(task=2) as session:
            session.accept()
            session.reject()
    finally:
        logging.getLogger("sightline").removeHandler(handler)
    assert done == [True, True]


def test_retries_are_kept_with_what_they_did(recorder: Recorder) -> None:
    tracer = recorder.tracer
    with tracer.session(task=1) as session:
        for attempt in range(3):
            with session.phase("generate", attempt=attempt):
                pass
            if attempt < 2:
                session.retry(TimeoutError("engine"))
        session.accept()
    record = recorder.record(session)
    assert [(phase.args["attempt"], phase.retry) for phase in record.phases] == [(0, 0), (1, 1), (2, 2)]
    assert [reason for _, reason in record.retries] == ["TimeoutError: engine"] * 2
    assert record.status == "accepted"


def test_staleness_is_how_far_the_policy_went_on(recorder: Recorder) -> None:
    with recorder.tracer.session(task=1, policy_version=3) as session:
        session.finish_version(np.int64(5))
        session.accept()
    with recorder.tracer.session(task=2, policy_version=3) as unknown:
        unknown.accept()
    record = recorder.record(session)
    assert (record.policy_version, record.end_version, record.staleness) == (3, 5, 2)
    assert (session.staleness, unknown.staleness) == (2, None)
    assert recorder.record(unknown).staleness is None


def test_without_a_block_the_status_ends_it(recorder: Recorder) -> None:
    """Or `finish` does, in another thread just as well."""
    said = recorder.tracer.session(task=1).begin()
    handed = recorder.tracer.session(task=2).begin()
    handed.carrier()
    thread = threading.Thread(target=lambda: (said.accept(), handed.finish(), handed.finish()))
    thread.start()
    thread.join()
    assert (said.closed, handed.closed) == (True, True)
    assert recorder.record(said).status == "accepted"
    assert recorder.record(handed).status == "pending"
    assert recorder.record(handed).running is False


def test_what_happens_after_the_end_reaches_the_file(recorder: Recorder) -> None:
    """A phase in another task that takes longer than the block."""
    with recorder.tracer.session(task=1) as session:
        phase = session.phase("reward").__enter__()
        session.accept()
    assert recorder.record(session).phases[0].end is None
    phase.__exit__(None, None, None)
    session.count(tokens=3)
    with session.phase("log"):
        pass
    record = recorder.record(session)
    assert [(each.name, each.end is None) for each in record.phases] == [("reward", False), ("log", False)]
    assert record.counters == {"tokens": 3}
    assert [line["type"] for line in recorder.lines()] == ["header", "session", "session"]


# --- decorators --------------------------------------------------------------------------------------------


def test_functions_of_all_kinds_may_be_sessions(recorder: Recorder) -> None:
    """A generator is one over its life, and its consumer is outside of it."""
    tracer = recorder.tracer
    seen: list[bool] = []

    @tracer.session(task=lambda x: f"plain/{x}", policy_version=lambda x: x, otherwise="accepted")
    def plain(x: int) -> int:
        with tracer.session_phase("generate"):
            return x + 1

    @tracer.session(task="coroutine", otherwise="accepted")
    async def coroutine(x: int) -> int:
        await asyncio.sleep(0)
        seen.append(tracer.current_session() is not None)
        return x + 1

    @tracer.session(task="generator", otherwise="accepted")
    def generator() -> Generator[int, int, str]:
        with tracer.session_phase("generate"):
            got = yield 1
        seen.append(tracer.current_session() is not None)
        got += yield 2
        return f"sum {got}"

    @tracer.session(task="async generator", otherwise="accepted")
    async def asyncgen() -> AsyncIterator[int]:
        yield 1
        session = tracer.current_session()
        assert session is not None
        session.accept("in the middle")
        with tracer.session_phase("reward"):
            yield 2

    async def main() -> None:
        assert await coroutine(1) == 2
        seen.extend([tracer.current_session() is None async for _ in asyncgen()])

    assert plain(1) == 2
    asyncio.run(main())
    body = generator()
    assert next(body) == 1
    seen.append(tracer.current_session() is None)
    assert body.send(10) == 2
    with pytest.raises(StopIteration, match="sum 30"):
        body.send(20)
    assert next(generator()) == 1  # closed before its end
    assert seen == [True] * 5
    found = [(each.task, each.status, [phase.name for phase in each.phases]) for each in recorder.records()]
    assert found == [
        ("plain/1", "accepted", ["generate"]),
        ("coroutine", "accepted", []),
        ("async generator", "accepted", ["reward"]),
        ("generator", "accepted", ["generate"]),
        ("generator", "dropped", ["generate"]),
    ]
    assert recorder.records()[0].policy_version == 1
    assert recorder.records()[-1].reason == "closed"


def test_a_decorated_phase_is_one_span_for_each_call() -> None:
    """Also of a generator, over its life."""
    tracer = SessionTracer()

    @tracer.session_phase("reward")
    def items() -> Iterator[int]:
        yield from range(3)

    with tracer.session(task=1) as session:
        assert list(items()) == list(items()) == [0, 1, 2]
        session.accept()
    assert [phase.name for phase in session.phases] == ["reward", "reward"]
    assert all(phase.end > phase.start for phase in session.phases)


# --- over processes ----------------------------------------------------------------------------------------


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
    assert [each["rollout/session/accepted"] for each in values] == [0, 0, 1]
    assert "rollout/session/total_s/p50" not in values[0]
    took = sum((phase.end or 0) - phase.start for phase in record.phases) / 1e9
    assert values[2]["rollout/session/total_s/max"] >= took
    assert values[2]["rollout/session/staleness/mean"] == 2


def test_a_resumed_part_may_end_without_a_word(recorder: Recorder) -> None:
    """A stage in the middle, that does its work and leaves the status to somebody else."""
    with recorder.tracer.session(task=1) as session:
        carrier = session.carrier()
    with recorder.tracer.resume_session(carrier):
        pass
    (record,) = recorder.records()
    assert (record.status, record.running, len(record.parts)) == ("pending", False, 2)
    with pytest.raises(ValueError, match="no"), recorder.tracer.resume_session(carrier):
        raise ValueError("no")
    (record,) = recorder.records()
    assert (record.status, record.reason) == ("failed", "ValueError: no")


def test_the_latency_is_from_the_first_beginning_on(tmp_path: Path) -> None:
    """Here by the clock of the spans, from elsewhere by the time of day."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        with sl.session(task=1) as session:
            carrier = session.carrier()
        with sl.resume_session(carrier) as part:
            pass
        assert part.origin == session.start
        foreign = {"session": "0123-1", "task": 1, "start": 5, "started_ns": time.time_ns() - 1000 * 10**9}
        with sl.resume_session(foreign) as part:
            part.accept()
            assert part.carrier() == foreign | {"task": 1}  # should it come back to where it began
        run.commit(1)
    (commit,) = (r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit")
    assert 990 < commit["values"]["rollout/session/total_s/mean"] < 2000


def test_a_carrier_is_small_and_plain() -> None:
    """Whatever the task was, it goes through JSON."""
    with SessionTracer().session(task="x" * 1_000_000, policy_version=3, prompt="y" * 1_000_000) as session:
        carrier = session.carrier()
    assert json.loads(json.dumps(carrier)) == carrier
    assert len(json.dumps(carrier)) < 500
    assert carrier.keys() == {"session", "task", "start", "started_ns", "policy_version"}
    assert abs(carrier["started_ns"] - time.time_ns()) < 600e9


def test_a_session_goes_on_in_another_thread(recorder: Recorder) -> None:
    tracer = recorder.tracer
    with tracer.session(task=1, policy_version=1) as session:
        carrier = json.loads(json.dumps(session.carrier()))

    def consume() -> None:
        with tracer.resume_session(carrier) as part, tracer.session_phase("reward"):
            part.drop("stale")

    thread = threading.Thread(target=consume)
    thread.start()
    thread.join()
    (record,) = recorder.records()
    assert (record.id, record.status, record.reason) == (session.id, "dropped", "stale")
    assert [phase.name for phase in record.phases] == ["reward"]
    assert len(record.parts) == 2
    assert record.start == record.parts[0].start


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


# --- anything may be said ----------------------------------------------------------------------------------


class Hostile:
    """Nothing works with it."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __len__ = __iter__ = __float__ = __eq__ = __hash__ = __str__  # type: ignore[assignment]


def circular() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


@pytest.mark.parametrize(
    "value",
    [
        Hostile(), circular(), float("nan"), float("-inf"), "\ud800 lone", b"\xff" * 10, 2**200, {1: {2: 3}},
        2**100_000,
        {"\udfff": 1}, np.zeros((4096, 4096)), object(), lambda: 0, [[[[[[[[[[1]]]]]]]]]], {"a": Hostile()},
        type("Named", (str,), {"__str__": Hostile.__str__})("x"), Exception(Hostile()), set(range(10_000)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_hostile_values_never_raise_and_never_break_the_file(recorder: Recorder, value: Any) -> None:
    """As task, reason, payload, argument of a phase; nor do names that are no text."""
    tracer = recorder.tracer
    with tracer.session(task=value, payload=value, **{"\ud800": value}) as session:
        with session.phase("\ud800", value=value) as phase:
            phase.set(**{"\udc00": value})
        session.note(more=value)
        session.count(**{"\ud800": 1})
        session.retry(value)
        json.dumps(session.carrier())
        session.reject(value)
    record = recorder.record(session)
    assert record.status == "rejected"
    assert record.payload.keys() == {"payload", "\\ud800", "more"}
    assert isinstance(record.task, (int, str))
    assert isinstance(record.reason, str)
    assert len(recorder.path.read_bytes()) < 200_000


def test_long_texts_are_cut_and_that_is_said(recorder: Recorder) -> None:
    with recorder.tracer.session(task="t" * 10_000, prompt="p" * 1_000_000) as session:
        for i in range(20):
            session.note(**{f"text_{i}": "x" * 1_000_000})
        session.accept("r" * 1_000_000)
    record = recorder.record(session)
    assert record.payload["prompt"] == "p" * 10_000 + "… (990000 characters more)"
    assert record.payload["text_19"].endswith("bytes more)")
    assert (record.reason or "").endswith("characters more)")
    assert record.task.endswith("(9800 characters more)")
    assert len(recorder.path.read_bytes()) < 80_000


def test_what_is_noted_is_held_no_longer_than_a_moment(recorder: Recorder) -> None:
    """A session in flight for minutes does not hold an array that a payload named."""
    session = recorder.tracer.session(task=1, tokens=np.arange(3)).begin()
    assert recorder.files.flush()
    assert not session.raw_payload
    assert session.payload == {"tokens": [0, 1, 2]}
    session.accept()


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


def test_more_than_can_be_kept_is_counted(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one session, and of sessions: in the file, which says how many."""
    monkeypatch.setattr(sessions, "_PHASES", 3)
    monkeypatch.setattr(sessions, "_NAMES", 2)
    monkeypatch.setattr(sessions, "_RETRIES", 1)
    monkeypatch.setattr(session_tracer, "_OPEN", 1)
    with recorder.tracer.session(task=1, a=1) as session:
        for i in range(5):
            with session.phase("generate"):
                session.note(**{f"b{i}": i})
                session.count(**{f"c{i}": i})
                session.retry()
        for i in range(4):
            with recorder.tracer.session(task=f"beyond/{i}") as beyond:
                beyond.accept()
        session.accept()
    assert recorder.files.flush()
    damages: list[Damage] = []
    (record,) = sl.read_sessions(recorder.dir, on_damage=damages.append)
    assert record.lost == {"phases": 2, "payloads": 4, "counters": 3, "retries": 4}
    assert len(record.phases) == 3
    assert [damage.reason for damage in damages] == ["4 sessions dropped"]


def test_sessions_that_nobody_writes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a run starts the last ones are kept."""
    monkeypatch.setattr(session_tracer, "_BEFORE", 5)
    tracer = SessionTracer()
    for task in range(20):
        with tracer.session(task=task, prompt="p" * 100_000) as session:
            session.accept()
    kept = tracer.take(100)
    assert [session.task for session in kept] == [15, 16, 17, 18, 19]
    assert [len(session.payload["prompt"]) for session in kept] == [
        len("… (90000 characters more)") + 10_000
    ] * 5
    assert tracer.take_dropped() == 0


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


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tracer: tracer.session(task=1, otherwise="fine"),
        lambda tracer: tracer.session(task=1, policy_version="3").begin(),
        lambda tracer: tracer.session(task=1, policy_version=True).begin(),
        lambda tracer: tracer.session(task=1).begin().count(tokens="12"),
        lambda tracer: tracer.session(task=1).begin().count(tokens=Hostile()),
        lambda tracer: tracer.session(task=1).begin().phase(7),
        lambda tracer: tracer.session(task=1).begin().begin(),
        lambda tracer: tracer.session(task=1).accept(),
        lambda tracer: tracer.session(task=1).carrier(),
        lambda tracer: tracer.session(task=1).finish(),
        lambda tracer: tracer.session(task=1).retry(),
        lambda tracer: tracer.session(task=1).phase("generate").__enter__(),
        lambda tracer: tracer.session(task=1).begin()(print),
        lambda tracer: tracer.session_phase(None),
        lambda tracer: tracer.resume_session("a string"),
        lambda tracer: tracer.session(task=1, policy_version=2**80).begin(),
        lambda tracer: tracer.resume_session({"session": 3}),
        lambda tracer: tracer.resume_session({"session": "0-1", "started_ns": 2**80}),
        lambda tracer: tracer.resume_session({"session": "x" * 1000, "started_ns": 1}),
        lambda tracer: enter_again(tracer.session(task=1).begin()),
        lambda tracer: enter_again(tracer.session(task=1).begin().phase("generate")),
    ],
)
def test_programming_errors_raise_where_they_are_made(wrong: Callable[[SessionTracer], Any]) -> None:
    with pytest.raises(sl.RecordError):
        wrong(SessionTracer())


def enter_again(block: Any) -> None:
    with block, block:
        pass


# --- off ---------------------------------------------------------------------------------------------------


def test_off_is_nothing(tmp_path: Path) -> None:
    """One object for all, decorators return the function, no file."""
    code = """
import asyncio, os
import sightline as sl
def f(): ...
assert sl.session(task=1)(f) is f and sl.session_phase("x")(f) is f
with sl.start("runs") as run:
    with sl.session(task=object(), a=1) as one, sl.session_phase("x") as phase:
        assert one is sl.session() is sl.resume_session({"no": 1}) and sl.current_session() is None
        with one.phase("generate"): one.count(a="no"); one.note(a=1); one.retry(); one.finish_version("no")
        phase.set(a=1); one.accept(); one.reject("no"); assert one.carrier() == {}
    async def main():
        async with sl.session() as s, s.phase("x"): pass
    asyncio.run(main())
    assert (one.status, one.id, sl.session().begin().finish()) == ("pending", "", None)
    run.commit(1)
assert os.listdir() == [], os.listdir()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, env={**os.environ, "SIGHTLINE_DISABLED": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_sessions_may_be_off_in_a_run(tmp_path: Path) -> None:
    """No file and no metrics; a carrier from there is taken, and does nothing."""
    off = {"session_tracer": {"enabled": False}}
    with sl.start(tmp_path, name="run", sinks=[], tracing=off) as run:
        with sl.session(task=1) as session:
            assert session.carrier() == {}
        run.commit(1)
    assert not (tmp_path / "run" / "sessions").exists()
    (commit,) = (r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit")
    assert not [key for key in commit["values"] if key.startswith("rollout/session")]
    with SessionTracer().resume_session(session.carrier()) as part:
        part.accept()
    assert part.status == "pending"


def test_a_wrong_setting_is_an_error_at_once() -> None:
    with pytest.raises(sl.ConfigurationError, match="flush_threshold"):
        sl.SessionTracerConfig(flush_threshold=0)


# --- metrics -----------------------------------------------------------------------------------------------


def test_metrics_of_sessions_are_in_the_journal(tmp_path: Path) -> None:
    """Under conventional names; each session in the commit after it, also one that ended a moment before."""
    with sl.start(tmp_path, name="run", sinks=[], naming="strict") as run:
        flying = sl.session(task="flying").begin()
        for step in run.steps(2):
            for i in range(4):
                with sl.scope("train"), sl.session(task=i, policy_version=i) as session:
                    with session.phase("Generate!"), session.phase("Generate!"), session.phase("reward"):
                        session.finish_version(i + step)
                    if step == 0:
                        session.retry()
                    session.accept() if i else session.reject("easy")
            run.commit(step)
        flying.accept()
        flying.drop()
        run.commit(2)
        run.commit(3)
    commits = [r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit"]
    values = [commit["values"] for commit in commits]
    counts = [
        [of[f"rollout/session/{name}"] for name in ("accepted", "rejected", "failed", "dropped", "pending")]
        for of in values
    ]
    assert counts == [[3, 1, 0, 0, 1], [3, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert [of["rollout/session/retries"] for of in values] == [4, 0, 0, 0]
    assert [of.get("rollout/session/staleness/mean") for of in values] == [0, 1, None, None]
    for name in ("total_s", "phase/generate_s", "phase/reward_s"):
        assert {f"rollout/session/{name}/{part}" for part in ("mean", "max", "p50", "p95")} <= values[
            0
        ].keys()
        assert [commit["counts"].get(f"rollout/session/{name}__count") for commit in commits[:2]] == [4, 4]
    assert values[0]["rollout/session/phase/generate_s/max"] <= values[0]["rollout/session/total_s/max"]
    assert values[2]["obs/session_conflicts"] == 1
    assert [unconventional(key) for key in values[0]] == [None] * len(values[0])
    assert len(sessions_of(tmp_path / "run")) == 9


def test_what_ends_after_its_session_is_counted_up_to_there_and_once(tmp_path: Path) -> None:
    """The metrics have the phase as it was at the session's end."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        with sl.session(task=1) as session:
            phase = session.phase("reward").__enter__()
            session.accept()
        run.commit(1)
        phase.__exit__(None, None, None)
        run.commit(2)
    first, second = (r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit")
    seconds = (session.end - phase.start) / 1e9
    assert first["values"]["rollout/session/phase/reward_s/max"] == pytest.approx(seconds)
    assert not [key for key in second["values"] if key.startswith("rollout/session/phase/")]
    assert second["values"]["rollout/session/accepted"] == 0


def test_a_process_without_sessions_has_no_metrics_of_them(tmp_path: Path) -> None:
    """Nor a file."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        run.commit(1)
    (commit,) = (r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit")
    assert not [key for key in commit["values"] if key.startswith("rollout/session")]
    assert not (tmp_path / "run" / "sessions").exists()


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
    tracer.begin_writing(3, hurried.set)
    for i in range(3):
        assert not hurried.is_set()
        with tracer.session(task=i) as session:
            session.accept()
    assert hurried.is_set()


@pytest.mark.parametrize(
    ("spans", "expected"),
    [([], 0), ([(1, 2)], 1), ([(0, 10), (2, 3), (9, 12), (20, 21)], 13), ([(5, 6), (0, 5)], 6)],
)
def test_time_is_covered_once(spans: list[tuple[int, int]], expected: int) -> None:
    assert covered(spans) == expected


def test_names_of_phases_become_parts_of_keys() -> None:
    assert [snake_case(name) for name in ("generate", "Tool-Call 2", "é", "")] == [
        "generate", "tool_call_2", "unnamed", "unnamed",
    ]  # fmt: skip


def test_nothing_is_logged_of_sessions_that_are_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with SessionTracer().session(task=1) as session:
        session.accept()
    assert caplog.records == []
