"""What was taken off a tracker: waiting for its device values, and reducing it to a snapshot."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import numpy as np

from sightline.recording.records import Records
from sightline.values import naming
from sightline.values.aggregates import ROW_LENGTH, Moments, Sketch, exact_sum
from sightline.values.key_specs import FAMILIES, FAMILY_OF, Spec
from sightline.values.samples import Block
from sightline.values.snapshot import Snapshot

_POLL_S = (0.0002, 0.01)  # first and longest pause while waiting for a device


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
        self._records.settle()
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
        records.settle(all_of_them=True)
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
