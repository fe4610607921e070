"""What the processes of the multi-process tests do: one function per scenario, by test file; run as a script.

``python workers.py FUNCTION JSON-ARGUMENTS``, in a directory that is the process's own disk. What a test
needs to know comes back as lines of ``<name>.jsonl`` there (``note``); what it allows next, as files
(``wait_for``).
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sightline as sl
from sightline import stall
from sightline.config import StatsLoggerConfig
from sightline.text_logging.config import TextLoggingConfig

RANK = int(os.environ.get("JAX_PROCESS_ID", "0"))
LONG_S = 600.0  # a time-out that must not be what ends a wait


def note(name: str, value: Any) -> None:
    """Appends a line that is with the kernel when this returns."""
    file = os.open(f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, json.dumps(value).encode() + b"\n")
    os.close(file)


def wait_for(name: str) -> None:
    """Until the test says so; the process itself does not outlive a test that does not."""
    end = time.monotonic() + LONG_S
    while not Path(name).exists():
        assert time.monotonic() < end, name
        time.sleep(0.01)


def connect(*, recoverable: bool = False, **options: Any) -> None:
    """Joins the JAX job that the environment describes."""
    import jax

    import sightline.jax

    if recoverable:
        jax.config.update("jax_enable_recoverability", True)
    assert sightline.jax.initialize(heartbeat_timeout_seconds=100, **options)


def settings(**given: Any) -> StatsLoggerConfig:
    return StatsLoggerConfig(
        **{
            "deadline_s": LONG_S,
            "first_deadline_s": LONG_S,
            "log_dir": "runs",
            "sinks": [],
            "naming": "off",
            **given,
        }
    )


def backends_are_up() -> bool:
    from jax._src import xla_bridge

    return bool(xla_bridge.backends_are_initialized())


class Commits:
    """Commits one unique amount a step, notes what it sent, and how long the caller was held."""

    def __init__(self, run: sl.Run) -> None:
        self.run = run
        self.longest_s = 0.0

    def __call__(self, step: int) -> None:
        amount = 1000 * step + RANK
        sl.total(f"sent/{RANK}", amount)
        sl.total(everyone=amount)
        note("sent", [step, amount])
        begin = time.perf_counter()
        self.run.commit(step)
        self.longest_s = max(self.longest_s, time.perf_counter() - begin)


def _transport(name: str) -> sl.Transport:
    from sightline.transports import connect

    return connect(name)  # type: ignore[arg-type]


# --- merging -----------------------------------------------------------------------------------------------


def rewards(process: int, step: int) -> np.ndarray[Any, Any]:
    """What a process records at a step: of different length everywhere, far from zero, and for some none."""
    size = 0 if (process + step) % 5 == 4 else 3 + 2 * process + step
    return np.random.default_rng([process, step]).normal(1e6, 1.0, size)


BIG = 2**53  # an amount whose neighbours float64 cannot hold


def merge(*, steps: int, skips: Mapping[str, Sequence[int]], transport: str = "auto") -> None:
    """Trains and evaluates with every reduction, skips steps, commits on the root alone, and simply ends."""
    connect()
    run = sl.start(logger=settings(), transport=None if transport == "auto" else _transport(transport))
    for step in run.steps(steps):
        if step in skips.get(str(RANK), ()):
            continue
        if RANK == 0:
            run.commit(step, {"root/before": step})
        with sl.scope("train"):
            _record(step)
        run.commit(step)
        if step % 2 == 0:
            with sl.scope("eval"):
                for value in rewards(RANK, step):
                    sl.scalar(accuracy=value)
            run.commit(step)
        if RANK == 0 and transport == "auto":
            sl.last("root/step", step)
            run.commit(step)
    note("backends", backends_are_up())


def diverges(*, process: int, step: int, steps: int) -> None:
    """One process's loss is NaN from a step on; histograms are recorded by all."""
    connect()
    run = sl.start(logger=settings())
    for current in run.steps(steps):
        with sl.scope("train"):
            sl.scalar(loss=float("nan") if process == RANK and current >= step else 1.0)
            sl.histogram("reward", rewards(RANK, current), bins=16)
        run.commit(current)


