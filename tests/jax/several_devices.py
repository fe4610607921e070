"""Test functions that need several devices, run together in one process that has them.

A process has as many CPU devices as it started with, and that of the tests has one. A test module lists such
functions, ends with ``report(…)`` under ``__main__``, and checks each in a test of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from sightline.jax.budget import PROGRAMS


def said_by(module: str, devices: int) -> dict[str, str]:
    """What each function of a module said in a process of some devices, "" if nothing."""
    env = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=Path(__file__).parent.parent.parent, env=env, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return said


def report(functions: Sequence[Callable[[], None]]) -> None:
    """Runs each, and prints what they said."""
    warnings.simplefilter("error")
    said = {}
    for each in functions:
        try:
            each()
            said[each.__name__] = ""
        except BaseException:  # noqa: BLE001 - also what pytest raises
            said[each.__name__] = traceback.format_exc()
    print(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)  # JAX would wait for devices that hang


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The threads on which XLA compiles something."""
    threads: list[str] = []

    def listen(name: str, seconds: float, **_: Any) -> None:
        if name == "/jax/core/compile/backend_compile_duration":
            threads.append(threading.current_thread().name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield threads
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@contextmanager
def at_most(programs: int) -> Iterator[None]:
    """Allows so many programs, none of which have been compiled."""
    before = PROGRAMS.max_programs, PROGRAMS._known, PROGRAMS._full
    PROGRAMS.max_programs, PROGRAMS._known, PROGRAMS._full = programs, set(), False
    try:
        yield
    finally:
        PROGRAMS.max_programs, PROGRAMS._known, PROGRAMS._full = before
