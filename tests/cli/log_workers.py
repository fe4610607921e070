"""What the processes of the tests of logs and collecting do, as in ``tests/multiprocess/workers``.

``CLOCK`` in the environment sets this process's clocks wrong: by how many ns the steady one is ahead, by how
many ppm both are too fast, and by how many ns the time of day is ahead.
"""

from __future__ import annotations

import os
import time

if "CLOCK" in os.environ:
    _shift, _ppm, _day = map(int, os.environ["CLOCK"].split(","))
    _perf, _time, _begin = time.perf_counter_ns, time.time_ns, time.perf_counter_ns()
    time.perf_counter_ns = lambda: (now := _perf()) + _shift + (now - _begin) * _ppm // 1_000_000
    time.time_ns = lambda: _time() + _day + (_perf() - _begin) * _ppm // 1_000_000
    time.time = lambda: time.time_ns() / 1e9

from pathlib import Path
from typing import Any

import sightline as sl
from sightline.posting.clock_sync import ClockSync
from sightline.text_logging.config import TextLoggingConfig
from tests.multiprocess.workers.common import RANK, connect, main, note, settings, wait_for

log = sl.get_logger("talk")


def begin(**given: Any) -> sl.Run:
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        connect()
    logs = TextLoggingConfig(segment_bytes=given.pop("segment_bytes", 64 << 20), console_processes="99")
    return sl.start(logger=settings(name="run", logging=logs, **given))


def turns(*, turns: int, shared: str) -> None:
    """The processes speak by turns, each when it has seen a file of the other's: their order is true."""
    ClockSync.__init__.__kwdefaults__["pause_s"] = 0.2
    run = begin()
    if RANK:
        deadline = time.monotonic() + 60
        while not any(b"offset_ns" in path.read_bytes() for path in Path("runs/run/logs").glob("*.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        Path(shared, "compared").touch()
    wait_for(f"{shared}/compared")
    for turn in range(turns):
        if turn % 2 == RANK:
            wait_for(f"{shared}/{turn - 1}") if turn else None
            log.info("turn %d", turn)
            time.sleep(0.002)  # more than what clocks leave open
            Path(shared, str(turn)).touch()
    run.commit(0)
    note("finished", run.finish())


def talk(*, lines: int, pause_s: float = 0.0, **given: Any) -> None:
    """Says numbered lines, and commits."""
    with begin(**given) as run:
        for step in run.steps(lines):
            log.info("line %d", step)
            run.commit(step)
            time.sleep(pause_s)
        note("said", lines)


def endless(**given: Any) -> None:
    """Says numbered lines until it is killed."""
    run = begin(resume="allow", **given)
    note("started", run.logger.attempt)
    for number in range(10**9):
        log.info("line %d %s", number, "x" * 100)
        time.sleep(0.0005)


def crash() -> None:
    """Ends by an exception in its second step."""
    with begin() as run:
        for step in run.steps(2):
            log.info("step %d", step)
            run.commit(step)
        raise ValueError("no more data")


def fork(*, to: str) -> None:
    """Has a child that ends while the parent uploads."""
    with begin(upload_to=to, segment_bytes=2000) as run:
        for step in run.steps(20):
            log.info("line %d", step)
            run.commit(step)
            run.flush()
            if step == 10 and os.fork() == 0:
                run.finish()
                os._exit(0)
        os.wait()


if __name__ == "__main__":
    main(globals())
