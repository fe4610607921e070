"""A rollout session and its phases, as they are recorded: how they end, what may be said of them."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import sightline as sl
from sightline.tracing import session_tracer, sessions
from sightline.tracing.session_files import Damage
from sightline.tracing.session_tracer import SessionTracer
from sightline.tracing.sessions import UNSAID, Session
from tests.jax.several_devices import Callback
from tests.session_recorder import Recorder

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
    assert tracer._take_conflicts() == 6
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


# --- going on elsewhere ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tracer: tracer.session(task=1, otherwise="fine"),
        lambda tracer: tracer.session(task=1, policy_version="3").begin(),
        lambda tracer: tracer.session(task=1).count(tokens=None),
        lambda tracer: tracer.session(task=1).finish_version(0.5),
        lambda tracer: tracer.resume_session("a string"),
        lambda tracer: tracer.resume_session({"session": "0-1", "started_ns": 0.5}),
    ],
)
def test_programming_errors_raise_as_well_while_sessions_are_off(
    wrong: Callable[[SessionTracer], Any],
) -> None:
    """So that no program fails only when it is traced; under SIGHTLINE_DISABLED=1 nothing does anything."""
    tracer = SessionTracer(enabled=True)
    with pytest.raises(sl.RecordError):
        wrong(tracer)
    tracer._turn(False)
    with pytest.raises(sl.RecordError):
        wrong(tracer)
    wrong(SessionTracer(enabled=False))


@pytest.mark.parametrize("kind", [np.int64, np.uint64, float, np.float64, np.array])
def test_a_carrier_may_come_through_arrays_and_tables(kind: Any, recorder: Recorder) -> None:
    with recorder.tracer.session(task=7, policy_version=kind(3)) as session:
        carrier = session.carrier()
    assert carrier["policy_version"] == 3
    numbers = {key: kind(value) for key, value in carrier.items() if type(value) is int}
    assert len(numbers) == 4
    with recorder.tracer.resume_session({**carrier, **numbers}) as part:
        part.count(tokens=kind(12))
        part.finish_version(kind(5))
        part.accept()
    record = recorder.record(session)
    assert (record.status, record.task, record.staleness, record.counters) == (
        "accepted",
        7,
        2,
        {"tokens": 12},
    )
    missing = {**carrier, "policy_version": float("nan")}
    assert recorder.tracer.resume_session(missing).policy_version is None
    with recorder.tracer.resume_session(float("nan")) as nothing:  # type: ignore[arg-type] # a row without one
        nothing.accept()


def test_numbers_on_devices_are_taken_when_they_are_there(recorder: Recorder) -> None:
    """No session waits for them; those that are not there at its end are counted as lost."""
    over = threading.Event()

    def wait(x: Any) -> Any:
        over.wait(60)
        return np.float32(7)

    slow = Callback(wait)()
    with recorder.tracer.session(task="late", policy_version=slow) as session:
        session.count(tokens=slow)
        session.count(tokens=1)
        assert "policy_version" not in session.carrier()
        over.set()
        slow.block_until_ready()
        session.finish_version(jnp.int32(9))
        session.accept()
    record = recorder.record(session)
    assert (record.policy_version, record.staleness, record.counters) == (7, 2, {"tokens": 8})
    over.clear()
    with recorder.tracer.session(task="never", policy_version=(slow := Callback(wait)())) as session:
        session.count(tokens=slow)
        session.accept()
    record = recorder.record(session)
    over.set()
    assert (record.policy_version, record.staleness, record.counters) == (None, None, {})
    assert record.lost == {"versions": 1, "counters": 1}


def enter_again(block: Any) -> None:
    with block, block:
        pass
