"""What the processes of the tests of traces do.

``CLOCK`` in the environment sets this process's clocks wrong: by how many ns the one of spans is ahead, by
how many ppm it is too fast, and by how many ns the time of day is ahead.
"""

from __future__ import annotations

import os
import time

true_ns = time.perf_counter_ns
if "CLOCK" in os.environ:
    _shift, _ppm, _day = map(int, os.environ["CLOCK"].split(","))
    _true_time_ns = time.time_ns
    time.perf_counter_ns = lambda: (now := true_ns()) + _shift + now * _ppm // 1_000_000
    time.time_ns = lambda: _true_time_ns() + _day

import asyncio  # noqa: E402
import threading  # noqa: E402
from pathlib import Path  # noqa: E402

import sightline as sl  # noqa: E402
import sightline.tracing.trace_writer  # noqa: E402
from sightline.config import PerfTracerConfig  # noqa: E402
from sightline.posting.clock_sync import ClockSync  # noqa: E402
from tests.multiprocess.workers.common import RANK, connect, main, note, settings  # noqa: E402


def endless(*, segment_mb: float = 0.05) -> None:
    """Spans of two threads and of asyncio tasks, each with a number; arrows; counters; until it is killed."""
    connect_if_told()
    sightline.tracing.trace_writer._BEGUN_AFTER_NS = 1_000_000  # so that many stand there as begun
    run = sl.start(
        logger=settings(name="run", resume="allow"), tracing=PerfTracerConfig(segment_mb=segment_mb)
    )
    numbers = iter(range(10**9))

    async def task(kind: str) -> None:
        with sl.trace_scope(kind, n=next(numbers)) as span:
            flow = span.flow_out()
            await asyncio.sleep(0.002)
            with sl.trace_scope(f"{kind} inner", n=next(numbers)) as inner:
                inner.flow_in(flow)
                await asyncio.sleep(0.001)

    async def tasks() -> None:
        while True:
            await asyncio.gather(*(task(f"task {i}") for i in range(4)))

    threading.Thread(target=asyncio.run, args=(tasks(),), daemon=True).start()
    note("started", run.logger.attempt)
    for step in run.steps(10**9):
        with sl.trace_scope("outer", n=next(numbers), text='"}},\n{[' * 20) as outer:
            flow = outer.flow_out()
            for _ in range(20):
                with sl.trace_scope("inner", n=next(numbers)):
                    time.sleep(0.0002)
            with sl.trace_scope("receive", n=next(numbers)) as span:
                span.flow_in(flow)
        sl.counter("queue", step)
        run.commit(step)


def connect_if_told() -> None:
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        connect()


def ordered(*, steps: int) -> None:
    """Two processes under `sightline launch`: the root sends each step's arrow, the other waits for it.

    The other one's step ends last, so the root's part of it is what the step waits for.
    """
    connect()
    with sl.start("runs", name="run", sinks=[], naming="off", role=("trainer", "rollout")[RANK]) as run:
        for step in run.steps(steps):
            if RANK == 0:
                tell(f"ended.{step - 1}")
                with sl.trace_scope("send") as span:
                    with sl.trace_scope("pack"):
                        wait_for(f"waits.{step}")
                        time.sleep(0.002)
                    tell(f"arrow.{step}", str(span.flow_out()))
            else:
                with sl.trace_scope("receive") as span:
                    with sl.trace_scope("prepare"):
                        pass
                    tell(f"waits.{step}")
                    span.flow_in(int(wait_for(f"arrow.{step}")))
                    time.sleep(0.002)
            with sl.trace_scope("work", category="compute", step_again=step):
                sl.scalar("train/loss", step)
            run.commit(step)
            if RANK:
                wait_for(f"ended.{step}")
        tell(f"ended.{steps - 1}")


def tell(name: str, text: str = "") -> None:
    part = Path(f"{name}.{RANK}.part")
    part.write_text(text)
    part.rename(name)


def wait_for(name: str) -> str:
    while not Path(name).exists():
        time.sleep(0.001)
    return Path(name).read_text()


def compared() -> None:
    """Marks moments with the true time, and compares clocks, until it is told to end."""
    connect()
    ClockSync.__init__.__kwdefaults__["pause_s"] = 0.4
    run = sl.start(logger=settings(name="run"))
    while not Path("end").exists():
        sl.instant("moment", true_ns=true_ns())
        time.sleep(0.01)
    note("finished", run.finish())


if __name__ == "__main__":
    main(globals())
