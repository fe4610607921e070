"""A snapshot: everything that some processes recorded over some span, as mergeable aggregates and as bytes.

Bytes, format 1, little-endian::

    "SLSN"  u16 format  u16 flags  u32 schema length  u32 meta length  u32 body length  u32 crc32
    schema  JSON: {"files": [path, …], "<family>": [[key, kind, file, line, options], …], …}
    meta    JSON: {"processes": [p, …], "texts": [s, …], "sketches": [length, …]}
    body    moments: int64 count (K), then NaN, +inf and −inf counts (3, K) if flag 1; float64
            statistics (5, K)
            sums: float64 (4, K)   lasts: float64 (K)   timings: float64 (P, K)
            owners, if flag 2: int32 for each key of moments, sums, lasts and texts
            sketches: int32 buckets of all, int64 counts of all

The crc32 covers all the rest, the header included. A schema is the same from step to step and from process
to process, so the decoder keeps parsed schemas by their bytes; each snapshot is complete in itself all the
same.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sightline.errors import SnapshotError
from sightline.values.aggregates import NAN, Floats, Histogram, Ints, Moments, Sketch, as_number, merge_sums
from sightline.values.columns import Columns, Entries
from sightline.values.key_specs import (
    FAMILIES,
    Conflict,
    Schema,
    Spec,
    decode_schema,
    encode_schema,
    quantile_name,
)
from sightline.values.naming import COUNT_SUFFIX, folders_among

FORMAT = 1
_MAGIC = b"SLSN"
_HEADER = struct.Struct("<4sHHIII")
_CRC = struct.Struct("<I")
_START = _HEADER.size + _CRC.size  # where the schema begins
_HAS_NONFINITE, _HAS_OWNERS = 1, 2

Value = float | int


class Rendered(NamedTuple):
    """A snapshot as names and numbers.

    Attributes:
        values: what sinks show.
        counts: how many records stand behind a key, over all processes.
        texts: short strings.
        histograms: edges and counts, as :meth:`sightline.values.aggregates.Sketch.histogram` gives them.
        per_process: for timings and ``per_process`` scalars, a number for each of ``processes`` (NaN: none).
        processes: ascending.
        nonfinite: how many NaN and infinite records there were.
        hidden: keys left out because they are folders of others, each with one such other.
    """

    values: dict[str, Value]
    counts: dict[str, int]
    texts: dict[str, str]
    histograms: dict[str, Histogram]
    per_process: dict[str, list[float]]
    processes: tuple[int, ...]
    nonfinite: int
    hidden: dict[str, str]


@dataclass(slots=True)
class Snapshot:
    """Aggregates of K keys of each family, recorded by P processes.

    Take one from :meth:`StatsTracker.snapshot`; move it with :meth:`to_bytes` and :meth:`from_bytes`;
    combine with :meth:`merge`; turn into names and numbers with :meth:`render`.

    Attributes:
        processes: whose records are in here, ascending.
        schema: for each family the specs of its columns.
        moments: of scalars and summaries.
        sums: float64 ``(4, K)``: sum (high, low), and for ratios the denominator (high, low).
        lasts: float64 ``(K,)``.
        timings: float64 ``(P, K)``: a row for each process, NaN where it recorded nothing.
        texts: ``K`` strings.
        sketches: for each moments key with quantiles or bins, in order.
        owners: for each family, int32 ``(K,)``: the lowest process that recorded the key.
        conflicts: what :meth:`merge` had to drop, here and before. Not part of the bytes.

    Example:
        >>> import sightline as sl
        >>> first, second = sl.StatsTracker(), sl.StatsTracker()
        >>> first.scalar(loss=1.0), second.scalar(loss=3.0)
        (None, None)
        >>> merged = Snapshot.merge([first.snapshot(process=0), second.snapshot(process=1)])
        >>> merged.render().values
        {'loss': 2.0}
    """

    processes: tuple[int, ...]
    schema: Schema
    moments: Moments = field(default_factory=Moments.empty)
    sums: Floats = field(default_factory=lambda: np.zeros((4, 0)))
    lasts: Floats = field(default_factory=lambda: np.zeros(0))
    timings: Floats = field(default_factory=lambda: np.zeros((1, 0)))
    texts: list[str] = field(default_factory=list)
    sketches: list[Sketch] = field(default_factory=list)
    owners: dict[str, npt.NDArray[np.int32]] | None = None
    conflicts: list[Conflict] = field(default_factory=list)

    @classmethod
    def empty(cls, process: int = 0) -> Snapshot:
        """A process that recorded nothing."""
        return cls((process,), {})

    def __len__(self) -> int:
        return sum(map(len, self.schema.values()))

    def specs(self, family: str) -> tuple[Spec, ...]:
        """What the columns of a family are, in their order."""
        return self.schema.get(family, ())

    def owners_of(self, family: str) -> npt.NDArray[np.int32]:
        """For each column the lowest process that recorded it."""
        if self.owners is None:
            return np.full(len(self.specs(family)), self.processes[0], np.int32)
        return self.owners[family]

    def numbered_from(self, first: int) -> Snapshot:
        """The same, its processes numbered anew, in their order: ``first``, ``first + 1``, …

        For workers that do not know their place among the others, and so all call themselves process 0.
        """
        owners = self.owners and {
            family: (first + np.searchsorted(self.processes, each)).astype(np.int32)
            for family, each in self.owners.items()
        }
        processes = tuple(range(first, first + len(self.processes)))
        number = dict(zip(self.processes, processes, strict=True)).__getitem__
        conflicts = [
            Conflict(kept, dropped, number(kept_process), number(dropped_process))
            for kept, dropped, kept_process, dropped_process in self.conflicts
        ]
        return replace(self, processes=processes, owners=owners, conflicts=conflicts)

    # --- merging -------------------------------------------------------------------------------------------

    @staticmethod
    def merge(snapshots: Sequence[Snapshot]) -> Snapshot:
        """Merges any number of snapshots, all keys and all snapshots at once.

        Snapshots of different processes merge in any order and any grouping to the same result. Successive
        snapshots of one process are given in their order: timings add up, and the later last value, text and
        ``per_process`` mean win. Of a key with two reductions the one of the lowest process is kept, and the
        others are listed in ``conflicts``.

        Raises:
            ValueError: nothing to merge.
        """
        if not snapshots:
            raise ValueError("Snapshot.merge needs one snapshot or more, and got none")
        if len(snapshots) == 1:
            return snapshots[0]
        union = Columns(snapshots)
        processes = tuple(sorted({p for part in snapshots for p in part.processes}))
        merged = Snapshot(processes, union.schema, conflicts=union.conflicts, owners={})
        assert merged.owners is not None
        for family in ("moments", "sums", "lasts", "texts"):
            if union.schema[family]:
                entries = Entries(union, family)
                merged.owners[family] = entries.owners
                getattr(merged, f"_merge_{family}")(union, entries)
            else:
                merged.owners[family] = np.zeros(0, np.int32)
        merged._merge_timings(union)
        return merged

    def _merge_moments(self, union: Columns[Snapshot], entries: Entries) -> None:
        flat = Moments.concatenate([part.moments for part in union.parts]).select(entries.order)
        drop = entries.replicated_elsewhere()
        if drop.size:
            flat.counts[:, drop] = 0
            flat.stats[:, drop] = Moments.empty(1).stats
        self.moments = flat.merge_segments(entries.starts)
        if any(spec.sketched for spec in self.specs("moments")):
            self.sketches = self._merge_sketches(union, entries)

    def _merge_sketches(self, union: Columns[Snapshot], entries: Entries) -> list[Sketch]:
        specs = self.specs("moments")
        found: dict[int, list[Sketch]] = {i: [] for i, spec in enumerate(specs) if spec.sketched}
        for part in union.parts:
            with_sketch = [i for i, spec in enumerate(part.specs("moments")) if spec.sketched]
            places = union.positions(part, "moments")[with_sketch].tolist()
            owners = part.owners_of("moments")[with_sketch].tolist()
            for place, owner, sketch in zip(places, owners, part.sketches, strict=True):
                if place >= 0 and not (specs[place].replicated and owner != entries.owners[place]):
                    found[place].append(sketch)
        return [Sketch.merge(sketches) for sketches in found.values()]

    def _merge_sums(self, union: Columns[Snapshot], entries: Entries) -> None:
        flat = np.concatenate([part.sums for part in union.parts], axis=1)[:, entries.order]
        flat[:, entries.replicated_elsewhere()] = 0.0
        self.sums = np.stack(
            [*merge_sums(flat[0], flat[1], entries.starts), *merge_sums(flat[2], flat[3], entries.starts)]
        )

    def _merge_lasts(self, union: Columns[Snapshot], entries: Entries) -> None:
        flat = np.concatenate([part.lasts for part in union.parts])[entries.order]
        self.lasts = flat[entries.latest_of_owner()]

    def _merge_texts(self, union: Columns[Snapshot], entries: Entries) -> None:
        flat = [text for part in union.parts for text in part.texts]
        self.texts = [flat[i] for i in entries.order[entries.latest_of_owner()]]

    def _merge_timings(self, union: Columns[Snapshot]) -> None:
        specs = union.schema["timings"]
        width = len(specs)
        row = {p: i * width for i, p in enumerate(self.processes)}
        self.timings = np.full((len(row), width), np.nan)
        if not width:
            return
        values = np.concatenate([part.timings.ravel() for part in union.parts])
        columns = np.concatenate(
            [union.positions(part, "timings") for part in union.parts for _ in part.processes]
        )
        widths = [len(part.specs("timings")) for part in union.parts for _ in part.processes]
        rows = np.repeat([row[p] for part in union.parts for p in part.processes], widths)
        kept = (columns >= 0) & ~np.isnan(values)
        values, columns, cells = values[kept], columns[kept], (rows + columns)[kept]
        adds = np.array([spec.kind != "per_process" for spec in specs], bool)[columns]
        table = self.timings.reshape(-1)
        table[cells[adds]] = 0.0
        np.add.at(table, cells[adds], values[adds])
        table[cells[~adds]] = values[~adds]  # where one process has several, the last one stays

    # --- rendering -----------------------------------------------------------------------------------------

    def render(self, *, wall_s: float | None = None) -> Rendered:
        """Names and numbers, sorted by name.

        Args:
            wall_s: the step's wall time in seconds, by which rates without ``over`` are divided; without it
                (or with 0) such rates are left out.
        """
        values: dict[str, Value] = {}
        counts: dict[str, int] = {}
        histograms: dict[str, Histogram] = {}
        self._render_moments(values, counts, histograms)
        per_process = self._render_timings(values)
        self._render_sums(values, wall_s)
        for spec, last in zip(self.specs("lasts"), self.lasts.tolist(), strict=True):
            values[spec.key] = last
        texts = {spec.key: text for spec, text in zip(self.specs("texts"), self.texts, strict=True)}
        hidden = folders_among((*values, *texts, *histograms))
        for key in hidden:
            for table in (values, texts, histograms):
                table.pop(key, None)
        nonfinite = sum(sum(kinds.values()) for _, kinds in self.nonfinite())
        return Rendered(
            dict(sorted(values.items())), dict(sorted(counts.items())), dict(sorted(texts.items())),
            dict(sorted(histograms.items())), dict(sorted(per_process.items())), self.processes, nonfinite,
            hidden,
        )  # fmt: skip

    def nonfinite(self) -> list[tuple[Spec, dict[str, int]]]:
        """The keys with NaN or infinite records, and how many there are of each kind.

        A sum, a part of a ratio and a last value count as one.

        Example:
            >>> import sightline as sl
            >>> tracker = sl.StatsTracker()
            >>> tracker.summary("grad", [1.0, math.nan, -math.inf, math.nan])
            >>> [(spec.key, kinds) for spec, kinds in tracker.snapshot().nonfinite()]
            [('grad', {'nan': 2, '-inf': 1})]
        """
        odd = {
            "moments": self.moments.counts[NAN:],
            "sums": _kinds(self.sums[[0, 2]]).sum(1),
            "lasts": _kinds(self.lasts),
        }
        return [
            (spec, {kind: count for kind, count in zip(_NONFINITE, counts, strict=True) if count})
            for family, table in odd.items()
            if table.any()
            for spec, counts in zip(self.specs(family), table.T.tolist(), strict=True)
            if any(counts)
        ]

    def partial(self) -> dict[str, tuple[int, int]]:
        """Global arrays of which a part was not recorded: elements that were, and that there are.

        Each process that records a global array knows its size and reduces its own shards; if the shards do
        not add up to the size, some owners have not recorded it. Arrays on other devices are other arrays.
        """
        counts = {
            (spec.key, spec.over, spec.kind): column[~np.isnan(column)]
            for spec, column in zip(self.specs("timings"), self.timings.T, strict=True)
            if spec.kind in ("covered", "expected")
        }
        found: dict[str, tuple[int, int]] = {}
        for (key, where, kind), sizes in counts.items():
            covered, expected = int(counts[key, where, "covered"].sum()), int(sizes.max(initial=0))
            if kind == "expected" and covered < expected:
                before = found.get(key, (0, 0))
                found[key] = (before[0] + covered, before[1] + expected)
        return found

    def _render_moments(
        self, values: dict[str, Value], counts: dict[str, int], histograms: dict[str, Histogram]
    ) -> None:
        specs = self.specs("moments")
        if not specs:
            return
        m = self.moments
        records = m.counts[0].tolist()
        finite = m.finite().tolist()
        columns = {
            "mean": m.mean().tolist(),
            "std": m.std().tolist(),
            "min": m.stats[3].tolist(),
            "max": m.stats[4].tolist(),
            "sum": m.total().tolist(),
            "count": records,
        }
        sketches = iter(self.sketches)
        for i, spec in enumerate(specs):
            counts[spec.key + COUNT_SUFFIX] = records[i]
            sketch = next(sketches) if spec.sketched else None
            if not records[i]:
                continue
            if spec.kind == "scalar":
                values[spec.key] = columns["mean"][i]
                continue
            for name in spec.emit:
                if finite[i] or name not in ("min", "max"):
                    values[f"{spec.key}/{name}"] = columns[name][i]
            if sketch is not None and finite[i]:
                low, high = columns["min"][i], columns["max"][i]
                for q in spec.quantiles:
                    values[f"{spec.key}/{quantile_name(q)}"] = min(max(sketch.quantile(q), low), high)
                if spec.bins:
                    histograms[spec.key] = sketch.histogram(low, high, spec.bins)

    def _render_timings(self, values: dict[str, Value]) -> dict[str, list[float]]:
        per_process: dict[str, list[float]] = {}
        for spec, column in zip(self.specs("timings"), self.timings.T, strict=True):
            if spec.kind in ("covered", "expected"):
                continue
            per_process[spec.key] = column.tolist()
            recorded = ~np.isnan(column)
            if spec.kind == "timing" and recorded.any():
                slowest = int(np.nanargmax(column))
                values[spec.key] = float(column[recorded].mean())
                values[f"{spec.key}_max"] = float(column[slowest])
                values[f"{spec.key}_slowest"] = self.processes[slowest]
        return per_process

    def _render_sums(self, values: dict[str, Value], wall_s: float | None) -> None:
        for spec, column in zip(self.specs("sums"), self.sums.T.tolist(), strict=True):
            amount = as_number(column[0], column[1])
            if spec.kind == "total":
                values[spec.key] = amount
                continue
            if spec.kind == "ratio":
                divisor: Value | None = as_number(column[2], column[3])
            else:
                divisor = values.get(spec.over) if spec.over else wall_s
            if divisor:
                values[spec.key] = amount / divisor

    # --- bytes ---------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The snapshot in format 1 (see the module), complete in itself; float64 values bit for bit."""
        import orjson  # late: a seventh of what importing sightline takes

        schema = encode_schema(tuple(self.specs(family) for family in FAMILIES))
        meta = orjson.dumps(
            {
                "processes": self.processes,
                "texts": self.texts,
                "sketches": [sketch.buckets.size for sketch in self.sketches],
            }
        )
        flags = _HAS_NONFINITE if self.moments.counts[1:].any() else 0
        columns: list[npt.NDArray[Any]] = [
            self.moments.counts if flags else self.moments.counts[:1],
            self.moments.stats,
            self.sums,
            self.lasts,
            self.timings,
        ]
        if self.owners is not None:
            flags |= _HAS_OWNERS
            columns += [self.owners[family] for family in ("moments", "sums", "lasts", "texts")]
        columns += [sketch.buckets for sketch in self.sketches] + [sketch.counts for sketch in self.sketches]
        body = b"".join(np.ascontiguousarray(c, c.dtype.newbyteorder("<")).tobytes() for c in columns)
        header = _HEADER.pack(_MAGIC, FORMAT, flags, len(schema), len(meta), len(body))
        crc = zlib.crc32(body, zlib.crc32(meta, zlib.crc32(schema, zlib.crc32(header))))
        return b"".join((header, _CRC.pack(crc), schema, meta, body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Decodes :meth:`to_bytes`.

        Raises:
            SnapshotError: foreign, cut, damaged or newer bytes.
        """
        if len(data) < _START or data[:4] != _MAGIC:
            start = bytes(data[:8])
            raise SnapshotError(f"{len(data)} bytes starting {start!r} are not a sightline snapshot")
        _, version, flags, n_schema, n_meta, n_body = _HEADER.unpack_from(data)
        if version > FORMAT:
            raise SnapshotError(
                f"snapshot of format {version}, and this sightline reads up to {FORMAT}: "
                f"install the same version of sightline on all processes"
            )
        if len(data) != _START + n_schema + n_meta + n_body:
            expected = _START + n_schema + n_meta + n_body
            raise SnapshotError(
                f"snapshot of {len(data)} bytes where its header says {expected}: cut or joined"
            )
        crc = zlib.crc32(memoryview(data)[_START:], zlib.crc32(data[: _HEADER.size]))
        if _CRC.unpack_from(data, _HEADER.size) != (crc,):
            raise SnapshotError(f"snapshot of {len(data)} bytes is damaged: its checksum does not fit")
        try:
            return cls._decode(data, flags, n_schema, n_meta)
        except (ValueError, TypeError, LookupError) as error:
            raise SnapshotError(f"snapshot of {len(data)} bytes is whole but malformed: {error!r}") from error

    @classmethod
    def _decode(cls, data: bytes, flags: int, n_schema: int, n_meta: int) -> Snapshot:
        import orjson

        at = _START + n_schema
        schema = decode_schema(bytes(data[_START:at]))
        meta = orjson.loads(data[at : at + n_meta])
        take = _Reader(data, at + n_meta)
        sizes = {family: len(schema[family]) for family in FAMILIES}
        processes = tuple(meta["processes"])
        k = sizes["moments"]
        counts = np.zeros((4, k), np.int64)
        with_nonfinite = 4 if flags & _HAS_NONFINITE else 1
        counts[:with_nonfinite] = take("<i8", with_nonfinite, k)
        snapshot = cls(
            processes,
            schema,
            moments=Moments(counts, take("<f8", 5, k)),
            sums=take("<f8", 4, sizes["sums"]),
            lasts=take("<f8", sizes["lasts"]),
            timings=take("<f8", len(processes), sizes["timings"]),
            texts=meta["texts"],
        )
        if flags & _HAS_OWNERS:
            snapshot.owners = {f: take("<i4", sizes[f]) for f in ("moments", "sums", "lasts", "texts")}
        buckets = [take("<i4", n) for n in meta["sketches"]]
        snapshot.sketches = [Sketch(b, take("<i8", b.size)) for b in buckets]
        if take.at != len(data):
            raise ValueError(f"{len(data) - take.at} bytes too many")
        return snapshot


class _Reader:
    """Takes arrays off a buffer, one after another."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def __call__(self, dtype: str, *shape: int) -> npt.NDArray[Any]:
        array = np.frombuffer(self.data, dtype, math.prod(shape), self.at).reshape(shape)
        self.at += array.nbytes
        return array


_NONFINITE = ("nan", "inf", "-inf")


def _kinds(numbers: Floats) -> Ints:
    """Which numbers are NaN, +inf and −inf, int64 ``(3, …)``."""
    return np.stack([np.isnan(numbers), np.isposinf(numbers), np.isneginf(numbers)]).astype(np.int64)
