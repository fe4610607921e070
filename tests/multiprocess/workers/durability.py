"""What the processes of the tests of durability do."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sightline as sl
from tests.multiprocess.workers.common import (
    LONG_S,
    RANK,
    Commits,
    connect,
    main,
    note,
    settings,
)


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
    main(globals())
