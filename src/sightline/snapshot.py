"""A snapshot: everything that some processes recorded over some span, as mergeable aggregates and as bytes.

Bytes, format 1, little-endian::

    "SLSN"  u16 format  u16 flags  u32 schema length  u32 meta length  u32 body length  u32 crc32
    schema  JSON: {"files": [path, …], "<family>": [[key, kind, file, line, options], …], …}
    meta    JSON: {"processes": [p, …], "texts": [s, …], "sketches": [length, …]}
    body    moments: int64 count (K), then NaN, +inf and −inf counts (3, K) if flag 1; float64 statistics (5, K)
            sums: float64 (4, K)   lasts: float64 (K)   timings: float64 (P, K)
            owners, if flag 2: int32 for each key of moments, sums, lasts and texts
            sketches: int32 buckets of all, int64 counts of all

The crc32 covers schema, meta and body. A schema is the same from step to step and from process to process,
so the decoder keeps parsed schemas by their bytes; each snapshot is complete in itself all the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from sightline.aggregates import Floats, Moments, Sketch, as_number, merge_sums
from sightline.errors import SnapshotError
from sightline.naming import COUNT_SUFFIX, folders_among

FORMAT = 1
_MAGIC = b"SLSN"
_HEADER = struct.Struct("<4sHHIIII")
_HAS_NONFINITE, _HAS_OWNERS = 1, 2

Value = float | int

# Which columns hold a kind.
FAMILY_OF = {
    "scalar": "moments",
    "summary": "moments",
    "total": "sums",
    "ratio": "sums",
    "rate": "sums",
    "last": "lasts",
    "timing": "timings",
    "per_process": "timings",
    "text": "texts",
}
FAMILIES = ("moments", "sums", "lasts", "timings", "texts")

EMITS = ("mean", "std", "min", "max", "sum", "count")


class Spec(NamedTuple):
    """What is recorded under a key: the reduction, its options, and where in the code it was first recorded."""

    key: str
    kind: str
    file: str = ""
    line: int = 0
    emit: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    over: str = ""
    replicated: bool = False

    @property
    def site(self) -> str:
        return f"{self.file}:{self.line}"

    def exported(self) -> list[str]:
        """The names under which :meth:`Snapshot.render` gives this key (counts aside)."""
        match self.kind:
            case "summary":
                return [f"{self.key}/{name}" for name in (*self.emit, *map(quantile_name, self.quantiles))]
            case "timing":
                return [self.key, f"{self.key}_max", f"{self.key}_slowest"]
            case "per_process":
                return []
        return [self.key]


def quantile_name(q: float) -> str:
    """``0.5`` → ``p50``, ``0.999`` → ``p99.9``."""
    return f"p{100 * q:.10g}"


Schema = dict[str, tuple[Spec, ...]]


class Conflict(NamedTuple):
    """One key with two reductions: the lowest process's wins."""

    kept: Spec
    dropped: Spec
    kept_process: int
    dropped_process: int

    def __str__(self) -> str:
        kept, dropped = self.kept, self.dropped
        return (
            f"{kept.key!r} is a {kept.kind} on process {self.kept_process} ({kept.site}) and a {dropped.kind} on "
            f"process {self.dropped_process} ({dropped.site}); the latter is left out"
        )


class Rendered(NamedTuple):
    """A snapshot as names and numbers.

    Attributes:
        values: what sinks show.
        counts: how many records stand behind a key, over all processes.
        texts: short strings.
        per_process: for timings and ``per_process`` scalars, one number for each of ``processes`` (NaN: none).
        processes: ascending.
        nonfinite: how many NaN and infinite records there were.
        hidden: keys left out because they are folders of others, each with one such other.
    """

    values: dict[str, Value]
    counts: dict[str, int]
    texts: dict[str, str]
    per_process: dict[str, list[float]]
    processes: tuple[int, ...]
    nonfinite: int
    hidden: dict[str, str]