def _record(step: int) -> None:
    values = rewards(RANK, step)
    sl.summary("reward", values, emit=("mean", "std", "min", "max", "sum", "count"))
    sl.masked("kept", values, values > 1e6, emit=("mean",))
    for value in values:
        sl.scalar(f"only/{RANK}", value)
        sl.scalar(loss=value)
    sl.total(tokens=BIG + RANK)
    sl.total("documents", 7, replicated=True)
    sl.ratio("solved", int((values > 1e6).sum()), values.size)
    sl.last(version=10 * step + RANK)
    sl.text(split=f"from {RANK}")
    sl.scalar("shard", RANK + 0.5, per_process=True)
    with sl.record_timing("rollout") as timing:
        time.sleep(0.002 * (RANK + 1))
    note("rollout_s", timing.seconds)


def names_keys_oddly(*, naming: Any) -> None:
    """Each process by itself, and all alike; what a commit raises is noted."""
    connect()
    logging.basicConfig(format="%(message)s")
    with sl.start(logger=settings(), naming=naming) as run:
        for step in run.steps(3):
            sl.scalar("train/loss", 1.0)
            sl.scalar("everyone", 1.0)
            if RANK == 1:
                sl.scalar("only_one", 1.0)
            try:
                run.commit(step)
            except sl.RecordError as error:
                note("raised", str(error))


def two_unnamed_trackers() -> None:
    """Two trackers made without a name export in turn, under steps that NumPy's numbers give."""
    connect()
    losses, accuracies = sl.StatsTracker(), sl.StatsTracker()
    for step in np.arange(3):
        with sl.step(step):
            losses.scalar(loss=float(step))
            accuracies.scalar(accuracy=10.0 + step)
            note("exported", [losses.export(timeout=LONG_S), accuracies.export(timeout=LONG_S)])


def two_calls(
    *,
    steps: int,
    reduce: str = "process",
    skip: Mapping[str, Sequence[int]] | None = None,
    active: bool = False,
    hang: Sequence[int] = (),
    timeout: float = LONG_S,
) -> None:
    """``logger.commit(step, tracker.export())`` by hand, without ``sl.start``."""
    connect()
    tracker = sl.StatsTracker("mine")
    logger = sl.StatsLogger(settings(name="run"), tracker=tracker)
    for step in range(steps):
        if step in (skip or {}).get(str(RANK), ()):
            continue
        if RANK in hang and step == 1:
            wait_for("go")
        for value in rewards(RANK, step):
            tracker.scalar(loss=value)
        tracker.total(tokens=BIG + RANK)
        tracker.text(split="train")
        if active:
            with sl.step(step):
                stats = tracker.export(reduce=reduce, timeout=timeout)  # type: ignore[arg-type]
        else:
            stats = tracker.export(reduce=reduce, timeout=timeout)  # type: ignore[arg-type]
        note("exported", [step, stats])
        logger.commit(step, stats)
    logger.finish()


# --- samples -----------------------------------------------------------------------------------------------


def samples(*, steps: int, rows: int) -> None:
    """Rows with rewards that no other process has, and long completions."""
    connect()
    with sl.start(logger=settings()) as run:
        for step in run.steps(steps):
            numbers = range(step * rows, (step + 1) * rows)
            with sl.scope("train"):
                sl.sample(
                    "rollouts",
                    n=list(numbers),
                    prompt=f"prompt of step {step}",
                    completion=[chr(ord("a") + n % 26) * 10_000 for n in numbers],
                    reward=[((n * 7919) % 1000) + RANK / 10 for n in numbers],
                )
            sl.scalar(loss=0.5)
            run.commit(step)


# --- faults ------------------------------------------------------------------------------------------------


