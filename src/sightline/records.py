"""The store behind a tracker, and its reduction to a snapshot."""

from __future__ import annotations

import logging
import time
from array import array
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from sightline import naming
from sightline.aggregates import ROW_LENGTH, Moments, Row, Sketch, exact_sum
from sightline.samples import MOST_ROWS, Block
from sightline.snapshot import FAMILIES, FAMILY_OF, Snapshot, Spec, Value

log = logging.getLogger("sightline")

_POLL_S = (0.0002, 0.01)  # first and longest pause while waiting for a device


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
    """What a tracker holds between two drains."""

    __slots__ = (
        "deferred", "lasts", "order", "rows", "sample_rows", "samples", "scalars", "singles", "sketches",
        "texts", "trouble",
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

    def add_scalar(self, scope: str, key: str, number: float) -> None:
        self.scalars.setdefault(scope, {}).setdefault(key, []).append(number)

    def add_row(self, key: str, row: Row) -> None:
        self.rows.setdefault(key, array("d")).extend(row)

    def add_sketch(self, key: str, sketch: Sketch) -> None:
        self.sketches.setdefault(key, []).append(sketch)

    def add_numbers(self, key: str, *numbers: Value) -> None:
        """The parts of a sum, ratio, rate or timing."""
        self.singles.setdefault(key, []).extend(numbers)

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


class Drained:
    """Records taken off a tracker, not reduced yet. Reducing is the background's work."""

    __slots__ = ("_records", "_specs")

    def __init__(self, records: Records, specs: Mapping[str, Spec]) -> None:
        self._records = records
        self._specs = specs

    @property
    def trouble(self) -> Counter[str]:
        """What went wrong with device values, as in ``obs/*``."""
        return self._records.trouble

    def take_samples(self) -> list[Block]:
        """The rows of sample tables, which are no part of the snapshot."""
        blocks = list(self._records.samples)
        self._records.samples.clear()
        return blocks

    def __bool__(self) -> bool:
        return bool(self.recorded())

    def recorded(self) -> list[str]:
        """The recorded keys, sorted."""
        records = self._records
        scalars = [naming.join(scope, key) for scope, table in records.scalars.items() for key in table]
        deferred = [key for each in records.deferred for key in each.keys]
        keys = {*scalars, *records.rows, *records.singles, *records.lasts, *records.texts, *deferred}
        return sorted(key for key in keys if "\0" not in key)

    def specs(self) -> list[Spec]:
        """What is recorded under them."""
        return [self._specs[key] for key in self.recorded()]

    # --- device values -------------------------------------------------------------------------------------

    def settle(self) -> int:
        """Takes in the device values that have arrived; returns how many have not."""
        settle(self._records)
        return len(self._records.deferred)

    def wait(self, timeout: float) -> None:
        """Waits for the device values, and gives up at the timeout."""
        end = time.monotonic() + timeout
        pause = _POLL_S[0]
        while self.settle() and time.monotonic() < end:
            time.sleep(pause)
            pause = min(1.5 * pause, _POLL_S[1])
        self.give_up()

    def give_up(self) -> None:
        """Goes on without the device values that are not there."""
        records = self._records
        settle(records, all_of_them=True)
        if records.deferred:
            self.trouble["pending_device_values"] += sum(len(each.keys) for each in records.deferred)
            records.deferred = []

    def split(self) -> Drained | None:
        """Takes away what has not arrived, as records of its own; None if there is none."""
        if not self.settle():
            return None
        rest = Records()
        rest.deferred, self._records.deferred = self._records.deferred, []
        return Drained(rest, self._specs)

    # --- reducing ------------------------------------------------------------------------------------------

    def snapshot(self, process: int) -> Snapshot:
        """Reduces the records to a snapshot of one process, vectorised over keys.

        Device values must be settled or given up before; those that are not are left out.
        """
        schema: dict[str, list[Spec]] = {family: [] for family in FAMILIES}
        moments, sketches = self._moments(schema["moments"], schema["timings"])
        timings: list[float] = []
        if schema["timings"]:  # scalars recorded with per_process=True
            means = dict(zip((spec.key for spec in schema["moments"]), moments.mean().tolist(), strict=True))
            timings = [means[spec.key] for spec in schema["timings"]]
        sums = []
        for key, numbers in sorted(self._records.singles.items()):
            if not numbers:
                continue
            spec = self._specs[key]
            schema[FAMILY_OF[spec.kind]].append(spec)
            match spec.kind:
                case "timing" | "covered" | "expected":
                    timings.append(exact_sum(numbers)[0])
                case "ratio":
                    sums.append((*exact_sum(numbers[::2]), *exact_sum(numbers[1::2])))
                case _:
                    sums.append((*exact_sum(numbers), 0.0, 0.0))
        lasts = sorted(self._records.lasts.items())
        schema["lasts"] = [self._specs[key] for key, _ in lasts]
        texts = sorted(self._records.texts.items())
        schema["texts"] = [self._specs[key] for key, _ in texts]
        return Snapshot(
            (process,),
            {family: tuple(specs) for family, specs in schema.items()},
            moments=moments,
            sums=np.array(sums, np.float64).reshape(-1, 4).T,
            lasts=np.array([number for _, (_, number) in lasts], np.float64),
            timings=np.array(timings, np.float64)[None],
            texts=[text for _, text in texts],
            sketches=sketches,
        )

    def _moments(self, specs: list[Spec], per_process: list[Spec]) -> tuple[Moments, list[Sketch]]:
        keys: list[str] = []
        parts: list[Moments] = []
        flat: list[float] = []
        starts: list[int] = []
        for scope, table in self._records.scalars.items():
            for key, values in table.items():
                if values:
                    keys.append(naming.join(scope, key))
                    starts.append(len(flat))
                    flat.extend(values)
        if keys:
            parts.append(Moments.of_segments(np.array(flat), np.array(starts)))
        rows = {key: np.frombuffer(v).reshape(-1, ROW_LENGTH) for key, v in self._records.rows.items() if v}
        if rows:
            keys += [key for key, table in rows.items() for _ in table]
            parts.append(Moments.from_rows(np.concatenate(list(rows.values()))))
        if not keys:
            return Moments.empty(), []
        order = sorted(range(len(keys)), key=keys.__getitem__)
        first = [i for i, at in enumerate(order) if i == 0 or keys[at] != keys[order[i - 1]]]
        merged = Moments.concatenate(parts).select(np.array(order)).merge_segments(np.array(first))
        specs += [self._specs[keys[order[i]]] for i in first]
        beside = (self._specs.get(f"{s.key}\0per_process") for s in specs)
        per_process += [spec for spec in beside if spec is not None]
        sketches = [Sketch.merge(self._records.sketches[s.key]) for s in specs if s.sketched]
        return merged, sketches


_said: set[str] = set()  # keys whose device values have failed


def settle(records: Records, *, all_of_them: bool = False) -> None:
    """Takes in the device values that have arrived, and counts those that failed.

    Args:
        all_of_them: look at each; else stop at the first that is not ready, since devices compute in order.
    """
    waiting, records.deferred = records.deferred, []
    for i, each in enumerate(waiting):
        try:
            if each.ready():
                each.settle(records)
                continue
        except Exception as error:  # noqa: BLE001 - of the computation, or a mask that proves to be none
            fail(records, each.keys, error)
            continue
        if not all_of_them:
            records.deferred[:0] = waiting[i:]
            break
        records.deferred.append(each)


def fail(records: Records, keys: Sequence[str], error: Exception) -> None:
    """Counts device values that are not to be had, and says so once for each key."""
    records.trouble["failed_device_values"] += len(keys)
    if not _said.issuperset(keys):
        _said.update(keys)
        log.warning("sightline: %s is left out: %s (said once)", ", ".join(keys), error)
