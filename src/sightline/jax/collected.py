"""Statistics on their way out of a traced function: a pytree of words, and how the host reads them.

*Words.* All that one collected function records stands in one uint32 vector, so that a jitted function gains
one small output. What the words mean is the :class:`Layout`, a static part of the pytree. A row of zeros is a
row without a record, for every kind.

*Axes.* Transformations may put any number of axes before the words (scan, vmap, shard_map). Each index along
them is a record more; they are folded here, in float64 and in ints. The first word of each vector is
:data:`MAGIC`, by which arithmetic on statistics is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from sightline.errors import RecordError
from sightline.jax import mistakes
from sightline.jax.programs import Coverage, Fetch, copies, owned, placement
from sightline.jax.reductions import SKETCH_WORDS, moments_dtype, read_merged_sketch, read_moments_table
from sightline.recording.records import Records
from sightline.recording.scoping import COLLECTED, all_scopes
from sightline.values.aggregates import COUNT, N_COUNTS, N_STATS, NAN, Floats, Moments
from sightline.values.host_values import odd_mask_error
from sightline.values.naming import join
from sightline.values.snapshot import Value

Words = npt.NDArray[np.uint32]

MAGIC = 0x51671E01


class Entry(NamedTuple):
    """What is recorded under one key. In the order in which the words stand.

    Attributes:
        kind: scalar, summary (masked ones and histograms too), total, ratio, rate or last.
        dtypes: how the words are read, one for each number: ``"<f4"``, ``"<i4"``, ``"<u4"`` or with 8 bytes.
        sketched: whether a sketch stands behind the moments, for quantiles and histograms.
        key: relative to the collected function.
        emit, quantiles, bins, replicated: as they were given.
        over: relative to the collected function, as the key.
        nonfinite: ``"show"`` or ``"drop"``.
    """

    kind: str
    dtypes: tuple[str, ...]
    sketched: bool
    key: str
    emit: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    over: str = ""
    replicated: bool = False
    bins: int = 0
    nonfinite: str = "show"

    @property
    def site(self) -> tuple[str, int]:
        """File and line where it was recorded first; kept aside, since it must not tell two layouts apart."""
        return sites.get(self, ("", 0))

    @property
    def call(self) -> str:
        """The recording call that makes it."""
        return "histogram" if self.bins else self.kind

    @property
    def width(self) -> int:
        """Words of one record."""
        if self.kind == "summary":
            moments = moments_dtype(np.dtype(self.dtypes[0])).itemsize // 4
            return moments + (SKETCH_WORDS if self.sketched else 0)
        return 1 + sum(np.dtype(dtype).itemsize for dtype in self.dtypes) // 4

    def under(self, scope: str) -> Entry:
        """The same with its names under a scope."""
        moved = self._replace(key=join(scope, self.key), over=join(scope, self.over) if self.over else "")
        sites.setdefault(moved, self.site)
        return moved


sites: dict[Entry, tuple[str, int]] = {}

#: Entries in order, each with how many times it is recorded.
Rows = tuple[tuple[Entry, int], ...]


class Group(NamedTuple):
    """Entries of a layout that are read alike, and so all at once.

    Attributes:
        start, stop: their words.
        first: of each entry, its first record, and at the end the number of records.
        entries: their places in the layout.
    """

    start: int
    stop: int
    first: tuple[int, ...]
    entries: range


class Layout:
    """What the words of one part mean: hashable, so that JAX compares it as it compares shapes.

    Args:
        rows: ascending.

    Attributes:
        width: the number of words, :data:`MAGIC` included.
        groups: together all entries.
    """

    __slots__ = ("_hash", "groups", "rows", "width")

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._hash = hash(rows)
        self.width = 1
        groups = []
        at = 0
        for _, like in groupby(rows, key=lambda row: row[0][:3]):
            alike = list(like)
            first = [0]
            for _, repeats in alike:
                first.append(first[-1] + repeats)
            start, self.width = self.width, self.width + first[-1] * alike[0][0].width
            groups.append(Group(start, self.width, tuple(first), range(at, at + len(alike))))
            at += len(alike)
        self.groups = tuple(groups)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Layout) and self.rows == other.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return layout_of, (self.rows,)  # the hash of a str is another one in another process

    def __repr__(self) -> str:
        return f"[{self.keys}]"

    @property
    def keys(self) -> str:
        """For messages."""
        return ", ".join(
            f"{entry.call} {entry.key!r}" + (f" × {repeats}" if repeats > 1 else "")
            for entry, repeats in self.rows
        )

    def under(self, scope: str) -> Layout:
        """The same with all names under a scope, which leaves their order, and so the words, as they are."""
        if not scope:
            return self
        return layout_of(tuple((entry.under(scope), repeats) for entry, repeats in self.rows))

    def replicated(self) -> npt.NDArray[np.bool_]:
        """Which words belong to entries with ``replicated=True``, ``(width,)``."""
        columns = np.zeros(self.width, bool)
        columns[1:] = np.repeat(
            [entry.replicated for entry, _ in self.rows],
            [entry.width * repeats for entry, repeats in self.rows],
        )
        return columns


@lru_cache(maxsize=4096)
def layout_of(rows: Rows) -> Layout:
    """The one layout of some rows, so that comparing two is usually a look at their addresses."""
    return Layout(rows)


@jax.tree_util.register_pytree_node_class
class Stats:
    """What a function under :func:`sightline.collect` has recorded.

    A pytree, to be returned from any transformation of JAX and given to :func:`sightline.ingest` (outside) or
    :func:`sightline.add` (inside an enclosing collected function). Its leaves are uint32 ``(…, W)``, and each
    index along the axes before the last is a record more. No arithmetic makes sense on them.

    Attributes:
        words: the leaves, one for the function itself, if it recorded anything, and one for each part added.
        own: the layout of the former.
        added: the layouts of the latter.
    """

    __slots__ = ("added", "own", "words")

    def __init__(self, words: Sequence[Any], own: Layout, added: tuple[Layout, ...]) -> None:
        self.words = tuple(words)
        self.own = own
        self.added = added

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Layout, tuple[Layout, ...]]]:
        return self.words, (self.own, self.added)

    @classmethod
    def tree_unflatten(cls, layouts: tuple[Layout, tuple[Layout, ...]], words: Sequence[Any]) -> Stats:
        return cls(words, *layouts)

    def __repr__(self) -> str:
        return f"Stats({', '.join(layout.keys for layout, _ in self.parts())})"

    def parts(self) -> Iterator[tuple[Layout, Any]]:
        """Each layout with its words."""
        layouts = ((self.own,) if self.own.rows else ()) + self.added
        return zip(layouts, self.words, strict=True)

    def check(self, call: str) -> None:
        """Whether the leaves are words yet.

        Raises:
            RecordError: something has been computed with them, or shards stand in one row.
        """
        for layout, words in self.parts():
            if not hasattr(words, "dtype") or not hasattr(words, "shape"):
                raise mistakes.not_words(f"{call}: the words of {layout.keys} are a {type(words).__name__}")
            if words.dtype != np.uint32:
                raise mistakes.not_words(f"{call}: the words of {layout.keys} are {words.dtype}, not uint32")
            if words.shape[-1:] != (layout.width,):
                raise mistakes.wrong_shape(call, layout.keys, tuple(words.shape), layout.width)


# --- to the host -------------------------------------------------------------------------------------------


def ingest(
    stats: Stats,
    *,
    declare: Callable[[Entry], str],
    cover: Callable[[str, Coverage], None],
    defer: Callable[[Collected], None],
) -> None:
    """Takes the statistics of a collected function, without waiting.

    Args:
        stats: with any axes in front. Of global arrays each process takes its own shards.
        declare: makes sure that a key has one reduction; gives its full name.
        cover: takes how many rows of a key in a global array this process counts.
        defer: takes what is to be settled when it is ready.

    Raises:
        RecordError: no Stats, still traced, donated, or not as a collected function made them.
    """
    if not isinstance(stats, Stats):
        raise mistakes.not_stats("ingest", stats)
    inside = any(path.get()[:1] == COLLECTED for path in all_scopes())
    if inside or any(isinstance(words, jax.core.Tracer) for words in stats.words):
        raise mistakes.ingest_while_traced()
    stats.check("ingest")
    pieces = [_pieces(layout, words) for layout, words in stats.parts()]  # may raise, as may declare
    parts = [
        (layout, [declare(entry) for entry, _ in layout.rows], len(found))
        for (layout, _), found in zip(stats.parts(), pieces, strict=True)
    ]
    for (layout, words), (_, names, _) in zip(stats.parts(), parts, strict=True):
        if isinstance(words, jax.Array) and (place := placement(words)).is_global:
            for name, (entry, repeats) in zip(names, layout.rows, strict=True):
                if not entry.replicated:  # which one device has for all
                    mine, all_ = (repeats * n // layout.width for n in (place.owned_size, place.size))
                    cover(name, Coverage(mine, all_, place.where))
    if any(pieces):
        defer(Collected(parts, [piece for found in pieces for piece in found]))


def _pieces(layout: Layout, words: Any) -> list[Any]:
    """Copies of what this process counts of a leaf, which is the caller's; each piece has whole rows."""
    if isinstance(words, np.ndarray):
        return [words.copy()]
    if not isinstance(words, jax.Array):
        raise mistakes.not_words(f"ingest: the words of {layout.keys} are a {type(words).__name__}")
    if words.is_deleted():
        raise RecordError(
            f"ingest: the statistics with {layout.keys} have been deleted, or donated to a jitted function. "
            f"Ingest them before that call"
        )
    pieces = owned(words)
    if all(piece.shape[-1] == layout.width for piece in pieces):
        return copies(pieces)
    if not words.is_fully_addressable:
        raise RecordError(
            f"ingest: the words of {layout.keys} are divided over processes along their last axis "
            f"({words.sharding}). Give them an out_sharding that divides leading axes only"
        )
    return [jax.device_put(words, next(iter(words.sharding.device_set)), may_alias=False)]


