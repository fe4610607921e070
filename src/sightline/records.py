"""The store behind a tracker, and its reduction to a snapshot."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np

from sightline import naming
from sightline.aggregates import ROW_LENGTH, Moments, Sketch, exact_sum
from sightline.snapshot import FAMILIES, FAMILY_OF, Snapshot, Spec, Value


class Records:
    """What a tracker holds between two drains."""

    __slots__ = ("rows", "scalars", "singles", "sketches", "texts")

    def __init__(self) -> None:
        self.scalars: dict[str, dict[str, list[float]]] = {}  # scope -> key -> values
        self.rows: dict[str, array[float]] = {}  # key -> rows of moments, one after another
        self.sketches: dict[str, list[Sketch]] = {}
        self.singles: dict[str, list[Value]] = {}  # key -> numbers of a sum, ratio, rate, last or timing
        self.texts: dict[str, str] = {}

    def copy(self) -> Records:
        twin = Records()
        twin.scalars = {s: {k: list(v) for k, v in table.items()} for s, table in self.scalars.items()}
        twin.rows = {k: array("d", v) for k, v in self.rows.items()}
        twin.sketches = {k: list(v) for k, v in self.sketches.items()}
        twin.singles = {k: list(v) for k, v in self.singles.items()}
        twin.texts = dict(self.texts)
        return twin


class Drained:
    """Records taken off a tracker, not reduced yet. Reducing is the background's work."""

    __slots__ = ("_records", "_specs")

    def __init__(self, records: Records, specs: Mapping[str, Spec]) -> None:
        self._records = records
        self._specs = specs

    def __bool__(self) -> bool:
        records = self._records
        return bool(records.scalars or records.rows or records.singles or records.texts)

    def recorded(self) -> list[str]:
        """The recorded keys, sorted."""
        records = self._records
        scalars = [naming.join(scope, key) for scope, table in records.scalars.items() for key in table]
        return sorted({*scalars, *records.rows, *records.singles, *records.texts})

    def snapshot(self, process: int) -> Snapshot:
        """Reduces the records to a snapshot of one process, vectorised over keys."""
        schema: dict[str, list[Spec]] = {family: [] for family in FAMILIES}
        moments, sketches = self._moments(schema["moments"], schema["timings"])
        timings: list[float] = []
        if schema["timings"]:  # scalars recorded with per_process=True
            means = dict(zip((spec.key for spec in schema["moments"]), moments.mean().tolist(), strict=True))
            timings = [means[spec.key] for spec in schema["timings"]]
        sums, lasts = [], []
        for key, numbers in sorted(self._records.singles.items()):
            if not numbers:
                continue
            spec = self._specs[key]
            schema[FAMILY_OF[spec.kind]].append(spec)
            match spec.kind:
                case "timing":
                    timings.append(exact_sum(numbers)[0])
                case "last":
                    lasts.append(float(numbers[-1]))
                case "ratio":
                    sums.append((*exact_sum(numbers[::2]), *exact_sum(numbers[1::2])))
                case _:
                    sums.append((*exact_sum(numbers), 0.0, 0.0))
        texts = sorted(self._records.texts.items())
        schema["texts"] = [self._specs[key] for key, _ in texts]
        return Snapshot(
            (process,),
            {family: tuple(specs) for family, specs in schema.items()},
            moments=moments,
            sums=np.array(sums, np.float64).reshape(-1, 4).T,
            lasts=np.array(lasts, np.float64),
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
        per_process += [self._specs[s.key + "\0"] for s in specs if s.key + "\0" in self._specs]
        sketches = [Sketch.merge(self._records.sketches[s.key]) for s in specs if s.quantiles]
        return merged, sketches
