"""The record side: :class:`StatsTracker` takes values wherever they arise and hands them over as a snapshot.

A recording call checks its arguments, reduces arrays on the spot, and appends a few floats under a lock that
is held for no longer than that. Arrays on devices are reduced there: the call launches that and goes on.
Under :func:`sightline.collect` values go to the collector of the traced function instead. Draining swaps the
store for an empty one, whatever the number of keys; the rest happens on whoever makes the snapshot.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sightline import naming
from sightline.aggregates import (
    EMPTY_ROW,
    ROW_LENGTH,
    Moments,
    Row,
    Sketch,
    exact_sum,
    moments_row,
    only_finite_row,
)
from sightline.disabled import nothing, off
from sightline.errors import RecordError
from sightline.exchange import Exchange
from sightline.host_values import (
    MISSING,
    WHERE,
    arrays_of,
    check_timing_key,
    checked_bins,
    checked_key,
    checked_mask,
    checked_nonfinite,
    checked_quantiles,
    host_only_error,
    mask_shape_error,
    no_collector_error,
    odd_mask_error,
    of_wrapper,
    per_process_error,
    to_number,
    to_numbers,
    to_string,
    unwrapped,
    where_are,
)
from sightline.jax.distributed import distributed
from sightline.key_registry import KeyRegistry
from sightline.records import Deferred, Drained, Records, fail, settle
from sightline.samples import block_of
from sightline.scoping import COLLECTED, Scope, new_scope
from sightline.snapshot import Snapshot, Value
from sightline.timing import Timing

if TYPE_CHECKING:
    from sightline.jax.collected import Collected, Entry, Stats
    from sightline.jax.programs import Coverage
    from sightline.jax.waiting import DeviceTime
    from sightline.transports.base import Transport

log = logging.getLogger("sightline")

NonFinite = Literal["show", "drop"]

DEFAULT_EMIT = ("mean", "std", "min", "max")
_made: dict[str, itertools.count[int]] = {}
_FOLD_AT = 1 << 16  # single records of a key before they are folded into one entry; bounds memory
_SETTLE_AT = 1 << 12  # device values before those that have arrived are taken in; the same
_RECORDING_CALLS = (
    "scalar", "total", "last", "ratio", "rate", "summary", "masked", "histogram", "text", "sample", "ingest"
)  # fmt: skip


class StatsTracker:
    """Records statistics under scopes, from any thread and any asyncio task.

    Module-level functions of ``sightline`` (``sl.scalar``, ``sl.scope``, …) act on the process's default
    tracker. Values are Python numbers, NumPy arrays of any float, int or bool dtype (bf16 and float8
    included) and arrays of JAX, which are not waited for and may be donated or deleted on the next line.
    Of an array over several processes each process counts what it owns, so that every element counts
    once; an array on this process's devices alone is its own data, unless ``replicated=True``.

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
        self._scope = new_scope(name)
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
            for call in _RECORDING_CALLS:
                setattr(self, call, nothing)
            for call in ("scope", "record_timing"):
                setattr(self, call, off)

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
                            self._fold_scalars(naming.join(self._scope.get(), name), values)
                    else:
                        return
        except KeyError:  # a scope or a key that is new since the last drain
            pass
        finally:
            self._release()
        if not per_process and nonfinite == "show" and self._record_known_scalars(kvs):
            return
        self._record_numbers(
            "scalar",
            {key: (value,) for key, value in kvs.items()},
            per_process=per_process,
            nonfinite=nonfinite,
        )

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
        if key is not None:
            kvs[key] = value
        self._record_numbers("total", {key: (value,) for key, value in kvs.items()}, replicated=replicated)

    def last(self, key: str | None = None, value: Any = MISSING, /, **kvs: Any) -> None:
        """Records numbers of which only the latest counts (a learning rate, a version).

        Over processes it is the one of the lowest process that recorded the key.
        """
        if key is not None:
            kvs[key] = value
        self._record_numbers("last", {key: (value,) for key, value in kvs.items()})

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
        self._record_numbers("ratio", {key: (numerator, denominator)}, replicated=replicated)

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
        self._record_numbers("rate", {checked_key(key): (amount,)}, over=over or "", replicated=replicated)

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
        self._record_elements("summary", key, values, None, emit, quantiles, 0, replicated, nonfinite)

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
        if mask is None:
            raise odd_mask_error("masked", key, "None")
        self._record_elements("masked", key, values, mask, emit, quantiles, 0, replicated, nonfinite)

    def histogram(
        self,
        key: str,
        values: Any,
        *,
        mask: Any = None,
        bins: int = 64,
        replicated: bool = False,
        nonfinite: NonFinite = "show",
    ) -> None:
        """Records all elements of an array as a distribution, for sinks that draw one.

        The bins are over all elements of all records of all processes: of equal width from the smallest
        finite value to the largest, as ``np.histogram`` has them. Nothing is gathered for that. Each process
        keeps a sketch, as for quantiles, so a value may stand 1 % of itself off its place: values that
        differ by less than that from each other are drawn as a few bars. The counts add up exactly.

        The journal has it as a ``histogram`` line, and ``key__count`` (the number of elements) with the
        others' counts. It is no number, so :meth:`export` has its count alone. For statistics too, record a
        :meth:`summary` under another key.

        Args:
            key: the name.
            values: any shape, as for :meth:`summary`.
            mask: which elements, as for :meth:`masked`; None: all.
            bins: how many, 1 to 1024. Takes no part in what is sent: it says how the result is shown.
            replicated: every process records the same global values: count them once.
            nonfinite: ``"drop"`` leaves out NaN and infinities; else they are counted, in ``obs/nonfinite``
                and in ``key__count``. No bin holds them.

        Raises:
            RecordError: as :meth:`masked`; bins that are no int from 1 to 1024.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.histogram("length", [1, 2, 2, 9], bins=4)
            >>> tracker.snapshot().render().histograms["length"]
            ([1.0, 3.0, 5.0, 7.0, 9.0], [3, 0, 0, 1])
        """
        bins = checked_bins("histogram", key, bins)
        self._record_elements("histogram", key, values, mask, (), (), bins, replicated, nonfinite)

    def record_timing(self, key: str) -> Timing:
        """Times a block or a function in host time; exported as ``time/<scope>/<key>_s``.

        In each process the times since its last commit add up; exported are their mean over the processes
        and, beside it, ``…_s_max`` and ``…_s_slowest`` (the process that took longest). Recorded on an
        exception too. JAX is asynchronous: a block that only dispatches work measures the dispatch. Where
        the work itself is meant, ``with … as t: …; t.until(result)`` ends the time when the device is done,
        and ``t.since(state)`` begins it when the device is done with what came before; neither waits.

        A context manager, and a decorator for functions, coroutines, generators and async generators
        (generators are timed from each resumption to the next yield).

        Example:
            >>> tracker = StatsTracker()
            >>> with tracker.scope("train"), tracker.record_timing("rollout"):
            ...     _ = sum(range(1000))
            >>> tracker.export(reduce="local")["time/train/rollout_s"] > 0
            True
        """
        return Timing(checked_key(key), self._scope, self._add_timing)

    def text(self, key: str | None = None, value: Any = MISSING, /, **kvs: str) -> None:
        """Records short strings (a split's name); the latest counts, over processes the lowest one's."""
        if key is not None:
            kvs[key] = value
        texts = {name: to_string("text", name, string) for name, string in kvs.items()}
        scope = self._scope.get()
        if scope[:1] == COLLECTED:
            raise host_only_error("text", next(iter(texts), ""))
        with self._lock:
            for name in texts:
                self._registry.declare(scope, name, "text")
            for name, string in texts.items():
                self._records.texts[naming.join(scope, name)] = string

    def _count_trouble(self, name: str, count: int) -> None:
        """Counts what went wrong inside sightline, as ``obs/<name>`` of the next commit."""
        with self._lock:
            self._records.trouble[name] += count

    def sample(self, table: str, /, **columns: Any) -> None:
        """Records rows of a table of samples (prompts, completions, rewards), to be read by people.

        The process keeps every row in full, in ``samples/`` of the run directory, when it commits. The
        journal and the sinks get a few of each commit, over all processes: the best and the worst by the
        column ``reward``, if there is one, and some at random; of each 4 kB, and what was cut is said.
        Nothing is formatted or written here.

        Args:
            table: its name, under the active scope.
            columns: for each row a value, in a list, tuple or NumPy array, or one value for all rows: text,
                numbers, bools, None; anything else as its ``str``.

        Raises:
            RecordError: columns of unlike lengths, or values on devices.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.sample("rollouts", prompt="1 + 1 =", completion=["2", "11"], reward=[1.0, 0.0])
        """
        scope = self._scope.get()
        if scope[:1] == COLLECTED:
            raise host_only_error("sample", table)
        block = block_of(naming.join(scope, table), columns)
        with self._lock:
            self._records.add_samples(block)

    def ingest(self, stats: Stats) -> None:
        """Records what a function under :func:`sightline.collect` has collected; does not wait.

        Keys get the active scope in front. Leading axes, of a scan, a vmap or shards, are folded: statistics
        are over all of them, counts exact. Of global arrays each process takes in what it owns.

        Args:
            stats: the second output of the function, as it comes: not donated, and on devices, since a host
                copy of replicated statistics would count on each process.

        Raises:
            RecordError: inside a traced function (hand it to ``sl.add`` there); something that is not what
                ``collect`` gave, or has been averaged or summed on the way.

        Example:
            >>> import jax, sightline as sl
            >>> tracker = StatsTracker()
            >>> def loss(weight, x):
            ...     sl.summary("activation", weight * x)
            ...     return (weight * x).sum()
            >>> step = jax.jit(jax.value_and_grad(sl.collect(loss), has_aux=True))
            >>> (value, stats), gradient = step(2.0, np.arange(4.0))
            >>> tracker.ingest(stats)
            >>> tracker.export(reduce="local")["activation/mean"]
            3.0
        """
        from sightline.jax.collected import ingest

        with self._lock:
            ingest(stats, declare=self._declare_collected, cover=self._cover, defer=self._defer_collected)

    # --- handing over --------------------------------------------------------------------------------------

    def drain(self, *, samples: bool = True) -> Drained:
        """Takes everything recorded since the last drain, in constant time; for whoever makes commits.

        Args:
            samples: rows of sample tables too; else they stay for the next commit.
        """
        empty = Records()
        with self._lock:
            if not samples:
                empty.samples, self._records.samples = self._records.samples, empty.samples
                empty.sample_rows = self._records.sample_rows
            records, self._records = self._records, empty
        return Drained(records, self._registry.specs)

    def snapshot(self, *, process: int | None = None, reset: bool = True, timeout: float = 60.0) -> Snapshot:
        """Everything recorded since the last drain, as a mergeable :class:`Snapshot`.

        Waits for recorded device values to be computed.

        Args:
            process: the process that the snapshot comes from; None: this one's index in the job.
            reset: False leaves the records in place.
            timeout: seconds to wait for device values; those that are not there are left out, with a warning.
        """
        if process is None:
            found = distributed()
            process = found.process if found is not None else 0
        if reset:
            drained = self.drain(samples=False)
        else:
            with self._lock:
                drained = Drained(self._records.copy(), self._registry.specs)
        drained.wait(timeout)
        if pending := drained.trouble["pending_device_values"]:
            log.warning("sightline: %d device values were not computed within %g s", pending, timeout)
        return drained.snapshot(process)

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
                waits for nobody.
            reset: False leaves the records in place.
            timeout: seconds to wait, for recorded device values too. A process that has not exported by then
                is named in a warning and in ``obs/missing_processes``, and not waited for again until it
                exports.
            transport: how to reach the other processes; default: the process's own.

        Returns:
            Keys with their values, ``<key>__count`` with counts, and texts. Of histograms the counts alone.
        """
        if reduce not in ("process", "local", "all"):
            raise RecordError(f"export(reduce={reduce!r}): expected 'process', 'local' or 'all'")
        if not self._enabled:
            return {}
        wall_s = (perf_counter_ns() - self._drained_at) / 1e9
        if reset:
            self._drained_at = perf_counter_ns()
        if reduce == "local":
            rendered = self.snapshot(reset=reset, timeout=timeout).render(wall_s=wall_s)
            return {**rendered.values, **rendered.counts, **rendered.texts}
        if self._exchange is None or (transport is not None and self._exchange.transport is not transport):
            self._exchange = Exchange(self._channel, transport)
        process = self._exchange.transport.process
        snapshot = self.snapshot(process=process, reset=reset, timeout=timeout)
        return self._exchange.export(snapshot, wall_s=wall_s, everywhere=reduce == "all", timeout=timeout)

    # --- inside --------------------------------------------------------------------------------------------

    def _record_numbers(
        self,
        kind: str,
        kvs: Mapping[str, tuple[Any, ...]],
        *,
        over: str = "",
        replicated: bool = False,
        per_process: bool = False,
        nonfinite: NonFinite = "show",
    ) -> None:
        """Records one number for each key, or two for a ratio."""
        scope = self._scope.get()
        where = where_are(kvs.values())
        if where == "host" and any(
            part.__class__ in (list, tuple) for parts in kvs.values() for part in parts
        ):
            where = where_are([unwrapped(part) for part in parts] for parts in kvs.values())
        if where != "host" or scope[:1] == COLLECTED:
            return self._record_numbers_later(
                kind, scope, where, kvs, over, replicated, per_process, nonfinite
            )
        numbers = {key: [to_number(kind, key, part) for part in parts] for key, parts in kvs.items()}
        if nonfinite != "show" and checked_nonfinite(kind, nonfinite):
            numbers = {key: parts for key, parts in numbers.items() if math.isfinite(parts[0])}
        with self._lock:
            full = [self._declare_number(scope, key, kind, over, replicated) for key in numbers]
            order = self._records.next_order()
            for name, (key, parts) in zip(full, numbers.items(), strict=True):
                if per_process:
                    self._registry.keep_beside(name, "per_process")
                self._add_numbers(kind, scope, key, name, parts, order)
        return None

    def _record_numbers_later(
        self,
        kind: str,
        scope: str,
        where: str,
        kvs: Mapping[str, tuple[Any, ...]],
        over: str,
        replicated: bool,
        per_process: bool,
        nonfinite: NonFinite,
    ) -> None:
        """The same for numbers that a device computes, or a traced function."""
        drop = checked_nonfinite(kind, nonfinite) == "drop"
        if scope[:1] == COLLECTED:
            if per_process:
                raise per_process_error(next(iter(kvs)))
            options = {"over": over, "replicated": replicated, "nonfinite": nonfinite}
            return self._collect(kind, scope, kvs, options)
        if where == "tracer":
            raise no_collector_error(kind, next(iter(kvs)))
        kvs = {key: tuple(map(unwrapped, parts)) for key, parts in kvs.items()}
        on_host = {key: parts for key, parts in kvs.items() if where_are([parts]) == "host"}
        on_devices = {key: parts for key, parts in kvs.items() if key not in on_host}
        known = {key: [to_number(kind, key, part) for part in parts] for key, parts in on_host.items()}
        recording = _recording()
        numbers = None
        with self._launching(on_devices):
            numbers = recording.Numbers(kind, on_devices, anywhere=replicated or kind == "last")
        with self._lock:
            full = {key: self._declare_number(scope, key, kind, over, replicated) for key in kvs}
            if per_process:
                for name in full.values():
                    self._registry.keep_beside(name, "per_process")
            elif kind == "scalar" and not on_host:
                self._registry.calls[scope, *kvs] = recording.RepeatedScalars(list(full.values()))
            order = self._records.next_order()
            for key, parts in known.items():
                if not (drop and not math.isfinite(parts[0])):
                    self._add_numbers(kind, scope, key, full[key], parts, order)
            if numbers is not None:
                for key, coverage in numbers.coverage.items():
                    self._cover(full[key], coverage)
                names = {key: full[key] for key in on_devices}
                self._defer(recording.RecordedNumbers(kind, names, numbers, drop, order))
        return None

    @contextmanager
    def _launching(self, keys: Iterable[str]) -> Iterator[None]:
        """What JAX raises at a launch (a device without memory, say) is counted, and no reason to stop."""
        try:
            yield
        except RecordError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            with self._lock:
                fail(self._records, list(keys), error)

    def _add_numbers(
        self, kind: str, scope: str, key: str, full: str, parts: Sequence[Value], order: int
    ) -> None:
        if kind == "scalar":
            self._records.add_scalar(scope, key, float(parts[0]))
        elif kind == "last":
            self._records.set_last(full, parts[0], order)
        else:
            self._append_single(full, parts)

    def _record_known_scalars(self, kvs: Mapping[str, Any]) -> bool:
        """The short way for device scalars: of these keys and kinds of arrays there have been some before."""
        for value in kvs.values():
            if WHERE.get(value.__class__) != "device":
                return False
        repeated = self._registry.calls.get((self._scope.get(), *kvs))
        recorded = repeated.record(list(kvs.values())) if repeated is not None else None
        if recorded is None:
            return False
        with self._lock:
            self._defer(recorded)
        return True

    def _record_elements(
        self,
        call: str,
        key: str,
        values: Any,
        mask: Any,
        emit: Sequence[str],
        quantiles: Sequence[float],
        bins: int,
        replicated: bool,
        nonfinite: NonFinite,
    ) -> None:
        """Records the elements of an array, all or those under a mask."""
        scope = self._scope.get()
        short = None
        if nonfinite == "show" and WHERE.get(values.__class__) == "device":
            short = (call, scope, key, emit, quantiles, bins, replicated)
            try:
                repeated = self._registry.calls.get(short)
            except TypeError:  # a list among them
                short = repeated = None
            if repeated is not None:
                recorded = repeated.record(values, mask)
                if recorded is not None:
                    with self._lock:
                        return self._defer(recorded)
        values, mask = of_wrapper(values), of_wrapper(mask)
        several = arrays_of(call, key, values, mask)
        if several is not None and scope[:1] != COLLECTED:
            for each, chosen in several:
                self._record_elements(call, key, each, chosen, emit, quantiles, bins, replicated, nonfinite)
            return None
        emit = tuple(emit) if not isinstance(emit, str) else (emit,)
        quantiles = checked_quantiles(call, key, quantiles)
        drop = checked_nonfinite(call, nonfinite) == "drop"
        where = where_are(((values, mask),))
        options: dict[str, Any] = {
            "emit": emit, "quantiles": quantiles, "bins": bins, "replicated": replicated,
        }  # fmt: skip
        if scope[:1] == COLLECTED:
            return self._collect(
                call, scope, {key: (values,)}, {**options, "mask": mask, "nonfinite": nonfinite}
            )
        if where == "tracer":
            raise no_collector_error(call, key)
        sketched = bool(quantiles or bins)
        elements = sketch = None
        row = EMPTY_ROW
        if where == "device":
            recording = _recording()
            with self._launching([naming.join(scope, key)]):
                elements = recording.Elements(
                    call, key, values, mask, sketched=sketched, replicated=replicated
                )
            if elements is None:
                return None
        else:
            chosen = to_numbers(call, key, values)
            if mask is not None:
                true = checked_mask(call, key, mask)
                if true.shape != chosen.shape:
                    raise mask_shape_error(call, key, true.shape, chosen.shape)
                chosen = chosen[true]
            row = moments_row(chosen)
            row = only_finite_row(row) if drop else row
            sketch = Sketch.of(chosen) if sketched else None
        full = naming.join(scope, key)
        with self._lock:
            self._registry.declare(scope, key, "summary", call=call, **options)
            if elements is not None:
                if short is not None:
                    self._registry.calls[short] = recording.RepeatedElements(call, full, sketched)
                if elements.coverage is not None:
                    self._cover(full, elements.coverage)
                return self._defer(recording.RecordedElements(full, elements, drop))
            self._append_row(full, row)
            if sketch is not None:
                self._records.add_sketch(full, sketch)
                self._fold_sketches(self._records.sketches[full])
        return None

    def _collect(
        self, kind: str, scope: str, kvs: Mapping[str, tuple[Any, ...]], options: Mapping[str, Any]
    ) -> None:
        """Hands values over to the collector of the function that is being traced."""
        from sightline.jax.collecting import active

        collector = active(scope)
        assert collector is not None  # for paths that begin with COLLECTED
        for key, parts in kvs.items():
            collector.add(kind, scope, key, parts, **options)

    def _declare_collected(self, entry: Entry) -> str:
        """Declares a key that a traced function has recorded; returns its full name."""
        scope = self._scope.get()
        if entry.kind != "summary":
            return self._declare_number(
                scope, entry.key, entry.kind, entry.over, entry.replicated, entry.site
            )
        self._registry.declare(
            scope, entry.key, "summary", call=entry.call, emit=entry.emit, quantiles=entry.quantiles,
            bins=entry.bins, replicated=entry.replicated, site=entry.site,
        )  # fmt: skip
        return naming.join(scope, entry.key)

    def _defer_collected(self, collected: Collected) -> None:
        collected.order = self._records.next_order()
        self._defer(collected)

    def _declare_number(
        self,
        scope: str,
        key: str,
        kind: str,
        over: str,
        replicated: bool,
        site: tuple[str, int] | None = None,
    ) -> str:
        """Declares a key that takes numbers; returns its full name."""
        if kind == "rate":
            full = f"throughput/{naming.join(scope, key)}_per_s"
            timing = self._timing_key(scope, checked_key(over)) if over else ""
            self._registry.declare("", full, kind, over=timing, replicated=replicated, site=site)
            return full
        self._registry.declare(scope, key, kind, replicated=replicated, site=site)
        return naming.join(scope, key)

    def _defer(self, recorded: Deferred) -> None:
        deferred = self._records.deferred
        deferred.append(recorded)
        if len(deferred) % _SETTLE_AT == 0:  # a process that never commits
            settle(self._records)
            self._fold_long()

    def _cover(self, full: str, coverage: Coverage) -> None:
        """Of a global array under this key: elements that this process reduces, and that there are."""
        owned, size, where = coverage
        for kind, count in (("covered", owned), ("expected", size)):
            self._append_single(self._registry.keep_beside(full, kind, where), (count,))

    def _share_names_with(self, other: StatsTracker) -> None:
        """One registry of keys for both, and one lock over it."""
        self.timing_key = other.timing_key
        self._set_lock(other._lock)
        self._registry = other._registry

    def _set_lock(self, lock: threading.RLock) -> None:
        self._lock, self._acquire, self._release = lock, lock.acquire, lock.release

    def _timing_key(self, scope: str, key: str) -> str:
        return self.timing_key.format(key=naming.join(scope, key))

    def _add_timing(self, key: str, seconds: float | DeviceTime) -> None:
        full = self._timing_key(self._scope.get(), key)
        with self._lock:
            self._registry.declare("", full, "timing")
            if isinstance(seconds, float):
                self._append_single(full, (seconds,))
            else:
                seconds.key = full
                self._defer(seconds)

    def _fold_long(self) -> None:
        """Folds whatever has become long by settling."""
        records = self._records
        for scope, table in list(records.scalars.items()):
            for key, values in list(table.items()):
                if len(values) >= _FOLD_AT:
                    self._fold_scalars(naming.join(scope, key), values)
        for rows in list(records.rows.values()):
            if len(rows) >= _FOLD_AT:
                self._fold(rows, _merged_rows)
        for full in list(records.singles):
            self._append_single(full, ())
        for sketches in list(records.sketches.values()):
            self._fold_sketches(sketches)

    def _fold_sketches(self, sketches: list[Sketch]) -> None:
        if len(sketches) > 64:
            self._fold(sketches, lambda taken: [Sketch.merge(taken)])

    def _append_single(self, full: str, numbers: Sequence[Value]) -> None:
        values = self._records.singles.setdefault(full, [])
        values.extend(numbers)
        if len(values) >= _FOLD_AT:
            self._fold(values, _sum_of_ratios if self._registry.specs[full].kind == "ratio" else exact_sum)

    def _append_row(self, full: str, row: Row) -> None:
        rows = self._records.rows.get(full)
        if rows is None:
            rows = self._records.rows.setdefault(full, array("d"))
        rows.extend(row)
        if len(rows) >= _FOLD_AT:
            self._fold(rows, _merged_rows)

    def _fold_scalars(self, full: str, values: list[float]) -> None:
        row: Row = ()

        def reduced(taken: list[float]) -> list[float]:
            nonlocal row
            row = moments_row(np.array(taken))
            return []

        self._fold(values, reduced)
        if row:
            self._append_row(full, row)

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


@functools.cache
def _recording() -> Any:
    """The room that needs JAX; an import statement in a recording call would take longer than this."""
    from sightline.jax import recording

    return recording


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
