"""The sessions of a process: many at once, the current one, those that wait to be written."""

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import sightline as sl
from sightline.tracing import session_tracer
from sightline.tracing.session_tracer import SessionTracer
from sightline.tracing.sessions import Session
from tests.session_recorder import Recorder

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
    assert tracer._take(10) == []


def test_sessions_that_nobody_writes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a run starts the last ones are kept."""
    monkeypatch.setattr(session_tracer, "_BEFORE", 5)
    tracer = SessionTracer()
    for task in range(20):
        with tracer.session(task=task, prompt="p" * 100_000) as session:
            session.accept()
    kept = tracer._take(100)
    assert [session.task for session in kept] == [15, 16, 17, 18, 19]
    assert [len(session.payload["prompt"]) for session in kept] == [
        len("… (90000 characters more)") + 10_000
    ] * 5
    assert tracer._take_dropped() == 0


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


def test_nothing_is_logged_of_sessions_that_are_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with SessionTracer().session(task=1) as session:
        session.accept()
    assert caplog.records == []
