"""What the processes of the tests of text logs do."""

from __future__ import annotations

import logging
import subprocess

import sightline as sl
from tests.multiprocess.workers.common import RANK, connect, main, note, wait_for


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


if __name__ == "__main__":
    main(globals())