def steady(
    *,
    deadline_s: float = LONG_S,
    recoverable: bool = False,
    pace_s: float = 0.05,
    queue_size: int = 64,
    finish_s: float = LONG_S,
    first: int = 0,
    began: float | None = None,
) -> None:
    """Commits until it is told to end. From step 5 on at the pace of the clock, as all others: who has been
    stopped catches up. Until then it waits for the word to go on.

    Args:
        first: the first step of a process that takes the place of one that has died.
        began: when the others were told to go on.
    """
    connect(recoverable=recoverable)
    options = {"deadline_s": deadline_s, "queue_size": queue_size, "finish_timeout_s": finish_s}
    with sl.start(logger=settings(**options)) as run:
        commit = Commits(run)
        step = first
        while not Path("end").exists():
            commit(step)
            step += 1
            if began is None and step == 5:
                wait_for("go")
                began = Path("go").stat().st_mtime
            if began is not None:
                time.sleep(max(0.0, began + (step - 5) * pace_s - time.time()))
        note("longest_commit_s", commit.longest_s)
    if recoverable:
        os._exit(0)  # JAX's own shutdown would wait for the dead


def garbage(*, steps: int) -> None:
    """Process 1 posts what no sightline would, beside its own commits."""
    import struct

    import orjson

    connect()
    run = sl.start(logger=settings(deadline_s=5.0))
    commit = Commits(run)
    for step in range(steps):
        if RANK == 1 and step == 1:
            run.flush(LONG_S)
            from jax._src.distributed import global_state

            from sightline.message import Message
            from sightline.snapshot import Snapshot

            def framed(header: Any, body: bytes = b"") -> bytes:
                encoded = orjson.dumps(header)
                return struct.pack("<I", len(encoded)) + encoded + body

            good = {"kind": "commit", "process": 1, "slot": [step, 0], "wall_s": 0.0, "obs": {}, "note": ""}
            newer = bytearray(Snapshot.empty(1).to_bytes())
            newer[4] = 99
            channel = f"sl/{run.run_id}.{run.logger.attempt}"
            posts = {
                "99.feed.0": Message("commit", 99, (step, 0), snapshot=Snapshot.empty(1)).to_bytes(),
                "1.feed.0": b"",
                "1.feed.1": b"\xff" * 40,
                "1.feed.2": framed(good, b"no snapshot"),
                "1.feed.3": framed(good, bytes(newer)),
                "1.feed.4": framed(good | {"kind": "gossip"}),
                "1.feed.5": framed(good | {"slot": ["a", "b"]}),
                "1.feed.6": framed([1, 2, 3]),
                "1.feed.7": framed(good | {"process": "one"}),
                "not a place": b"?",
                "a.b.c": b"?",
            }
            for key, payload in posts.items():
                global_state.client.key_value_set_bytes(f"{channel}/{key}", payload)
            note("posted", len(posts))
        commit(step)
    run.finish()


def never_ends(*, finish_s: float) -> None:
    """Process 1 commits and then hangs; the root finishes, within its time-out."""
    connect()
    run = sl.start(logger=settings(finish_timeout_s=finish_s))
    sl.total(everyone=1)
    run.commit(0)
    if RANK:
        run.flush(LONG_S)
        wait_for("end")
        os._exit(0)
    note("finished", run.finish())
    note("again", run.finish())
    wait_for("end")
    os._exit(0)


def root_cannot_start(*, resume: str) -> None:
    """The root's log_dir cannot be made, or has nothing to resume."""
    connect()
    if RANK == 0 and resume == "allow":
        Path("runs").touch()
    try:
        run = sl.start(logger=settings(resume=resume))
        run.finish(30)
    except sl.SightlineError as error:
        note("error", [type(error).__name__, str(error)])


class _OddSink:
    """Of another package, and not made well."""

    name = "odd"
    stores_at_close = False

    @property
    def rewind(self) -> str:
        if Path("runs/run/metrics.jsonl").exists():
            raise RuntimeError("odd \ud800")
        return "continue"

    def open(self, run: object) -> None: ...

    def write(self, records: object) -> None: ...

    def close(self) -> None: ...


def root_fails_at_the_start(*, resume: str, why: str) -> None:
    """By a sink, which raises no error of sightline's, or by a part of the process; and then starts again
    under the same name."""
    connect()
    given: dict[str, Any] = {}
    path = os.environ["PATH"]
    if RANK == 0 and why == "sink":
        given["sinks"] = [_OddSink()]
    if RANK == 0 and why == "part":
        os.environ["PATH"] = ""  # where no tee is
        given["logging"] = TextLoggingConfig(capture_output=True)
    try:
        run = sl.start(logger=settings(resume=resume, name="run", **given))
        note("finished", run.finish(30))
    except (RuntimeError, sl.SightlineError) as error:
        note("error", [type(error).__name__, str(error).encode(errors="replace").decode()])
    os.environ["PATH"] = path
    with sl.start(logger=settings(resume=resume, name="run")) as run:
        sl.total(everyone=1)
        run.commit(0)


