"""What the processes of the tests of stalls do."""

from __future__ import annotations

import ctypes
import signal
import time
from pathlib import Path

import sightline as sl
from sightline.posting import stall
from tests.multiprocess.workers.common import LONG_S, RANK, connect, main, note, settings, wait_for


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


if __name__ == "__main__":
    main(globals())