def _no_moments() -> Moments:
    return Moments.empty()


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
        sketches: for each moments key with quantiles, in order.
        owners: for each family, int32 ``(K,)``: the lowest process that recorded the key.
        conflicts: what :meth:`merge` had to drop. Not part of the bytes.

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
    moments: Moments = field(default_factory=_no_moments)
    sums: Floats = field(default_factory=lambda: np.zeros((4, 0)))
    lasts: Floats = field(default_factory=lambda: np.zeros(0))
    timings: Floats = field(default_factory=lambda: np.zeros((1, 0)))
    texts: list[str] = field(default_factory=list)
    sketches: list[Sketch] = field(default_factory=list)
    owners: dict[str, npt.NDArray[np.int32]] | None = None
    conflicts: list[Conflict] = field(default_factory=list)

    @classmethod
    def empty(cls, process: int = 0) -> Snapshot:
        return cls((process,), {})

    def __len__(self) -> int:
        return sum(map(len, self.schema.values()))

    def specs(self, family: str) -> tuple[Spec, ...]:
        return self.schema.get(family, ())

    def owners_of(self, family: str) -> npt.NDArray[np.int32]:
        if self.owners is None:
            return np.full(len(self.specs(family)), self.processes[0], np.int32)
        return self.owners[family]

    # --- merging -------------------------------------------------------------------------------------------

    @staticmethod
    def merge(snapshots: Sequence[Snapshot]) -> Snapshot:
        """Merges any number of snapshots, all keys and all snapshots at once.

        Snapshots of different processes merge in any order to the same result. Successive snapshots of one
        process are given in their order: timings add up, and the later last value and text win.

        Raises:
            ValueError: nothing to merge.
        """
        if not snapshots:
            raise ValueError("Snapshot.merge needs one snapshot or more, and got none")
        if len(snapshots) == 1:
            return snapshots[0]
        parts = sorted(snapshots, key=lambda s: s.processes[0])  # stable: one process's stay in order
        union = _Union(parts)
        processes = tuple(sorted({p for part in parts for p in part.processes}))
        merged = Snapshot(processes, union.schema, conflicts=union.conflicts, owners={})
        assert merged.owners is not None
        for family in ("moments", "sums", "lasts", "texts"):
            if union.schema[family]:
                entries = _Entries(union, family)
                merged.owners[family] = entries.owners
                getattr(merged, f"_merge_{family}")(union, entries)
            else:
                merged.owners[family] = np.zeros(0, np.int32)
        merged._merge_timings(union)
        return merged

    def _merge_moments(self, union: _Union, entries: _Entries) -> None:
        flat = Moments.concatenate([part.moments for part in union.parts]).select(entries.order)
        drop = entries.replicated_elsewhere()
        if drop.any():
            flat.counts[:, drop] = 0
            flat.stats[:, drop] = Moments.empty(1).stats
        self.moments = flat.merge_segments(entries.starts)
        if any(spec.quantiles for spec in self.specs("moments")):
            self.sketches = self._merge_sketches(union, entries)

    def _merge_sketches(self, union: _Union, entries: _Entries) -> list[Sketch]:
        found: dict[str, list[Sketch]] = {s.key: [] for s in self.specs("moments") if s.quantiles}
        lowest = dict(zip((s.key for s in self.specs("moments")), entries.owners.tolist(), strict=True))
        for part in union.parts:
            owners = part.owners_of("moments").tolist()
            with_sketch = [i for i, s in enumerate(part.specs("moments")) if s.quantiles]
            for i, sketch in zip(with_sketch, part.sketches, strict=True):
                spec = part.specs("moments")[i]
                if spec.key in found and not (spec.replicated and owners[i] != lowest[spec.key]):
                    found[spec.key].append(sketch)
        none = Sketch.of(np.zeros(0))
        return [Sketch.merge(sketches or [none]) for sketches in found.values()]

    def _merge_sums(self, union: _Union, entries: _Entries) -> None:
        flat = np.concatenate([part.sums for part in union.parts], axis=1)[:, entries.order]
        flat[:, entries.replicated_elsewhere()] = 0.0
        self.sums = np.stack(
            [*merge_sums(flat[0], flat[1], entries.starts), *merge_sums(flat[2], flat[3], entries.starts)]
        )

    def _merge_lasts(self, union: _Union, entries: _Entries) -> None:
        flat = np.concatenate([part.lasts for part in union.parts])[entries.order]
        self.lasts = flat[entries.latest_of_owner()]

    def _merge_texts(self, union: _Union, entries: _Entries) -> None:
        flat = [text for part in union.parts for text in part.texts]
        self.texts = [flat[i] for i in entries.order[entries.latest_of_owner()]]

    def _merge_timings(self, union: _Union) -> None:
        specs = union.schema["timings"]
        row = {p: i for i, p in enumerate(self.processes)}
        adds = np.array([spec.kind == "timing" for spec in specs], bool)
        table = np.full((len(row), len(specs)), np.nan)
        for part in union.parts:
            columns = union.positions(part, "timings")
            keep = columns >= 0
            columns = columns[keep]
            for process, values in zip(part.processes, part.timings, strict=True):
                new = values[keep]
                old = table[row[process], columns]
                both = ~np.isnan(old) & ~np.isnan(new)
                table[row[process], columns] = np.where(
                    both, np.where(adds[columns], old + new, new), np.where(np.isnan(new), old, new)
                )
        self.timings = table

    # --- rendering -----------------------------------------------------------------------------------------

    def render(self, *, wall_s: float | None = None) -> Rendered:
        """Names and numbers, sorted by name.

        Args:
            wall_s: the step's wall time in seconds, by which rates without ``over`` are divided; without it
                (or with 0) such rates are left out.
        """
        values: dict[str, Value] = {}
        counts: dict[str, int] = {}
        self._render_moments(values, counts)
        per_process = self._render_timings(values)
        self._render_sums(values, wall_s)
        for spec, last in zip(self.specs("lasts"), self.lasts.tolist(), strict=True):
            values[spec.key] = last
        texts = {spec.key: text for spec, text in zip(self.specs("texts"), self.texts, strict=True)}
        hidden = folders_among((*values, *texts))
        for key in hidden:
            values.pop(key, None)
            texts.pop(key, None)
        nonfinite = int(self.moments.nonfinite().sum())
        nonfinite += int((~np.isfinite(self.sums[0])).sum() + (~np.isfinite(self.lasts)).sum())
        return Rendered(
            dict(sorted(values.items())), dict(sorted(counts.items())), dict(sorted(texts.items())),
            dict(sorted(per_process.items())), self.processes, nonfinite, hidden,
        )  # fmt: skip

    def _render_moments(self, values: dict[str, Value], counts: dict[str, int]) -> None:
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
            sketch = next(sketches) if spec.quantiles else None
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

    def _render_timings(self, values: dict[str, Value]) -> dict[str, list[float]]:
        per_process: dict[str, list[float]] = {}
        for spec, column in zip(self.specs("timings"), self.timings.T, strict=True):
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
        schema = _encode_schema(tuple(self.specs(family) for family in FAMILIES))
        meta = orjson.dumps(
            {
                "processes": self.processes,
                "texts": self.texts,
                "sketches": [sketch.buckets.size for sketch in self.sketches],
            }
        )
        flags = _HAS_NONFINITE if self.moments.counts[1:].any() else 0
        columns = [
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
        crc = zlib.crc32(body, zlib.crc32(meta, zlib.crc32(schema)))
        header = _HEADER.pack(_MAGIC, FORMAT, flags, len(schema), len(meta), len(body), crc)
        return b"".join((header, schema, meta, body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Decodes :meth:`to_bytes`.

        Raises:
            SnapshotError: foreign, cut, damaged or newer bytes.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC:
            raise SnapshotError(f"{len(data)} bytes starting {bytes(data[:8])!r} are not a sightline snapshot")
        _, version, flags, n_schema, n_meta, n_body, crc = _HEADER.unpack_from(data)
        if version > FORMAT:
            raise SnapshotError(
                f"snapshot of format {version}, and this sightline reads up to {FORMAT}: "
                f"install the same version of sightline on all processes"
            )
        expected = _HEADER.size + n_schema + n_meta + n_body
        if len(data) != expected:
            raise SnapshotError(f"snapshot of {len(data)} bytes where its header says {expected}: cut or joined")
        if zlib.crc32(memoryview(data)[_HEADER.size :]) != crc:
            raise SnapshotError(f"snapshot of {len(data)} bytes is damaged: its checksum does not fit")
        at = _HEADER.size
        schema = _decode_schema(bytes(data[at : at + n_schema]))
        meta = orjson.loads(data[at + n_schema : at + n_schema + n_meta])
        take = _Reader(data, at + n_schema + n_meta)
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
        return snapshot


class _Reader:
    """Takes arrays off a buffer, one after another."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def __call__(self, dtype: str, *shape: int) -> npt.NDArray[np.generic]:
        size = 1
        for n in shape:
            size *= n
        array = np.frombuffer(self.data, dtype, size, self.at).reshape(shape)
        self.at += array.nbytes
        return array


class _Union:
    """The keys of several snapshots put together, and where each snapshot's columns go."""

    def __init__(self, parts: Sequence[Snapshot]) -> None:
        self.parts = parts
        self.conflicts: list[Conflict] = []
        self._positions: dict[int, dict[str, npt.NDArray[np.intp]]] = {}
        chosen: dict[str, tuple[str, int, Spec, int]] = {}  # key -> family, position, spec, process
        columns: dict[str, list[Spec]] = {family: [] for family in FAMILIES}
        for part in parts:
            if id(part.schema) in self._positions:
                continue  # the decoder gives equal schemas as one object
            places = self._positions[id(part.schema)] = {}
            for family in FAMILIES:
                at: list[int] = []
                for spec in part.specs(family):
                    # A per_process column stands beside the scalar of the same key.
                    name = f"{spec.key}\0" if spec.kind == "per_process" else spec.key
                    known = chosen.get(name)
                    if known is None:
                        known = chosen[name] = (family, len(columns[family]), spec, part.processes[0])
                        columns[family].append(spec)
                    kept = known[2]
                    if kept is spec or kept.kind == spec.kind:
                        at.append(known[1])
                    else:
                        at.append(-1)
                        self.conflicts.append(Conflict(kept, spec, known[3], part.processes[0]))
                places[family] = np.array(at, np.intp)
        self.schema: Schema = {family: tuple(specs) for family, specs in columns.items()}

    def positions(self, part: Snapshot, family: str) -> npt.NDArray[np.intp]:
        """For each column of the part its column in the union, or −1 where it lost a conflict."""
        return self._positions[id(part.schema)][family]


class _Entries:
    """All columns of one family of all parts, in a row, ordered by key (and within a key as the parts are)."""

    def __init__(self, union: _Union, family: str) -> None:
        ids = np.concatenate([union.positions(part, family) for part in union.parts])
        by_key = ids if ids.size and ids.max() > 32000 else ids.astype(np.int16)  # 16 bits: radix sort
        order = np.argsort(by_key, kind="stable")
        self.order = order[np.searchsorted(by_key[order], 0) :]  # without the losers of conflicts
        self.ids = ids[self.order]
        specs = union.schema[family]
        self.starts = np.searchsorted(self.ids, np.arange(len(specs)))
        owner = np.concatenate([part.owners_of(family) for part in union.parts])[self.order]
        self.owners: npt.NDArray[np.int32] = np.minimum.reduceat(owner, self.starts)
        self.of_owner = owner == self.owners[self.ids]
        self._replicated = np.array([spec.replicated for spec in specs], bool)

    def replicated_elsewhere(self) -> npt.NDArray[np.bool_]:
        """Entries that repeat, on another process, a value already counted on the lowest one."""
        result: npt.NDArray[np.bool_] = self._replicated[self.ids] & ~self.of_owner
        return result

    def latest_of_owner(self) -> npt.NDArray[np.intp]:
        """For each key the last entry of the lowest process that recorded it."""
        index = np.where(self.of_owner, np.arange(self.ids.size), -1)
        return np.maximum.reduceat(index, self.starts)


@lru_cache(maxsize=256)
def _encode_schema(families: tuple[tuple[Spec, ...], ...]) -> bytes:
    files: dict[str, int] = {}
    schema: dict[str, object] = {"files": files}
    for family, specs in zip(FAMILIES, families, strict=True):
        rows = []
        for spec in specs:
            row: list[object] = [spec.key, spec.kind, files.setdefault(spec.file, len(files)), spec.line]
            options = {
                name: value
                for name, value in zip(_OPTIONS, (spec.emit, spec.quantiles, spec.over, spec.replicated), strict=True)
                if value
            }
            rows.append([*row, options] if options else row)
        schema[family] = rows
    schema["files"] = list(files)
    return orjson.dumps(schema)


_OPTIONS = ("emit", "quantiles", "over", "replicated")


@lru_cache(maxsize=2048)
def _decode_schema(data: bytes) -> Schema:
    raw = orjson.loads(data)
    files = raw["files"]
    return {family: tuple(_decode_spec(row, files) for row in raw[family]) for family in FAMILIES}


def _decode_spec(row: Sequence[object], files: Sequence[str]) -> Spec:
    key, kind, file, line, *rest = row
    options: dict[str, object] = dict(rest[0]) if rest else {}  # type: ignore[call-overload]
    for name in ("emit", "quantiles"):
        if name in options:
            options[name] = tuple(options[name])  # type: ignore[arg-type]
    return Spec(key, kind, files[file], line, **options)  # type: ignore[arg-type, index]


