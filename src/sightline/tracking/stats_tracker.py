"""The recording calls: :class:`StatsTracker` takes values wherever they arise, and hands over a snapshot.

A recording call checks its arguments, reduces arrays on the spot, and appends a few floats under a lock that
is held for no longer than that. Draining swaps the store for an empty one, whatever the number of keys; the
rest happens on whoever makes the snapshot.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal

from sightline.errors import RecordError
from sightline.recording.disabled import nothing, off
from sightline.recording.drained import Drained
from sightline.recording.records import FOLD_AT, Records
from sightline.recording.scoping import COLLECTED, Scope
from sightline.tracking.routing import NonFinite, Router
from sightline.tracking.timing import Timing
from sightline.values import naming
from sightline.values.host_values import (
    MISSING,
    check_timing_key,
    checked_bins,
    checked_key,
    host_only_error,
    odd_mask_error,
    to_string,
)
from sightline.values.samples import block_of
from sightline.values.snapshot import Snapshot, Value

if TYPE_CHECKING:
    from sightline.jax.collected import Stats
    from sightline.posting.exchange import Exchange
    from sightline.transports.base import Transport

log = logging.getLogger("sightline")

DEFAULT_EMIT = ("mean", "std", "min", "max")
_RECORDING_CALLS = (
    "scalar", "total", "last", "ratio", "rate", "summary", "masked", "histogram", "text", "sample", "ingest"
)  # fmt: skip
_made: dict[str, itertools.count[int]] = {}


class StatsTracker(Router):
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
        >>> import numpy as np
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
        super().__init__(name, timing_key)
        self.name = name
        self._enabled: bool = os.environ.get("SIGHTLINE_DISABLED") != "1" if enabled is None else enabled
        # Over the processes, the trackers of a name pair in the order in which each process made them.
        self._channel = f"{name}.{next(_made.setdefault(name, itertools.count()))}"
        self._exchange: Exchange | None = None
        self._drained_at = perf_counter_ns()
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

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.scalar(loss=1.0, kl=0.5)
            >>> tracker.scalar(loss=2.0)
            >>> exported = tracker.export(reduce="local")
            >>> exported["loss"], exported["loss__count"], exported["kl"]
            (1.5, 2, 0.5)
        """
        if key is not None:
            kvs[key] = value
        # Floats of known keys are the usual case, and this the hottest code of the package: a `with`, a
        # `kvs.items()`, or a second loop over the values, would each cost a tenth to a quarter more. All the
        # rest is done with care, below. Nothing is called between the look-up of a list and the append to
        # it: a call is where Python runs signal handlers, and one may record, too.
        lock = self._lock
        lock.acquire()
        try:
            if not per_process and nonfinite == "show":
                table = self._records.scalars[self._scope.get()]
                if len(kvs) == 1 or _all_plain(kvs, table):
                    for name in kvs:
                        number = kvs[name]
                        if type(number) is not float:
                            break
                        values = table[name]
                        values.append(number)
                        if len(values) >= FOLD_AT:
                            self._records.fold_scalars(self._scope.get(), name)
                    else:
                        return
        except KeyError:  # a scope or a key that is new since the last drain
            pass
        finally:
            lock.release()
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

        Raises:
            RecordError: as :meth:`scalar`.

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

        Args:
            key, value: one key and its number.
            kvs: keys and their numbers, as for :meth:`scalar`.

        Raises:
            RecordError: as :meth:`scalar`.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.last(lr=1e-3)
            >>> tracker.last(lr=5e-4)
            >>> tracker.export(reduce="local")["lr"]
            0.0005
        """
        if key is not None:
            kvs[key] = value
        self._record_numbers("last", {key: (value,) for key, value in kvs.items()})

    def ratio(self, key: str, numerator: Any, denominator: Any, *, replicated: bool = False) -> None:
        """Records both parts of a ratio; ``key`` is exported as Σ numerator / Σ denominator.

        The sums are over all records of all processes. Left out while the denominators sum to 0.

        Args:
            key: the name.
            numerator, denominator: numbers, as for :meth:`scalar`.
            replicated: both are global already and every process records them: count them once.

        Raises:
            RecordError: as :meth:`scalar`.

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

        Raises:
            RecordError: as :meth:`scalar`.

        Example:
            >>> tracker = StatsTracker()
            >>> with tracker.scope("train"):
            ...     with tracker.record_timing("rollout"):
            ...         _ = sum(range(1000))
            ...     tracker.rate("tokens", 4096, over="rollout")
            >>> tracker.export(reduce="local")["throughput/train/tokens_per_s"] > 0
            True
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
                :class:`sightline.values.aggregates.Sketch`).
            replicated: every process records the same global values: count them once.
            nonfinite: ``"drop"`` leaves out NaN and infinities.

        Raises:
            RecordError: a dtype that is no number, an unknown name in ``emit``, a quantile outside [0, 1], or
                a key that has another reduction already.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.summary("reward", [[1.0, 2.0], [3.0, 6.0]], emit=("mean", "max"))
            >>> tracker.export(reduce="local")
            {'reward/max': 6.0, 'reward/mean': 3.0, 'reward__count': 4}
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

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.masked("advantage", [1.0, 2.0, 9.0], [True, True, False], emit=("mean",))
            >>> tracker.export(reduce="local")
            {'advantage/mean': 1.5, 'advantage__count': 2}
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
        """Records short strings (a split's name); the latest counts, over processes the lowest one's.

        Args:
            key, value: one key and its string.
            kvs: keys and their strings.

        Raises:
            RecordError: no string, or a key that has another reduction already.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.text(split="test")
            >>> tracker.export(reduce="local")
            {'split': 'test'}
        """
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

    def sample(self, table: str, /, *, rank_by: Any = None, **columns: Any) -> None:
        """Records rows of a table of samples (prompts, completions, rewards), to be read by people.

        The process keeps every row in full, in ``samples/`` of the run directory, when it commits. The
        journal and the sinks get a few of each commit, over all processes: the best and the worst, and some
        at random; of each 4 kB, and what was cut is said. Nothing is formatted or written here.

        Args:
            table: its name, under the active scope.
            columns: for each row a value, in a list, tuple or NumPy array, or one value for all rows: text,
                numbers, bools, None; anything else as its ``str``.
            rank_by: the name of the column by which rows are best and worst, the higher the better, in views
                too; None: ``reward``, if there is one. (``Any``, so that columns may come as ``**dict``.)

        Raises:
            RecordError: ``rank_by`` is no column, columns of unlike lengths, columns called ``step`` or
                ``process`` (which sinks add), or values on devices.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.sample("rollouts", prompt="1 + 1 =", completion=["2", "11"], reward=[1.0, 0.0])
            >>> tracker.sample("judged", rank_by="score", text=["a", "b"], score=[7, 3], reward=[0.0, 1.0])
        """
        scope = self._scope.get()
        if scope[:1] == COLLECTED:
            raise host_only_error("sample", table)
        block = block_of(naming.join(scope, table), columns, rank_by)
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
            >>> import jax, numpy as np, sightline as sl
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
        self._record_collected(stats)

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

        Example:
            >>> parts = []
            >>> for process in range(2):
            ...     tracker = StatsTracker()
            ...     tracker.total(tokens=10 + process)
            ...     parts.append(tracker.snapshot(process=process))
            >>> Snapshot.merge(parts).render().values
            {'tokens': 21}
        """
        if process is None:
            from sightline.jax.distributed import distributed

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

        Raises:
            RecordError: an unknown ``reduce``.
            ConfigurationError: several processes, and nothing that connects them.

        Example:
            >>> tracker = StatsTracker()
            >>> tracker.ratio("accuracy", 3, 4)
            >>> tracker.export(reduce="local")
            {'accuracy': 0.75}
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
        from sightline.posting.exchange import Exchange

        if self._exchange is None or (transport is not None and self._exchange.transport is not transport):
            self._exchange = Exchange(self._channel, transport)
        process = self._exchange.transport.process
        snapshot = self.snapshot(process=process, reset=reset, timeout=timeout)
        return self._exchange.export(snapshot, wall_s=wall_s, everywhere=reduce == "all", timeout=timeout)


def _all_plain(kvs: Mapping[str, Any], table: Mapping[str, object]) -> bool:
    for key in kvs:  # noqa: SIM110 - all() of a generator takes twice the time
        if type(kvs[key]) is not float or key not in table:
            return False
    return True
