"""Times that end when a device is done: threads that wait for that, so that nobody else has to."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

import jax
import jax.numpy as jnp

from sightline.errors import RecordError
from sightline.host_values import no_collector_error, where_are
from sightline.jax.programs import copies, launch
from sightline.records import Records

_THREADS = 4


# Its output is ready when its inputs are, though it does not read them: so `keep_unused`.
@partial(jax.jit, keep_unused=True)
def sightline_token(*arrays: jax.Array) -> jax.Array:
    return jnp.zeros((), bool)


def tokens(call: str, values: Any) -> list[Any]:
    """For each device with a part of some values, an array that is ready when these parts are.

    The values themselves may be deleted, or donated to the next step, and could not be asked any more.
    """
    leaves = jax.tree.leaves(values)
    if where_are([leaves]) == "tracer":
        raise no_collector_error(call, "")
    shards: dict[Any, list[Any]] = {}
    for leaf in leaves:
        if isinstance(leaf, jax.Array):
            if leaf.is_deleted():
                raise RecordError(
                    f"{call}(…): an array has been deleted, or donated to a jitted function. Call it before "
                    f"that"
                )
            for shard in leaf.addressable_shards:
                shards.setdefault(shard.device, []).append(shard.data)
    found: list[jax.Array] = []
    for parts in shards.values():
        launched = launch(sightline_token, [[part] for part in parts], None)
        # Without another program: copies, which are ready when what they copy is.
        found += launched if launched is not None else copies([p for p in parts if not p.is_ready()])
    return found


class DeviceTime:
    """A time that a device ends, and may begin.

    It begins with the block, or when the tokens of ``since`` are ready, if that is later; it ends with the block,
    or when those of ``until`` are ready, if that is later.

    Attributes:
        key: of the timing, once that is known.
    """

    __slots__ = ("_ended_ns", "_ns", "_since", "_start_ns", "_until", "key")

    def __init__(self, start_ns: int, ended_ns: int, since: Sequence[Any], until: Sequence[Any]) -> None:
        self.key = ""
        self._start_ns = start_ns
        self._ended_ns = ended_ns
        self._since = since
        self._until = until
        self._ns: int | None = None
        _waiters().watch(self)

    @property
    def keys(self) -> list[str]:
        return [self.key]

    @property
    def seconds(self) -> float:
        """NaN until it is known, and where the computation failed."""
        return math.nan if self._ns is None else self._ns / 1e9

    def wait(self) -> None:
        """Waits for the devices, and takes the time; a waiter's call."""
        begins = _when_ready(self._since, self._start_ns)
        ends = _when_ready(self._until, self._ended_ns)
        self._since = self._until = ()
        self._ns = max(ends - begins, 0)

    def ready(self) -> bool:
        return self._ns is not None

    def settle(self, records: Records) -> None:
        records.add_numbers(self.key, self.seconds)


def _when_ready(tokens: Sequence[Any], earliest_ns: int) -> int:
    if not tokens:
        return earliest_ns
    with contextlib.suppress(Exception):  # what a computation raises, it raises where it is used
        jax.block_until_ready(tokens)  # type: ignore[no-untyped-call]
    return max(time.perf_counter_ns(), earliest_ns)


class _Waiters:
    """A few threads that wait for times to end, in C++ and without the interpreter's lock.

    More than one, so that a device that hangs holds up no other time.
    """

    def __init__(self) -> None:
        self._times: SimpleQueue[DeviceTime] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def watch(self, timing: DeviceTime) -> None:
        self._times.put(timing)
        with self._lock:
            if self._times.qsize() > self._idle and self._threads < _THREADS:
                self._threads += 1
                threading.Thread(target=self._run, name="sightline-waiter", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            timing = self._times.get()
            with self._lock:
                self._idle -= 1
            timing.wait()


_running: _Waiters | None = None
_lock = threading.Lock()


def _waiters() -> _Waiters:
    global _running
    with _lock:
        if _running is None:
            _running = _Waiters()
        return _running


def _after_fork_in_child() -> None:
    global _running, _lock
    _running, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
