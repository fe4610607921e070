"""The store behind a tracker: what was recorded between two drains, in bounded memory.

A process may record for ever and never commit. So what there are many of under one key is *folded* into one
entry, which says the same, and device values that have arrived are taken in on the way.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from sightline.values import naming
from sightline.values.aggregates import ROW_LENGTH, Moments, Row, Sketch, exact_sum, moments_row
from sightline.values.samples import MOST_ROWS, Block
from sightline.values.snapshot import Value

log = logging.getLogger("sightline")

FOLD_AT = 1 << 16  # numbers of a key before they are folded
_MOST_SKETCHES = 64  # of a key before they are folded
_SETTLE_AT = 1 << 12  # device values before those that have arrived are taken in

_said: set[str] = set()  # keys whose device values have failed


class Deferred(Protocol):
    """Something recorded whose numbers a device has still to compute."""

    @property
    def keys(self) -> Sequence[str]:
        """What it was recorded under."""
        ...

    def ready(self) -> bool:
        """Whether the numbers are there; does not wait."""
        ...

    def settle(self, records: Records) -> None:
        """Adds them to the records. May raise what the computation raised."""
        ...


class Records:
    """What a tracker holds between two drains. Guarded by the tracker's lock."""

    __slots__ = (
        "_folding", "deferred", "lasts", "order", "rows", "sample_rows", "samples", "scalars", "singles",
        "sketches", "texts", "trouble",
    )  # fmt: skip

    def __init__(self) -> None:
        self.scalars: dict[str, dict[str, list[float]]] = {}  # scope -> key -> values
        self.rows: dict[str, array[float]] = {}  # key -> rows of moments, one after another
        self.sketches: dict[str, list[Sketch]] = {}
        self.singles: dict[str, list[Value]] = {}  # key -> numbers of a sum, ratio, rate or timing
        self.lasts: dict[str, tuple[int, Value]] = {}  # key -> when it was recorded, and the number
        self.order = 0  # of what was recorded for `lasts`
        self.texts: dict[str, str] = {}
        self.samples: deque[Block] = deque()
        self.sample_rows = 0
        self.deferred: list[Deferred] = []
        self.trouble: Counter[str] = Counter()  # what went wrong, as in `obs/*`
        self._folding = False

    def copy(self) -> Records:
        twin = Records()
        twin.scalars = {s: {k: list(v) for k, v in table.items()} for s, table in self.scalars.items()}
        twin.rows = {k: array("d", v) for k, v in self.rows.items()}
        twin.sketches = {k: list(v) for k, v in self.sketches.items()}
        twin.singles = {k: list(v) for k, v in self.singles.items()}
        twin.lasts, twin.order = dict(self.lasts), self.order
        twin.texts = dict(self.texts)  # of samples there is one copy, which a commit takes
        twin.deferred, twin.trouble = list(self.deferred), self.trouble.copy()
        return twin

    # --- adding --------------------------------------------------------------------------------------------

    def add_scalar(self, scope: str, key: str, number: float) -> None:
        """One number of a mean."""
        values = self.scalars.setdefault(scope, {}).setdefault(key, [])
        values.append(number)
        if len(values) >= FOLD_AT:
            self.fold_scalars(scope, key)

    def add_row(self, key: str, row: Row) -> None:
        """The moments of some numbers."""
        rows = self.rows.get(key)
        if rows is None:
            rows = self.rows.setdefault(key, array("d"))
        rows.extend(row)
        if len(rows) >= FOLD_AT:
            self._fold(rows, _merged_rows)

    def add_sketch(self, key: str, sketch: Sketch) -> None:
        """The sketch of numbers whose moments are added too."""
        sketches = self.sketches.setdefault(key, [])
        sketches.append(sketch)
        if len(sketches) > _MOST_SKETCHES:
            self._fold(sketches, lambda taken: [Sketch.merge(taken)])

    def add_numbers(self, key: str, *numbers: Value) -> None:
        """The parts of a sum, ratio, rate or timing; a key has always as many."""
        values = self.singles.setdefault(key, [])
        values.extend(numbers)
        if len(values) >= FOLD_AT:
            self._fold(values, lambda taken: _summed(taken, len(numbers)))

    def add_samples(self, block: Block) -> None:
        """Rows of a sample table. If a process never commits, the oldest are dropped, and counted."""
        self.samples.append(block)
        self.sample_rows += block.rows
        while self.sample_rows > MOST_ROWS and len(self.samples) > 1:
            dropped = self.samples.popleft().rows
            self.sample_rows -= dropped
            self.trouble["dropped_samples"] += dropped

    def next_order(self) -> int:
        """The place in time of something that is recorded now."""
        self.order += 1
        return self.order

    def set_last(self, key: str, number: Value, order: int) -> None:
        """A number of which only the latest counts."""
        if key not in self.lasts or self.lasts[key][0] <= order:
            self.lasts[key] = (order, number)

    # --- device values -------------------------------------------------------------------------------------

    def defer(self, recorded: Deferred) -> None:
        """Something whose numbers are to come."""
        self.deferred.append(recorded)
        if len(self.deferred) % _SETTLE_AT == 0:
            self.settle()

    def settle(self, *, all_of_them: bool = False) -> None:
        """Takes in the device values that have arrived, and counts those that failed.

        Args:
            all_of_them: look at each; else stop at the first that is not ready, since devices compute in
                order.
        """
        waiting, self.deferred = self.deferred, []
        for i, each in enumerate(waiting):
            try:
                if each.ready():
                    each.settle(self)
                    continue
            except Exception as error:  # noqa: BLE001 - of the computation, or a mask that proves to be none
                self.fail(each.keys, error)
                continue
            if not all_of_them:
                self.deferred[:0] = waiting[i:]
                break
            self.deferred.append(each)

    def fail(self, keys: Sequence[str], error: Exception) -> None:
        """Counts device values that are not to be had, and says so once for each key."""
        self.trouble["failed_device_values"] += len(keys)
        if not _said.issuperset(keys):
            _said.update(keys)
            log.warning("sightline: %s is left out: %s (said once)", ", ".join(keys), error)

    # --- folding -------------------------------------------------------------------------------------------

    def fold_scalars(self, scope: str, key: str) -> None:
        """Makes one row of moments of the numbers of a mean."""
        values = self.scalars.get(scope, {}).get(key)
        if values is None:  # a signal handler has drained them just now
            return
        row: Row = ()

        def reduced(taken: list[float]) -> list[float]:
            nonlocal row
            row = moments_row(np.fromiter(taken, np.float64, len(taken)))
            return []

        self._fold(values, reduced)
        if row:
            self.add_row(naming.join(scope, key), row)

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


def _merged_rows(rows: array[float]) -> array[float]:
    table = np.frombuffer(rows).reshape(-1, ROW_LENGTH)
    merged = Moments.from_rows(table).merge_segments(np.zeros(1, np.int64))
    return array("d", [*merged.counts[:, 0].tolist(), *merged.stats[:, 0].tolist()])


def _summed(numbers: list[Value], parts: int) -> list[Value]:
    """Of numbers whose parts come in turn: the sum of each part, as its high and its low one."""
    highs, lows = zip(*(exact_sum(numbers[i::parts]) for i in range(parts)), strict=True)
    return [*highs, *lows]