def introduces_itself(*, steps: int) -> None:
    """A back end is started in the middle of the run, which asks for none."""
    connect()
    with sl.start(name="run", logger=settings()) as run:
        for step in range(steps):
            sl.total(everyone=1)
            if step == steps - 2:
                import jax

                assert not backends_are_up()
                note("devices", [each.device_kind for each in jax.local_devices()])
            if step >= steps - 2 and RANK == 0:
                run.flush()
                note("facts", json.loads((run.wait_dir() / "run.json").read_text()))
            run.commit(step)


def resumes(*, steps: int) -> None:
    """Two processes go on where the journal of the root ends, which process 1 cannot see."""
    connect()
    with sl.start(logger=settings(resume="allow", name="run")) as run:
        note("next_step", [run.next_step, run.logger.attempt])
        for step in run.steps(run.next_step + steps):
            sl.total(everyone=1)
            run.commit(step)


def restarts() -> None:
    """Process 1 makes a second logger after the first: each pairs with the root's of the same number."""
    if RANK == 0:  # a logger of its own, that no other process has
        alone = sl.StatsLogger(
            settings(log_dir="alone"), transport=_transport("local"), tracker=sl.StatsTracker()
        )
        alone.commit(0, {"x": 1})
        alone.finish()
    connect()
    for name in ("first", "second"):
        with sl.start(name=name, logger=settings()) as run:
            sl.total(everyone=1)
            run.commit(0)


def odd_texts(*, steps: int) -> None:
    """Texts as models write them: lone surrogates, which UTF-8 cannot hold."""
    connect()
    with sl.start(logger=settings()) as run:
        for step in range(steps):
            sl.text(completion="half of a pair \ud83d, and \x00")
            sl.total(everyone=1)
            if RANK == 0 and step == 1:
                run.logger.event("odd", value="\udcff")
                run.logger.event("odder", value=object())
            run.commit(step)


# --- stalls ------------------------------------------------------------------------------------------------


def is_late(*, process: int, together: bool, deadline_s: float = LONG_S) -> None:
    """One process stays in ``reward`` at step 8; ``together``: the others wait for it before they commit."""
    stall._AT_LEAST_S = 0.5
    connect()
    with sl.start(logger=settings(deadline_s=deadline_s, monitor_hosts=True)) as run:
        for step in run.steps(12):
            if step == 8 and process == RANK:
                run.flush(LONG_S)  # what is not posted when "in C" begins would be missing too
                with sl.trace_scope("reward", category="compute"):
                    score(step)
            if step == 8 and process != RANK and together:
                with sl.trace_scope("update"):
                    wait_for("go")
            time.sleep(0.05)
            run.commit(step)
        wait_for("end")


def score(step: int) -> None:
    """Where a process stands when it is late, by name."""
    note("late", step)
    if Path("in C").exists():  # holds the interpreter's lock, so that no thread of Python runs
        over: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: over.append(number))
        pause = ctypes.PyDLL(None).pause
        while not over:
            pause()
    wait_for("go")


# --- text logs ---------------------------------------------------------------------------------------------


def talks() -> None:
    """Logs a line a step, on every process, in a program that has no handlers of its own."""
    logging.getLogger().handlers.clear()
    connect()
    with sl.start("runs", sinks=[]) as run:
        note("run", run.run_id if run.is_root else None)
        for step in run.steps(2):
            sl.get_logger("talk").info("hello from %d", run.process)
            run.commit(step)


def prints_early() -> None:
    """Process 1 prints before the root has named the run, and afterwards; so does a child of it."""
    connect()
    if RANK == 0:
        wait_for("go")
    with sl.start("runs", name="run", sinks=[], logging={"capture_output": True}) as run:
        if RANK:
            subprocess.run(["sh", "-c", "echo early from a child"], check=True)
            print("early", flush=True)
            note("printed", run.dir is None)
        run.wait_dir()
        print("late", flush=True)
        run.commit(0, {"x": 1})


