"""Times that end when a device is done: a thread that looks for that, so that nobody has to wait."""

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

_PAUSE_S = (0.002, 0.05)  # between two looks, at least and at most: each takes the interpreter's lock
_SHARE = 0.01  # of the time so far
_SMALL = 1 << 16  # bytes that are copied rather than have a program compiled for each device


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
                    f"{call}(…): an array has been deleted, or donated to a jitted function. "
                    f"Call it before that"
                )
            for shard in leaf.addressable_shards:
                shards.setdefault(shard.device, []).append(shard.data)
    found: list[jax.Array] = []
    for parts in shards.values():
        launched = None
        if len(shards) == 1 or sum(part.nbytes for part in parts) > _SMALL:
            launched = launch(sightline_token, [[part] for part in parts], None)
        # Without a program: copies, which are ready when what they copy is.
        found += launched if launched is not None else copies([p for p in parts if not p.is_ready()])
    return found


class DeviceTime:
    """A time that a device ends, and may begin.

    It begins with the block, or when the tokens of ``since`` are ready, if that is later; it ends with the
    block, or when those of ``until`` are ready, if that is later.

    Attributes:
        key: of the timing, once that is known.
        started_ns: when the block began.
    """

    __slots__ = ("_begins_ns", "_ended_ns", "_ns", "_since", "_until", "key", "started_ns")

    def __init__(self, start_ns: int, ended_ns: int, since: Sequence[Any], until: Sequence[Any]) -> None:
        self.key = ""
        self.started_ns = start_ns
        self._ended_ns = ended_ns
        self._since = since
        self._until = until
        self._begins_ns: int | None = None
        self._ns: int | None = None
        _waiter().watch(self)

    @property
    def keys(self) -> list[str]:
        return [self.key]

    @property
    def seconds(self) -> float:
        """NaN until it is known."""
        return math.nan if self._ns is None else self._ns / 1e9

    def look(self) -> bool:
        """Takes the time if all tokens are ready; returns whether they are. The waiter's call."""
        now = time.perf_counter_ns()
        if self._begins_ns is None and _are_ready(self._since):
            self._begins_ns = max(now, self.started_ns) if self._since else self.started_ns
        if self._begins_ns is None or not _are_ready(self._until):
            return False
        self._ns = max((max(now, self._ended_ns) if self._until else self._ended_ns) - self._begins_ns, 0)
        self._since = self._until = ()
        return True

    def ready(self) -> bool:
        return self._ns is not None

    def settle(self, records: Records) -> None:
        records.add_numbers(self.key, self.seconds)


def _are_ready(tokens: Sequence[Any]) -> bool:
    try:
        return all(token.is_ready() for token in tokens)
    except Exception:  # noqa: BLE001 - a computation that failed is over
        return True


class _Waiter:
    """One thread that looks at all times that are running, the more often the younger they are.

    It looks and does not wait in JAX: a thread that is in JAX's C++ when the interpreter ends aborts it.
    """

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
            over = {id(each) for each in running if each.look()}
            with self._changed:
                self._running = [each for each in self._running if id(each) not in over]
                newest_ns = max((each.started_ns for each in self._running), default=0)
            if newest_ns:
                elapsed_s = (time.perf_counter_ns() - newest_ns) / 1e9
                time.sleep(min(max(elapsed_s * _SHARE, _PAUSE_S[0]), _PAUSE_S[1]))


_running: _Waiter | None = None
_lock = threading.RLock()


def _waiter() -> _Waiter:
    global _running
    with _lock:
        if _running is None:
            _running = _Waiter()
        return _running


def _after_fork_in_child() -> None:
    global _running, _lock
    _running, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
