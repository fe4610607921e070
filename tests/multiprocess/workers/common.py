"""What the workers of all multi-process tests share.

A worker is a function of a module of this package: ``python MODULE.py FUNCTION JSON-ARGUMENTS``, in a
directory that is the process's own disk. What a test needs to know comes back as lines of ``<name>.jsonl``
there (``note``); what it allows next, as files (``wait_for``).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.config import StatsLoggerConfig

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


def transport_of(name: str) -> sl.Transport:
    from sightline.transports import connect

    return connect(name)  # type: ignore[arg-type]


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


def main(functions: Mapping[str, Any]) -> None:
    """Does what the command line says, by a function of a module or one of these."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    {**globals(), **functions}[sys.argv[1]](**json.loads(sys.argv[2]))