# --- start and end -----------------------------------------------------------------------------------------


def tries_to_start(*, resume: str, name: str | None = "run", transport: str = "auto") -> None:
    """Starts a run, notes what came of it, commits one step and ends."""
    begin = time.monotonic()
    try:
        run = sl.start(name=name, logger=settings(resume=resume, transport=transport))
    except sl.SightlineError as error:
        return note("error", [type(error).__name__, str(error)])
    note("started", [run.next_step, run.logger.attempt, time.monotonic() - begin])
    sl.scalar(loss=1.0)
    run.commit(run.next_step)
    run.finish()
    return None


def until_preempted(*, jax_handler: bool) -> None:
    """Commits until SIGTERM; under JAX's own handler until all processes have agreed on a last step."""
    connect()
    from jax.experimental import multihost_utils

    if not jax_handler:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run = sl.start(logger=settings(grace_s=3.0))
    step = 0
    while True:
        sl.total(everyone=1)
        note("sent", step)
        run.commit(step)
        if jax_handler and multihost_utils.reached_preemption_sync_point(step):
            note("sync_point", step)
            break
        step += 1
        time.sleep(0.005)
    run.finish()


def handles_sigterm_itself() -> None:
    """One process with a handler of its own, which must run after sightline's."""

    def mine(number: int, frame: object) -> None:
        note("mine", [r["step"] for r in sl.read_journal(run.dir) if r["type"] == "commit"])
        sys.exit(3)

    signal.signal(signal.SIGTERM, mine)
    run = sl.start(logger=settings())
    step = 0
    while True:
        sl.scalar(loss=1.0)
        run.commit(step)
        note("sent", step)
        step += 1
        time.sleep(0.002)


def ends_in_the_middle_of_calls(*, threads: int) -> None:
    """The main thread ends while others are in the store, waiting and asking."""
    from sightline.jax.distributed import distributed
    from sightline.transports.jax_store import JaxStoreTransport

    connect()
    found = distributed()
    assert found is not None
    transport = JaxStoreTransport(found.client, found.process, found.processes)

    def ask(number: int) -> None:
        while True:
            transport.lookup(f"never/{number}", 60.0 if number % 2 else 0.001)

    for number in range(threads):
        threading.Thread(target=ask, args=(number,), daemon=True).start()
    time.sleep(0.5)
    note("ends", RANK)


# --- durability --------------------------------------------------------------------------------------------


def shows_what_is_committed() -> None:
    """Commits as fast as it can, and notes each step that flush() has said to be safe."""
    connect()
    run = sl.start(logger=settings(queue_size=1 << 16))  # on a busy machine none may be merged into the next
    step = 0
    while True:
        sl.total(amount=step)
        run.commit(step)
        if RANK == 0 and step % 5 == 0 and run.flush(LONG_S):
            note("safe", step)
        step += 1
        if RANK:  # about as fast as the root, without waiting for it
            time.sleep(0.001)


def writes_for_ever(*, resume: str, name: str = "run") -> None:
    """Commits as fast as it can; says which steps are safe."""
    run = sl.start(name=name, logger=settings(resume=resume))
    note("started", [run.next_step, run.logger.attempt])
    step = run.next_step
    while True:
        sl.scalar(loss=step, text_of_some_length=0.123456789)
        run.commit(step)
        step += 1
        if step % 7 == 0:
            run.flush(LONG_S)
            note("safe", step - 1)


def dies_again_and_again(*, times: int, seed: int) -> None:
    """Forks a run, kills it with SIGKILL at a random moment, and goes on with the next attempt.

    Forked, since an interpreter's start would take most of the time. Every second time a grandchild, as a
    data loader might be, outlives the run.
    """
    import random

    chance = random.Random(seed)
    Path("started.jsonl").touch()
    for number in range(times):
        before = Path("started.jsonl").stat().st_size
        child = os.fork()
        if child == 0:
            try:
                _run_to_die(orphan=number % 2 == 0)
            except BaseException as error:
                note("failed", [number, repr(error)])
                raise
            finally:
                os._exit(1)
        if number % 3:  # in the middle of commits; every third death may come within the start
            while Path("started.jsonl").stat().st_size == before and not Path("failed.jsonl").exists():
                time.sleep(0.001)
        time.sleep(chance.expovariate(1 / 0.03))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        note("died", [number, os.waitstatus_to_exitcode(status), Path("runs/run/metrics.jsonl").exists()])
    Path("all_dead").touch()


