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
from sightline.jax.programs import copies, is_there, launch
from sightline.recording.records import Records
from sightline.recording.step import active_step
from sightline.tracing.perf_tracer import TRACER
from sightline.values.host_values import no_collector_error, where_are

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
        found += launched if launched is not None else copies([p for p in parts if not is_there(p)])
    return found


class Moment:
    """When some values have been computed; looked for from now on.

    Args:
        call: its name, for messages.
        values: see :func:`tokens`.

    Attributes:
        asked_ns: when that was asked.
        ns: when they were there; None until then.
    """

    __slots__ = ("_tokens", "asked_ns", "ns")

    def __init__(self, call: str, values: Any) -> None:
        self._tokens: Sequence[Any] = tokens(call, values)
        self.asked_ns = time.perf_counter_ns()
        self.ns: int | None = None
        if not self.look():
            _waiter().watch(self)

    def look(self) -> bool:
        """Whether they are there."""
        try:
            are_there = all(is_there(token) for token in self._tokens)
        except Exception:  # noqa: BLE001 - a computation that failed is over
            are_there = True
        if are_there:
            self.ns = time.perf_counter_ns()
            self._tokens = ()
        return are_there


class DeviceTime:
    """A time that a device ends, and may begin.

    It begins with the block, or at the latest of the moments ``since``, if that is later; it ends with the
    block, or at the latest of the moments ``until``, if that is later.

    Attributes:
        key: of the timing, once that is known.
    """

    __slots__ = ("_ended_ns", "_name", "_since", "_start_ns", "_step", "_until", "key")

    def __init__(
        self, name: str, start_ns: int, ended_ns: int, since: Sequence[Moment], until: Sequence[Moment]
    ) -> None:
        self.key = ""
        self._name = name
        self._step = active_step()
        self._start_ns = start_ns
        self._ended_ns = ended_ns
        self._since = since
        self._until = until

    @property
    def keys(self) -> list[str]:
        return [self.key]

    @property
    def seconds(self) -> float:
        """NaN until it is known."""
        begins, ends = _latest(self._start_ns, self._since), _latest(self._ended_ns, self._until)
        return max(ends - begins, 0.0) / 1e9

    def ready(self) -> bool:
        return not math.isnan(self.seconds)

    def settle(self, records: Records) -> None:
        records.add_numbers(self.key, self.seconds)
        begins, ends = _latest(self._start_ns, self._since), _latest(self._ended_ns, self._until)
        if ends > begins:
            start, end = int(begins), int(ends)
            TRACER.add_span(self._name, start, end, lane=True, step=self._step, category="device")


def _latest(block_ns: int, moments: Sequence[Moment]) -> float:
    """The latest of some moments, or of the block's; NaN if one is still to come."""
    times = [moment.ns for moment in moments]
    return math.nan if None in times else max([block_ns, *(ns for ns in times if ns is not None)])


class _Waiter:
    """One thread that looks for all moments to come, the more often the newer they are.

    It looks and does not wait in JAX: a thread that is in JAX's C++ when the interpreter ends aborts it.
    """

    def __init__(self) -> None:
        self._coming: list[Moment] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="sightline-waiter", daemon=True).start()

    def watch(self, moment: Moment) -> None:
        with self._changed:
            self._coming.append(moment)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._coming)
                coming = list(self._coming)
            come = {id(moment) for moment in coming if moment.look()}
            with self._changed:
                self._coming = [moment for moment in self._coming if id(moment) not in come]
                newest_ns = max((moment.asked_ns for moment in self._coming), default=0)
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
