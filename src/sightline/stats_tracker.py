"""The record side: :class:`StatsTracker` takes values wherever they arise and hands them over as a snapshot.

A recording call checks its arguments, reduces arrays on the spot, and appends a few floats under a lock that
is held for no longer than that. Draining swaps the store for an empty one, whatever the number of keys; the
rest of the work happens on whoever makes the snapshot.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from sightline import naming
from sightline.aggregates import ROW_LENGTH, Moments, Row, Sketch, exact_sum, moments_row
from sightline.decorating import around
from sightline.errors import RecordError
from sightline.exchange import Exchange
from sightline.host_values import (
    MISSING,
    check_timing_key,
    checked_key,
    checked_quantiles,
    only_finite,
    to_array,
    to_number,
    to_numbers,
    to_numbers_by_key,
    to_string,
)
from sightline.jax.distributed import distributed
from sightline.key_registry import KeyRegistry
from sightline.records import Drained, Records
from sightline.snapshot import Snapshot, Value

if TYPE_CHECKING:
    from sightline.transports.base import Transport

F = TypeVar("F", bound=Callable[..., Any])
NonFinite = Literal["show", "drop"]

DEFAULT_EMIT = ("mean", "std", "min", "max")
_made: dict[str, itertools.count[int]] = {}
_FOLD_AT = 1 << 16  # single records of a key before they are folded into one entry; bounds memory


class StatsTracker:
    """Records statistics under scopes, from any thread and any asyncio task.

    Module-level functions of ``sightline`` (``sl.scalar``, ``sl.scope``, …) act on the process's default
    tracker. Values are host values: Python numbers and NumPy arrays of any float, int or bool dtype, bf16 and
    float8 included; a ``jax.Array`` is converted, which waits for it.

    Args:
        name: names the tracker in :func:`sightline.tracker` and in its exports over processes.
        timing_key: how timings are spelled; ``{key}`` stands for scope and key. ``"timeperf/{key}"`` is the
            spelling of AReaL.
        enabled: False makes every call do nothing. Default: unless ``SIGHTLINE_DISABLED=1`` is set.

    Raises:
        RecordError: from recording calls, for values, masks, keys or reductions that cannot be right.

    Example:
        >>> tracker = StatsTracker()
        >>> with tracker.scope("train"):
        ...     tracker.scalar(loss=0.5)
        ...     tracker.masked("advantage", np.array([[1.0, 3.0], [9.0, 9.0]]), np.array([[1, 1], [0, 0]]))
        >>> stats = tracker.export(reduce="local")
        >>> stats["train/loss"], stats["train/advantage/mean"], stats["train/advantage__count"]
        (0.5, 2.0, 2)
    """

    def __init__(
        self, name: str = "default", *, timing_key: str = naming.TIMING_KEY, enabled: bool | None = None
    ) -> None:
        check_timing_key(timing_key)
        if "/" in checked_key(name):
            raise RecordError(f"tracker name {name!r} has a slash; expected a name without one")
        self.name = name
        self.timing_key = timing_key
        self._enabled: bool = os.environ.get("SIGHTLINE_DISABLED") != "1" if enabled is None else enabled
        self._scope: ContextVar[str] = ContextVar(f"sightline_scope_{name}", default="")
        # Reentrant: a signal handler or a finaliser may record in the middle of a record.
        self._set_lock(threading.RLock())
        self._records = Records()
        self._registry = KeyRegistry()
        self._folding = False
        # Over the processes, the trackers of a name pair in the order in which each process made them.
        self._channel = f"{name}.{next(_made.setdefault(name, itertools.count()))}"
        self._exchange: Exchange | None = None
        self._drained_at = perf_counter_ns()
        _TRACKERS_FOR_FORK.add(self)
        if not self._enabled:
            for call in ("scalar", "total", "last", "ratio", "rate", "summary", "masked", "text"):
                setattr(self, call, _nothing)
            for call in ("scope", "record_timing"):
                setattr(self, call, _off)

    @property
    def enabled(self) -> bool:
        """Whether recording calls record."""
        return self._enabled

    # --- recording -----------------------------------------------------------------------------------------

    def scope(self, name: str) -> Scope:
        """Puts ``name/`` before all keys recorded inside; nests.

        A context manager, and a decorator for functions, coroutines, generators and async generators. The
        scope belongs to the thread or asyncio task that entered it, and does not disturb others.

        Example:
            >>> tracker = StatsTracker()
            >>> with tracker.scope("train"), tracker.scope("actor"):
            ...     tracker.scalar(loss=1.0)
            >>> tracker.export(reduce="local")["train/actor/loss"]
            1.0
        """
        return Scope(self._scope, checked_key(name))

    def scalar(
        self,
        key: str | None = None,
        value: Any = MISSING,
        /,
        *,
        per_process: bool = False,
        nonfinite: NonFinite = "show",
        **kvs: Any,
    ) -> None:
        """Records numbers; ``key`` is exported as the mean over all records of all processes.

        Beside it, ``key__count`` is the number of records. Write ``scalar(loss=0.5, kl=0.1)``, or
        ``scalar("reward/total", 0.5)`` for keys that are no identifiers. A call with several values records
        all of them or, if one is wrong, none.

        Args:
            key, value: one key and its number.
            per_process: keep each process's own mean too, in the journal's ``process_values``.
            nonfinite: ``"drop"`` leaves out NaN and infinities; ``"show"`` lets the mean show them.
            kvs: keys and their numbers: Python or NumPy numbers, or arrays of one element.

        Raises:
            RecordError: not a number, or a key that has another reduction already.
        """
        if key is not None:
            kvs[key] = value
        # Floats of known keys are the usual case, and this the hottest code of the package: a `with`, or a
        # second loop over the values, would cost a quarter more. All the rest is done with care, below.
        # Nothing is called between the look-up of a list and the append to it: a call is where Python runs
        # signal handlers, and one may record, too.
        self._acquire()
        try:
            if not per_process and nonfinite == "show":
                table = self._records.scalars[self._scope.get()]
                if len(kvs) == 1 or _all_plain(kvs, table):
                    for name, number in kvs.items():
                        if number.__class__ is not float:
                            break
                        values = table[name]
                        values.append(number)
                        if len(values) >= _FOLD_AT:
                            self._fold_scalars(name, values)
                    else:
                        return
        except KeyError:  # a scope or a key that is new since the last drain
            pass
        finally:
            self._release()
        self._scalar_with_care(kvs, per_process, nonfinite)

    def total(
        self, key: str | None = None, value: Any = MISSING, /, *, replicated: bool = False, **kvs: Any
    ) -> None:
        """Records amounts; ``key`` is exported as their sum over all records of all processes.

        Sums of ints are exact at any size, sums of floats to a rounding.

        Args:
            key, value: one key and its amount.
            replicated: the amount is global already and every process records it: count it once.
            kvs: keys and their amounts.

        Example:
            >>> tracker = StatsTracker()
            >>> for tokens in (2**53, 1):
            ...     tracker.total(tokens=tokens)
            >>> tracker.export(reduce="local")["tokens"] == 2**53 + 1
            True
        """
        self._record_singles("total", to_numbers_by_key("total", key, value, kvs), replicated=replicated)

    def last(self, key: str | None = None, value: Any = MISSING, /, **kvs: Any) -> None:
        """Records numbers of which only the latest counts (a learning rate, a version).

        Over processes it is the one of the lowest process that recorded the key.
        """
        self._record_singles("last", to_numbers_by_key("last", key, value, kvs), latest=True)

    def ratio(self, key: str, numerator: Any, denominator: Any, *, replicated: bool = False) -> None:
        """Records both parts of a ratio; ``key`` is exported as Σ numerator / Σ denominator.

        The sums are over all records of all processes. Left out while the denominators sum to 0.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.ratio("accuracy", 3, 4), tracker.ratio("accuracy", 0, 4)
            (None, None)
            >>> tracker.export(reduce="local")["accuracy"]
            0.375
        """
        parts = (to_number("ratio", key, numerator), to_number("ratio", key, denominator))
        self._record_singles("ratio", {key: parts}, replicated=replicated)

    def rate(self, key: str, amount: Any, *, over: str | None = None, replicated: bool = False) -> None:
        """Records an amount; exported as ``throughput/<scope>/<key>_per_s``.

        That is the sum over all processes, divided by the wall time between two commits of the root.

        Args:
            key: what is counted, as in ``"tokens"``.
            amount: how much of it.
            over: divide by this timing of the same scope instead (by ``time/<scope>/<over>_s``), so that time
                spent elsewhere, as in evaluation, does not count.
            replicated: the amount is global already and every process records it: count it once.
        """
        scope = self._scope.get()
        full = f"throughput/{naming.join(scope, checked_key(key))}_per_s"
        timing = self._timing_key(scope, checked_key(over)) if over else ""
        number = to_number("rate", key, amount)
        with self._lock:
            self._registry.declare("", full, "rate", over=timing, replicated=replicated)
            self._records.singles.setdefault(full, []).append(number)

    def summary(
        self,
        key: str,
        values: Any,
        *,
        emit: Sequence[str] = DEFAULT_EMIT,
        quantiles: Sequence[float] = (),
        replicated: bool = False,
        nonfinite: NonFinite = "show",
    ) -> None:
        """Records all elements of an array; exported as ``key/mean``, ``/std``, ``/min``, ``/max``.

        The statistics are over all elements of all records of all processes, as NumPy would give them in
        float64 on the concatenated data; ``key__count`` is the number of elements. min and max are over the
        finite ones.

        Args:
            key: the name.
            values: any shape, flattened; a float, int or bool dtype (bf16 and float8 included), or numbers.
            emit: which of mean, std (population), min, max, sum, count.
            quantiles: numbers in [0, 1], exported as ``key/p50`` and so on, within 1 % of the value (see
                :class:`sightline.aggregates.Sketch`).
            replicated: every process records the same global values: count them once.
            nonfinite: ``"drop"`` leaves out NaN and infinities.

        Raises:
            RecordError: a dtype that is no number, an unknown name in ``emit``, a quantile outside [0, 1].
        """
        array_ = to_numbers("summary", key, values)
        self._record_rows("summary", key, array_, emit, quantiles, replicated, nonfinite)

    def masked(
        self,
        key: str,
        values: Any,
        mask: Any,
        *,
        emit: Sequence[str] = DEFAULT_EMIT,
        quantiles: Sequence[float] = (),
        replicated: bool = False,
        nonfinite: NonFinite = "show",
    ) -> None:
        """Records the elements of an array where a mask is true, as :meth:`summary` does.

        An empty mask exports ``key__count`` 0 and no statistics.

        Args:
            key: the name.
            values: any shape, as for :meth:`summary`.
            mask: the same shape; bool, or numbers that are all 0 or 1.
            emit, quantiles, replicated, nonfinite: as for :meth:`summary`.

        Raises:
            RecordError: as :meth:`summary`; a mask of another shape, or with values other than 0 and 1.
        """
        array_ = to_numbers("masked", key, values)
        chosen = to_array("masked", key, mask)
        if chosen.shape != array_.shape:
            raise RecordError(
                f"masked({key!r}): the mask has shape {chosen.shape} and the values {array_.shape}; they "
                f"must be equal. A mask of one axis fewer goes through np.broadcast_to(mask, values.shape)"
            )
        if chosen.dtype != np.bool_:
            as_bool = chosen == 1
            if not np.array_equal(as_bool, chosen != 0):
                other = chosen[(chosen != 0) & (chosen != 1)].tolist()[0]
                raise RecordError(
                    f"masked({key!r}): the mask holds {other!r}; expected bools or 0 and 1. Weights are no "
                    f"mask: use ratio(key, (values * weights).sum(), weights.sum())"
                )
            chosen = as_bool
        self._record_rows("masked", key, array_[chosen], emit, quantiles, replicated, nonfinite)

    def record_timing(self, key: str) -> Timing:
        """Times a block or a function in host time; exported as ``time/<scope>/<key>_s``.

        In each process the times since its last commit add up; exported are their mean over the processes
        and, beside it, ``…_s_max`` and ``…_s_slowest`` (the process that took longest). Recorded on an
        exception too. JAX is asynchronous: a block that only dispatches work measures the dispatch; end it
        with a read of a result, or with ``jax.block_until_ready``, where the work itself is meant.

        A context manager, and a decorator for functions, coroutines, generators and async generators
        (generators are timed from each resumption to the next yield).

        Example:
            >>> tracker = StatsTracker()
            >>> with tracker.scope("train"), tracker.record_timing("rollout"):
            ...     _ = sum(range(1000))
            >>> tracker.export(reduce="local")["time/train/rollout_s"] > 0
            True
        """
        return Timing(self, checked_key(key))

    def text(self, key: str | None = None, value: Any = MISSING, /, **kvs: str) -> None:
        """Records short strings (a split's name); the latest counts, over processes the lowest one's."""
        if key is not None:
            kvs[key] = value
        texts = {name: to_string("text", name, string) for name, string in kvs.items()}
        scope = self._scope.get()
        with self._lock:
            for name in texts:
                self._registry.declare(scope, name, "text")
            for name, string in texts.items():
                self._records.texts[naming.join(scope, name)] = string

    # --- handing over --------------------------------------------------------------------------------------

    def drain(self) -> Drained:
        """Takes everything recorded since the last drain, in constant time; for whoever makes commits."""
        empty = Records()
        with self._lock:
            records, self._records = self._records, empty
        return Drained(records, self._registry.specs)

    def snapshot(self, *, process: int | None = None, reset: bool = True) -> Snapshot:
        """Everything recorded since the last drain, as a mergeable :class:`Snapshot`.

        Args:
            process: the process that the snapshot comes from; None: this one's index in the job.
            reset: False leaves the records in place.
        """
        if process is None:
            found = distributed()
            process = found.process if found is not None else 0
        if reset:
            return self.drain().snapshot(process)
        with self._lock:
            records = self._records.copy()
        return Drained(records, self._registry.specs).snapshot(process)

    def export(
        self,
        *,
        reduce: Literal["process", "local", "all"] = "process",
        reset: bool = True,
        timeout: float = 60.0,
        transport: Transport | None = None,
    ) -> dict[str, Value | str]:
        """Everything recorded since the last export, merged over processes, as names and numbers.

        The explicit form, for code that commits by hand: ``logger.commit(step, tracker.export())`` on every
        process. The exports of the processes pair by the active step (``run.steps``, ``sl.step``), or else by
        their number in each process. ``run.commit(step)`` does the same without waiting; prefer it.

        Args:
            reduce: ``"process"`` merges on the root, which waits for the others, and gives ``{}`` elsewhere;
                ``"all"`` gives everyone the result, and everyone waits; ``"local"`` is this process alone and
                never waits.
            reset: False leaves the records in place.
            timeout: seconds to wait. A process that has not exported by then is named in a warning and in
                ``obs/missing_processes``, and not waited for again until it exports.
            transport: how to reach the other processes; default: the process's own.

        Returns:
            Keys with their values, ``<key>__count`` with counts, and texts.
        """
        if reduce not in ("process", "local", "all"):
            raise RecordError(f"export(reduce={reduce!r}): expected 'process', 'local' or 'all'")
        if not self._enabled:
            return {}
        wall_s = (perf_counter_ns() - self._drained_at) / 1e9
        if reset:
            self._drained_at = perf_counter_ns()
        if reduce == "local":
            rendered = self.snapshot(reset=reset).render(wall_s=wall_s)
            return {**rendered.values, **rendered.counts, **rendered.texts}
        if self._exchange is None or (transport is not None and self._exchange.transport is not transport):
            self._exchange = Exchange(self._channel, transport)
        process = self._exchange.transport.process
        snapshot = self.snapshot(process=process, reset=reset)
        return self._exchange.export(snapshot, wall_s=wall_s, everywhere=reduce == "all", timeout=timeout)

    # --- inside --------------------------------------------------------------------------------------------

    def _scalar_with_care(self, kvs: Mapping[str, Any], per_process: bool, nonfinite: NonFinite) -> None:
        # Without the lock: reading a device array may wait.
        numbers = {key: float(to_number("scalar", key, value)) for key, value in kvs.items()}
        if nonfinite != "show":
            numbers = {k: v for k, v in numbers.items() if only_finite(k, np.asarray(v), nonfinite).size}
        scope = self._scope.get()
        with self._lock:
            table = self._records.scalars.get(scope, {})
            for key in numbers:  # all of them before the first append, since this may raise
                if key not in table:
                    self._registry.declare(scope, key, "scalar")
            table = self._records.scalars.setdefault(scope, table)
            for key, number in numbers.items():
                table.setdefault(key, []).append(number)
                if per_process:
                    self._registry.keep_per_process(naming.join(scope, key))

    def _share_names_with(self, other: StatsTracker) -> None:
        """One registry of keys for both, and one lock over it."""
        self.timing_key = other.timing_key
        self._set_lock(other._lock)
        self._registry = other._registry

    def _set_lock(self, lock: threading.RLock) -> None:
        self._lock, self._acquire, self._release = lock, lock.acquire, lock.release

    def _timing_key(self, scope: str, key: str) -> str:
        return self.timing_key.format(key=naming.join(scope, key))

    def _add_timing(self, key: str, seconds: float) -> None:
        full = self._timing_key(self._scope.get(), key)
        with self._lock:
            self._registry.declare("", full, "timing")
            self._append_single(full, seconds)

    def _record_singles(
        self, kind: str, kvs: Mapping[str, Any], *, replicated: bool = False, latest: bool = False
    ) -> None:
        scope = self._scope.get()
        with self._lock:
            for key in kvs:
                self._registry.declare(scope, key, kind, replicated=replicated)
            for key, value in kvs.items():
                full = naming.join(scope, key)
                if latest:
                    self._records.singles[full] = [value]
                elif kind == "ratio":
                    self._append_single(full, *value)
                else:
                    self._append_single(full, value)

    def _append_single(self, full: str, *numbers: Value) -> None:
        values = self._records.singles.setdefault(full, [])
        values.extend(numbers)
        if len(values) >= _FOLD_AT:
            self._fold(values, _sum_of_ratios if self._registry.specs[full].kind == "ratio" else exact_sum)

    def _record_rows(
        self,
        call: str,
        key: str,
        values: npt.NDArray[Any],
        emit: Sequence[str],
        quantiles: Sequence[float],
        replicated: bool,
        nonfinite: NonFinite,
    ) -> None:
        if nonfinite != "show":
            values = only_finite(key, values, nonfinite)
        emit = tuple(emit) if not isinstance(emit, str) else (emit,)
        quantiles = checked_quantiles(call, key, quantiles)
        row = moments_row(values)
        sketch = Sketch.of(values) if quantiles else None
        scope = self._scope.get()
        full = naming.join(scope, key)
        with self._lock:
            self._registry.declare(
                scope, key, "summary", emit=emit, quantiles=quantiles, replicated=replicated, call=call
            )
            self._append_row(full, row)
            if sketch is not None:
                sketches = self._records.sketches.setdefault(full, [])
                sketches.append(sketch)
                if len(sketches) > 64:
                    self._fold(sketches, lambda taken: [Sketch.merge(taken)])

    def _append_row(self, full: str, row: Row) -> None:
        rows = self._records.rows.get(full)
        if rows is None:
            rows = self._records.rows.setdefault(full, array("d"))
        rows.extend(row)
        if len(rows) >= _FOLD_AT:
            self._fold(rows, _merged_rows)

    def _fold_scalars(self, key: str, values: list[float]) -> None:
        row: Row = ()

        def reduced(taken: list[float]) -> list[float]:
            nonlocal row
            row = moments_row(np.array(taken))
            return []

        self._fold(values, reduced)
        if row:
            self._append_row(naming.join(self._scope.get(), key), row)

    def _fold(self, values: Any, reduced: Callable[[Any], Any]) -> None:
        """Replaces what a list holds by its reduction; what a signal handler adds meanwhile stays."""
        if self._folding:  # by the call that this signal handler interrupts
            return
        self._folding = True
        try:
            taken = values[:]
            values[: len(taken)] = reduced(taken)
        finally:
            self._folding = False


class Scope:
    """What :meth:`StatsTracker.scope` gives: a context manager and a decorator, to be used freely."""

    __slots__ = ("_name", "_var")

    def __init__(self, var: ContextVar[str], name: str) -> None:
        self._var = var
        self._name = name

    def __enter__(self) -> None:
        path = self._var.get()
        self._var.set(f"{path}/{self._name}" if path else self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The innermost of this name. A block that is left out of order (in a generator, say) takes only its
        # own part of the path away; one left in another task than it was entered in finds nothing to take.
        path = f"/{self._var.get()}/"
        at = path.rfind(f"/{self._name}/")
        if at >= 0:
            self._var.set((path[:at] + path[at + len(self._name) + 1 :]).strip("/"))

    def __call__(self, function: F) -> F:
        return around(function, lambda: self)


class Timing:
    """What :meth:`StatsTracker.record_timing` gives: a context manager (for one block) and a decorator."""

    __slots__ = ("_key", "_start", "_tracker", "seconds")

    def __init__(self, tracker: StatsTracker, key: str) -> None:
        self._tracker = tracker
        self._key = key
        #: The measured time, once the block has ended.
        self.seconds = 0.0

    def __enter__(self) -> Timing:
        self._start = perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = (perf_counter_ns() - self._start) / 1e9
        self._tracker._add_timing(self._key, self.seconds)

    def __call__(self, function: F) -> F:
        return around(function, lambda: Timing(self._tracker, self._key))


class _Off:
    """What scopes and timings are when sightline is disabled."""

    __slots__ = ()
    seconds = 0.0

    def __enter__(self) -> _Off:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, function: F) -> F:
        return function


_OFF = _Off()


def _nothing(*_: object, **__: object) -> None:
    """What recording calls are when sightline is disabled."""


def _off(*_: object, **__: object) -> _Off:
    return _OFF


def _all_plain(kvs: Mapping[str, Any], table: Mapping[str, object]) -> bool:
    for key, value in kvs.items():  # noqa: SIM110 - all() of a generator takes twice the time
        if value.__class__ is not float or key not in table:
            return False
    return True


def _merged_rows(rows: array[float]) -> array[float]:
    table = np.frombuffer(rows).reshape(-1, ROW_LENGTH)
    merged = Moments.from_rows(table).merge_segments(np.zeros(1, np.int64))
    return array("d", [*merged.counts[:, 0].tolist(), *merged.stats[:, 0].tolist()])


def _sum_of_ratios(values: list[Value]) -> list[Value]:
    """Of numerators and denominators in turn; each sum as a high and a low part."""
    (high, low), (divisor_high, divisor_low) = exact_sum(values[::2]), exact_sum(values[1::2])
    return [high, divisor_high, low, divisor_low]


# --- forks, and the trackers of a process ------------------------------------------------------------------

_TRACKERS_FOR_FORK: weakref.WeakSet[StatsTracker] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # Another thread may have held a lock at the fork; nobody in the child would ever release it. What the
    # parent had recorded is the parent's to commit.
    for each in list(_TRACKERS_FOR_FORK):
        each._set_lock(threading.RLock())
        each._records = Records()
        each._folding = False


os.register_at_fork(after_in_child=_after_fork_in_child)

_trackers: dict[str, StatsTracker] = {}


def tracker(name: str = "default") -> StatsTracker:
    """The process's tracker of this name, made at the first call; a commit drains them all.

    What they record lands in one commit, so a key has one reduction over all of them. Each has scopes of its
    own.

    Example:
        >>> tracker("critic") is tracker("critic")
        True
    """
    found = _trackers.get(name)
    if found is not None:
        return found
    made = StatsTracker(name)
    if (first := _trackers.get("default")) is not None:
        made._share_names_with(first)
    return _trackers.setdefault(name, made)


def all_trackers() -> Iterator[StatsTracker]:
    """The trackers made by :func:`tracker`, the default one first."""
    tracker()
    yield from list(_trackers.values())