def _run_to_die(*, orphan: bool) -> None:
    tracker = sl.StatsTracker()
    logger = sl.StatsLogger(settings(name="run", resume="allow"), tracker=tracker)
    note("started", [logger.next_step, logger.attempt])
    if orphan and os.fork() == 0:
        end = time.monotonic() + LONG_S
        while time.monotonic() < end and Path("started.jsonl").exists() and not Path("all_dead").exists():
            time.sleep(0.5)
        os._exit(0)
    step = logger.next_step
    while True:
        tracker.scalar(loss=step, text_of_some_length=0.123456789)
        logger.commit(step)
        step += 1
        if step % 7 == 0:
            logger.flush(LONG_S)
            note("safe", [step - 1, logger.attempt])


def fills_the_disk(*, limit: int) -> None:
    """Commits into a file that may not grow, until the limit is lifted."""
    import resource

    caplog: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: caplog.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("sightline").addHandler(handler)
    run = sl.start(logger=settings())
    step = 0

    def go(steps: int) -> None:
        nonlocal step
        for _ in range(steps):
            sl.scalar(loss=step)
            run.commit(step)
            step += 1

    go(3)
    assert run.flush(LONG_S)
    assert run.dir is not None
    journal = run.dir / "metrics.jsonl"
    size = journal.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + limit, resource.RLIM_INFINITY))
    go(50)
    flushed_when_full = run.flush(2.0)
    full = journal.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    flushed = run.flush(LONG_S)  # without another commit
    go(1)
    finished = run.finish()
    Path("result.jsonl").touch()
    note("result", {
        "size": size, "full": full, "steps": step, "flushed_when_full": flushed_when_full, "flushed": flushed,
        "finished": finished, "said": caplog,
    })  # fmt: skip


class _Sink:
    def __init__(self, name: str, fault: str) -> None:
        self.name = name
        self.fault = fault
        self.steps: list[int] = []

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        if self.fault == "raises":
            raise OSError("the sink's server is down")
        if self.fault == "blocks":
            threading.Event().wait()
        self.steps += [r["step"] for r in records if r["type"] == "commit"]

    def close(self) -> None:
        note("closed", self.name)


def with_bad_sinks(*, steps: int) -> None:
    """One sink raises, one blocks for ever, one works."""
    bad = [_Sink("raising", "raises"), _Sink("blocking", "blocks")]
    good = _Sink("good", "")
    run = sl.start(sinks=[*bad, good], logger=settings(finish_timeout_s=2.0))
    commit = Commits(run)
    for step in range(steps):
        commit(step)
    note("longest_commit_s", commit.longest_s)
    note("finished", run.finish())
    note("good", good.steps)


def fails_inside() -> None:
    """An exception inside the block."""
    with sl.start(logger=settings()) as run:
        sl.scalar(loss=1.0)
        run.commit(0)
        raise RuntimeError("the loss diverged")


def forks() -> None:
    """Children of a run: one ends as a script does, one is terminated, with what the run left in them."""
    run = sl.start(logger=settings())
    stop = threading.Event()

    def busy() -> None:  # locks are often held at the moment of the fork
        for step in range(10**9):
            if stop.is_set():
                return
            sl.scalar(loss=1.0)
            run.commit(step)
            time.sleep(0.0005)

    thread = threading.Thread(target=busy)
    thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            sl.scalar(loss=1e9)  # is nobody's to commit
            run.commit(10**9)
            run.flush(LONG_S)
            sys.exit(7)  # by way of the interpreter's end and its exit hooks
        note("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        child = os.fork()
        if child == 0:
            note("ready", os.getpid())
            while True:
                time.sleep(0.01)
        while not Path("ready.jsonl").exists() or str(child) not in Path("ready.jsonl").read_text():
            time.sleep(0.005)
        os.kill(child, signal.SIGTERM)
        note("terminated", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    thread.join()
    note("finished", run.finish())


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
