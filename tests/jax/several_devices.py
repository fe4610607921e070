"""What tests of device values share: processes with several devices, and devices that are busy, fail or hang.

A process has as many CPU devices as it started with, and that of the tests has one. A test module lists the
functions that need more, ends with ``report(…)`` under ``__main__``, and checks each in a test of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


class Busy:
    """Work of a known length on one device, which no compilation interrupts.

    Attributes:
        least_s: how long it takes, at the very least.
    """

    def __init__(self, seconds: float, device: Any = None) -> None:
        self.device = device or jax.local_devices()[0]
        self._start = jax.device_put(np.full((64, 64), 0.5, np.float32), self.device)

        def work(rounds: Any, x: Any) -> Any:
            y = jax.lax.fori_loop(0, rounds, lambda i, y: jnp.abs(jnp.sin(y)), x)
            return jnp.where(y > 9, y, x)  # what it gives is known, however long it takes

        self._work = jax.jit(work)
        self._scalar = jax.jit(lambda x: x[0, 0] + 1)
        rounds = 1000
        self.scalar(self(rounds))
        while (took := self._time(rounds)) < 0.1:
            rounds *= 2
        took = min(took, self._time(rounds), self._time(rounds))
        self.rounds = jax.device_put(np.int32(rounds * seconds / took), self.device)
        self.least_s = 0.3 * seconds

    def _time(self, rounds: int) -> float:
        begin = time.perf_counter()
        self(rounds).block_until_ready()
        return time.perf_counter() - begin

    def __call__(self, rounds: int | None = None) -> Any:
        """A ``(64, 64)`` of 0.5, when it is there."""
        given = self.rounds if rounds is None else jax.device_put(np.int32(rounds), self.device)
        return self._work(given, self._start)

    def scalar(self, x: Any) -> Any:
        """1.5, made of such an array."""
        return self._scalar(x)


class Callback:
    """A number that a device gets from a Python function.

    On a CPU what is ready is called on the caller's thread, so its input is half a second of work.
    """

    def __init__(self, function: Callable[[Any], Any], device: Any = None) -> None:
        self._busy = Busy(0.5, device)
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        x = self._busy.scalar(self._busy(1)).block_until_ready()
        self._call = jax.jit(lambda x: jax.pure_callback(function, shape, x)).lower(x).compile()

    def __call__(self) -> Any:
        return self._call(self._busy.scalar(self._busy()))


class Hung:
    """A function that does not return until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, _: Any) -> Any:
        self.over.wait(300)
        return np.float32(0)