class Collected:
    """Ingested statistics, to be added to the records when they have arrived.

    Attributes:
        keys: their full names.
        order: among all that is recorded, for ``last`` values; set by whoever defers it.
    """

    __slots__ = ("_arrays", "_fetch", "_parts", "keys", "order")

    def __init__(self, parts: Sequence[tuple[Layout, list[str], int]], arrays: Sequence[Any]) -> None:
        self._parts = parts
        self._arrays = arrays
        self._fetch = Fetch(*(array for array in arrays if isinstance(array, jax.Array)))
        self.keys = [name for _, names, _ in parts for name in names]
        self.order = 0

    def ready(self) -> bool:
        """Whether all words have arrived; does not wait."""
        return self._fetch.ready()

    def settle(self, records: Records) -> None:
        """Adds what the words say.

        Raises:
            RecordError: something has been computed with them (then nothing is added), or a mask held other
                numbers than 0 and 1 (then all but its key).
        """
        fetched = iter(self._fetch.read())
        arrays = iter([next(fetched) if isinstance(a, jax.Array) else a for a in self._arrays])
        tables = []
        for layout, names, pieces in self._parts:
            rows = [next(arrays).reshape(-1, layout.width) for _ in range(pieces)]
            if rows:
                tables.append((layout, names, np.concatenate(rows)))
        for layout, _, words in tables:
            if (words[:, 0] != MAGIC).any():
                raise mistakes.not_words(f"ingest: the words of {layout.keys} do not begin as they should")
        odd = [mask for table in tables if len(table[2]) for mask in _read(*table, records, self.order)]
        if odd:
            raise odd_mask_error("masked", odd[0][0], f"{odd[0][1]} values that are neither")


