"""From a recording call to the records: by where its values lie.

Numbers of the host are added, and arrays reduced, on the spot. What lies on devices is reduced there: the
call launches that, leaves a deferred entry with the records, and goes on. Under :func:`sightline.collect`
values go to the collector of the function that is being traced.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from sightline.errors import RecordError
from sightline.recording.key_registry import KeyRegistry
from sightline.recording.records import Deferred, Records
from sightline.recording.scoping import COLLECTED, new_scope
from sightline.values import naming
from sightline.values.aggregates import EMPTY_ROW, Row, Sketch, moments_row, only_finite_row
from sightline.values.host_values import (
    WHERE,
    arrays_of,
    checked_key,
    checked_mask,
    checked_nonfinite,
    checked_quantiles,
    mask_shape_error,
    no_collector_error,
    of_wrapper,
    per_process_error,
    to_number,
    to_numbers,
    unwrapped,
    where_are,
)
from sightline.values.snapshot import Value

if TYPE_CHECKING:
    from sightline.jax.collected import Collected, Entry, Stats
    from sightline.jax.programs import Coverage
    from sightline.jax.waiting import DeviceTime

NonFinite = Literal["show", "drop"]


class Router:
    """Takes the values of recording calls to the records of one tracker.

    Args:
        name: the tracker's.
        timing_key: how timings are spelled; ``{key}`` stands for scope and key.
    """

    def __init__(self, name: str, timing_key: str) -> None:
        self.timing_key = timing_key
        self._scope = new_scope(name)
        # Reentrant: a signal handler or a finaliser may record in the middle of a record.
        self._lock = threading.RLock()
        self._records = Records()
        self._registry = KeyRegistry()
        _routers.add(self)

    def _share_names_with(self, other: Router) -> None:
        """One registry of keys for both, and one lock over it."""
        self.timing_key = other.timing_key
        self._lock = other._lock
        self._registry = other._registry

    def _is_recording(self) -> bool:
        """Whether this thread is in the middle of a record, as a signal handler or a finaliser finds it."""
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined] # as threading.Condition asks
        return owned

    # --- numbers -------------------------------------------------------------------------------------------

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
                self._records.defer(recording.RecordedNumbers(kind, names, numbers, drop, order))
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
                self._records.fail(list(keys), error)

    def _add_numbers(
        self, kind: str, scope: str, key: str, full: str, parts: Sequence[Value], order: int
    ) -> None:
        if kind == "scalar":
            self._records.add_scalar(scope, key, float(parts[0]))
        elif kind == "last":
            self._records.set_last(full, parts[0], order)
        else:
            self._records.add_numbers(full, *parts)

    def _record_known_scalars(self, kvs: Mapping[str, Any]) -> bool:
        """The short way for device scalars: of these keys and kinds of arrays there have been some before."""
        for value in kvs.values():
            if WHERE.get(value.__class__) != "device":
                return False
        calls = self._registry.calls
        repeated = calls.get((self._scope.get(), *kvs))
        recorded = repeated.record(list(kvs.values())) if repeated is not None else None
        return recorded is not None and self._defer_known(recorded, calls)

    def _defer_known(self, recorded: Deferred, calls: Mapping[Any, Any]) -> bool:
        """Defers what a call of the registry has launched, if its keys are still declared.

        False if a run has ended since: the call is to be made with care, once more.
        """
        with self._lock:
            if self._registry.calls is not calls:
                return False
            self._records.defer(recorded)
        return True

    # --- arrays --------------------------------------------------------------------------------------------

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
            calls = self._registry.calls
            try:
                repeated = calls.get(short)
            except TypeError:  # a list among them
                short = repeated = None
            recorded = repeated.record(values, mask) if repeated is not None else None
            if recorded is not None and self._defer_known(recorded, calls):
                return None
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
                return self._records.defer(recording.RecordedElements(full, elements, drop))
            self._records.add_row(full, row)
            if sketch is not None:
                self._records.add_sketch(full, sketch)
        return None

    def _add_gauges(self, rows: Mapping[str, Row], emit: tuple[str, ...]) -> None:
        """Adds the moments of what was sampled elsewhere, under keys outside of all scopes.

        Exported as a summary; in the journal's ``process_values`` each process's own mean.
        """
        with self._lock:
            for key, row in rows.items():
                self._registry.declare("", key, "summary", emit=emit, call="gauge")
                self._registry.keep_beside(key, "per_process")
                self._records.add_row(key, row)

    # --- times ---------------------------------------------------------------------------------------------

    def _add_timing(self, key: str, seconds: float | DeviceTime) -> None:
        full = self._timing_key(self._scope.get(), key)
        with self._lock:
            self._registry.declare("", full, "timing")
            if isinstance(seconds, float):
                self._records.add_numbers(full, seconds)
            else:
                seconds.key = full
                self._records.defer(seconds)

    def _timing_key(self, scope: str, key: str) -> str:
        return self.timing_key.format(key=naming.join(scope, key))

    # --- traced functions ----------------------------------------------------------------------------------

    def _collect(
        self, kind: str, scope: str, kvs: Mapping[str, tuple[Any, ...]], options: Mapping[str, Any]
    ) -> None:
        """Hands values over to the collector of the function that is being traced."""
        from sightline.jax.collecting import active

        collector = active(scope)
        assert collector is not None  # for paths that begin with COLLECTED
        for key, parts in kvs.items():
            collector.add(kind, scope, key, parts, **options)

    def _record_collected(self, stats: Stats) -> None:
        """Takes in what a traced function has collected."""
        from sightline.jax.collected import ingest

        with self._lock:
            ingest(stats, declare=self._declare_collected, cover=self._cover, defer=self._defer_collected)

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
        self._records.defer(collected)

    # --- keys ----------------------------------------------------------------------------------------------

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

    def _cover(self, full: str, coverage: Coverage) -> None:
        """Of a global array under this key: elements that this process reduces, and that there are."""
        owned, size, where = coverage
        for kind, count in (("covered", owned), ("expected", size)):
            self._records.add_numbers(self._registry.keep_beside(full, kind, where), count)


@functools.cache
def _recording() -> Any:
    """The room that needs JAX; an import statement in a recording call would take longer than this."""
    from sightline.jax import recording

    return recording


_routers: weakref.WeakSet[Router] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # Another thread may have held a lock at the fork; nobody in the child would ever release it. What the
    # parent had recorded is the parent's to commit.
    routers = list(_routers)
    renewed = {id(each._lock): threading.RLock() for each in routers}  # some share theirs
    for each in routers:
        each._lock = renewed[id(each._lock)]
        each._records = Records()


os.register_at_fork(after_in_child=_after_fork_in_child)
