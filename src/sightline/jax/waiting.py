"""Times that end when a device is done: a thread that looks, so that nobody has to wait."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sightline.errors import RecordError
from sightline.host_values import no_collector_error, where_are
from sightline.jax.programs import copies, launch
from sightline.records import Records

_PAUSE_S = (0.0002, 0.05)  # between two looks, at least and at most
_SHARE = 1 / 200  # of the time so far


# Its output is ready when its inputs are, though it does not read them: so `keep_unused`.
@partial(jax.jit, keep_unused=True)
def sightline_token(*arrays: jax.Array) -> jax.Array:
    return jnp.zeros((), bool)


def tokens(values: Any) -> list[Any]:
    """For each device with a part of some values, an array that is ready when these parts are.

    The values themselves may be deleted, or donated to the next step, and could not be asked any more.
    """
    leaves = jax.tree.leaves(values)
    if where_are([leaves]) == "tracer":
        raise no_collector_error("until", "")
    shards: dict[Any, list[Any]] = {}
    for leaf in leaves:
        if isinstance(leaf, jax.Array):
            if leaf.is_deleted():
                raise RecordError(
                    "until(…): an array has been deleted, or donated to a jitted function. Call it before"
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
    """A time from a start until some tokens are ready, and not before the end of the block.

    Attributes:
        key: of the timing, once that is known.
    """

    __slots__ = ("_ended_ns", "_ns", "_start_ns", "_tokens", "key")

    def __init__(self, start_ns: int, ended_ns: int, tokens: Sequence[Any]) -> None:
        self.key = ""
        self._start_ns = start_ns
        self._ended_ns = ended_ns
        self._tokens = tokens
        self._ns: int | None = None
        _waiter().watch(self)

    @property
    def keys(self) -> list[str]:
        return [self.key]

    @property
    def seconds(self) -> float:
        """NaN until it is known."""
        return math.nan if self._ns is None else self._ns / 1e9

    def elapsed_s(self) -> float:
        return (time.perf_counter_ns() - self._start_ns) / 1e9

    def look(self) -> bool:
        """Stamps the time if the tokens are ready; the waiter's call."""
        now = time.perf_counter_ns()
        if all(token.is_ready() for token in self._tokens):
            self._ns = max(now, self._ended_ns) - self._start_ns
            self._tokens = ()
        return self._ns is not None

    def ready(self) -> bool:
        return self._ns is not None

    def settle(self, records: Records) -> None:
        records.add_numbers(self.key, self.seconds)


class _Waiter:
    """One thread that looks at all times that are running, the more often the younger they are."""

    def __init__(self) -> None:
        self._running: list[DeviceTime] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="sightline-waiter", daemon=True).start()

    def watch(self, timing: DeviceTime) -> None:
        with self._changed:
            self._running.append(timing)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._running)
                running = list(self._running)
            done = [each for each in running if each.look()]
            with self._changed:
                self._running = [each for each in self._running if each not in done]
                youngest = min((each.elapsed_s() for each in self._running), default=0.0)
            if youngest:
                time.sleep(min(max(youngest * _SHARE, _PAUSE_S[0]), _PAUSE_S[1]))


_running: _Waiter | None = None
_lock = threading.Lock()


def _waiter() -> _Waiter:
    global _running
    with _lock:
        if _running is None:
            _running = _Waiter()
        return _running


def _after_fork_in_child() -> None:
    global _running, _lock
    _running, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