def _read(
    layout: Layout, names: Sequence[str], words: Words, records: Records, order: int
) -> Iterator[tuple[str, int]]:
    """Adds what the words say, for each group of entries at once.

    Args:
        layout: of the words.
        names: the full name of each entry.
        words: uint32 ``(N, W)``, N > 0.
        records: what to add to.
        order: of ``last`` values.

    Yields:
        The masks that were none: a name, and how many values were neither 0 nor 1.
    """
    for group in layout.groups:
        entries = [layout.rows[i][0] for i in group.entries]
        keys = [names[i] for i in group.entries]
        block = words[:, group.start : group.stop].reshape(len(words), group.first[-1], -1)
        if entries[0].kind == "summary":
            yield from _read_summaries(block, group.first, entries, keys, records)
        elif entries[0].kind == "scalar":
            recorded, (numbers,) = _numbers(block, entries[0].dtypes)
            _add_moments(_as_moments(recorded, numbers), group.first, entries, keys, records)
        elif entries[0].kind == "last":
            recorded, (numbers,) = _numbers(block, entries[0].dtypes)
            for key, first, stop in zip(keys, group.first, group.first[1:], strict=False):
                found = np.flatnonzero(recorded[:, first:stop])
                if found.size:
                    records.set_last(key, numbers[:, first:stop].flat[found[-1]].item(), order)
        else:
            recorded, columns = _numbers(block, entries[0].dtypes)
            some: list[bool] = np.any(recorded, axis=0).tolist()
            sums = [_sums(np.where(recorded, numbers, numbers.dtype.type(0))) for numbers in columns]
            for entry, key, first, stop in zip(entries, keys, group.first, group.first[1:], strict=False):
                # Another shard, maybe of another process, has what is recorded once for all.
                if any(some[first:stop]) or not entry.replicated:
                    records.add_numbers(key, *(sum(column[first:stop]) for column in sums))


def _read_summaries(
    block: Words, first: Sequence[int], entries: Sequence[Entry], keys: Sequence[str], records: Records
) -> Iterator[tuple[str, int]]:
    width = entries[0].width - (SKETCH_WORDS if entries[0].sketched else 0)
    table, odd = read_moments_table(block[..., :width], np.dtype(entries[0].dtypes[0]))
    bad = {}
    if odd.any():
        bad = {
            key: n for key, n in zip(keys, np.add.reduceat(odd.sum(0), first[:-1]).tolist(), strict=True) if n
        }
    added = _add_moments(table, first, entries, keys, records, without=bad)
    for i in added if entries[0].sketched else ():
        records.add_sketch(keys[i], read_merged_sketch(block[:, first[i] : first[i + 1], width:]))
    yield from bad.items()


def _numbers(block: Words, dtypes: Sequence[str]) -> tuple[npt.NDArray[np.bool_], list[npt.NDArray[Any]]]:
    """Which records there are, and the numbers of each, all ``(N, R)``; anything where there is none."""
    fields = np.dtype([("recorded", "<u4"), *((f"{i}", dtype) for i, dtype in enumerate(dtypes))])
    records = np.ascontiguousarray(block).view(fields)[..., 0]
    return records["recorded"] != 0, [records[f"{i}"] for i in range(len(dtypes))]


def _as_moments(recorded: npt.NDArray[np.bool_], numbers: npt.NDArray[Any]) -> Floats:
    """Single numbers as rows of moments, ``(N, R)`` → float64 ``(N, R, 9)``."""
    mean = numbers.astype(np.float64)
    low = np.zeros(mean.shape)
    if numbers.dtype.kind != "f" and numbers.dtype.itemsize == 8:
        coarse = numbers >> 11 << 11  # which float64 holds
        mean, low = coarse.astype(np.float64), (numbers - coarse).astype(np.float64)
    kinds = [np.isnan(mean), np.isposinf(mean), np.isneginf(mean)]
    finite = recorded & np.isfinite(mean)
    stats = [(mean, 0), (low, 0), (low * 0, 0), (mean + low, np.inf), (mean + low, -np.inf)]
    columns = [recorded, *(recorded & kind for kind in kinds), *(np.where(finite, x, no) for x, no in stats)]
    return np.stack(columns, axis=-1).astype(np.float64)


def _add_moments(
    table: Floats,
    first: Sequence[int],
    entries: Sequence[Entry],
    keys: Sequence[str],
    records: Records,
    without: Iterable[str] = (),
) -> list[int]:
    """Adds one merged row for each entry.

    Args:
        table: rows of moments, float64 ``(N, R, 9)``.
        first: of each entry, its first of the R; at the end R.
        entries: K of them, with the full names.
        keys: as above.
        records: what to add to.
        without: keys to leave out.

    Returns:
        Which entries were added.
    """
    n = len(table)
    merged = Moments.from_rows(table.transpose(1, 0, 2).reshape(-1, N_COUNTS + N_STATS))
    merged = merged.merge_segments(n * np.array(first[:-1], np.int64))
    added = []
    rows = np.concatenate([merged.counts, merged.stats]).T.tolist()
    for i, (entry, key, row) in enumerate(zip(entries, keys, rows, strict=True)):
        if entry.nonfinite == "drop":
            row[COUNT] -= sum(row[NAN:N_COUNTS])
            row[NAN:N_COUNTS] = 0.0, 0.0, 0.0
        # Another shard, maybe of another process, has what is recorded once for all.
        if key not in without and (row[COUNT] or not entry.replicated):
            records.add_row(key, tuple(row))
            added.append(i)
    return added


def _sums(numbers: npt.NDArray[Any]) -> list[Value]:
    """The sum of each column of ``(N, R)``; of ints exact."""
    if numbers.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            floats: list[Value] = numbers.sum(0, dtype=np.float64).tolist()
        return floats
    if numbers.dtype.itemsize < 8:
        ints: list[Value] = numbers.sum(0, dtype=np.int64).tolist()
        return ints
    upper, lower = (numbers >> 32).sum(0).tolist(), (numbers & 0xFFFFFFFF).sum(0).tolist()
    return [(high << 32) + low for high, low in zip(upper, lower, strict=True)]
