"""Recording device arrays: what a recording call launches, and what it reads when that has been computed.

A global array is counted once, by the processes that own its shards (:mod:`sightline.jax.programs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from sightline.errors import RecordError
from sightline.jax.programs import (
    Coverage,
    Fetch,
    Known,
    Placement,
    Repeated,
    copies,
    is_there,
    launch,
    placement,
    read,
)
from sightline.jax.reductions import (
    is_number,
    moments_dtype,
    moments_words,
    read_moments,
    read_sketches,
    scalar_dtype,
    scalar_words,
    sketch_words,
)
from sightline.recording.records import Records
from sightline.values.aggregates import EMPTY_ROW, Row, Sketch, moments_row, only_finite_row
from sightline.values.host_values import (
    checked_mask,
    mask_shape_error,
    odd_mask_error,
    shape_error,
    to_number,
    to_numbers,
)
from sightline.values.snapshot import Value


def _check(call: str, key: str, array: jax.Array) -> None:
    if array.is_deleted():
        raise RecordError(
            f"{call}({key!r}): the array has been deleted, or donated to a jitted function. Record it before "
            f"that call"
        )
    if not is_number(array.dtype):
        raise RecordError(
            f"{call}({key!r}): got a jax.Array of {array.dtype}; expected real numbers (float, int or bool)"
        )


# --- numbers -----------------------------------------------------------------------------------------------


@jax.jit
def sightline_scalars(*values: jax.Array) -> jax.Array:
    """Any number of scalars on one device as one vector of words."""
    return jnp.concatenate([scalar_words(value) for value in values])


_SCALARS = Known(sightline_scalars)


class Numbers:
    """The numbers of one call, some of them on a device.

    Args:
        call: its name, for messages.
        kvs: for each key its numbers: host numbers, or arrays of one element.
        anywhere: a global array need not be counted once; each process takes its own copy.

    Attributes:
        coverage: of the keys that hold global arrays.

    Raises:
        RecordError: more than one element, no real number, or deleted.
    """

    __slots__ = ("_fetches", "_numbers", "coverage")

    def __init__(self, call: str, kvs: Mapping[str, Sequence[Any]], *, anywhere: bool = False) -> None:
        self.coverage: dict[str, Coverage] = {}
        # Host numbers, places in what is fetched, and None for what counts on another process.
        self._numbers: dict[str, list[Value | _Place | None]] = {}
        shards: dict[Any, list[jax.Array]] = {}  # by device
        for key, parts in kvs.items():
            row = self._numbers[key] = []
            for part in parts:
                if not isinstance(part, jax.Array):
                    row.append(to_number(call, key, part))
                    continue
                shard = self._shard(call, key, part, anywhere)
                if shard is None:
                    row.append(None)
                    continue
                group = shards.setdefault(shard.sharding, [])
                row.append(_Place(shard.sharding, len(group)))
                group.append(shard)
            if key in self.coverage and not all(_is_global(part) for part in parts):
                raise RecordError(
                    f"{call}({key!r}): one part is an array over all processes, which counts once, and the "
                    f"other this process's own. Make both global, or both this process's"
                )
        self._fetches = {device: _FetchedScalars(group) for device, group in shards.items()}
        if len(self._fetches) == 1 and all(fetch.is_packed for fetch in self._fetches.values()):
            _SCALARS.learn([part for parts in kvs.values() for part in parts])

    def _shard(self, call: str, key: str, array: jax.Array, anywhere: bool) -> jax.Array | None:
        """The shard with the number, if it counts here."""
        _check(call, key, array)
        place = placement(array)
        if place.size != 1:
            raise shape_error(call, key, array.shape)
        if place.is_global:
            if anywhere:
                return cast(jax.Array, array.addressable_shards[0].data)
            self.coverage[key] = place.coverage
        shards = place.shards(array)
        return shards[0] if shards else None

    @property
    def keys(self) -> Sequence[str]:
        return list(self._numbers)

    def ready(self) -> bool:
        """Whether all of them have been computed."""
        return all(fetch.ready() for fetch in self._fetches.values())

    def read(self) -> dict[str, tuple[Value, ...]]:
        """For each key that counts on this process its numbers."""
        fetched = {device: fetch.read() for device, fetch in self._fetches.items()}
        rows = {
            key: tuple(fetched[part.device][part.at] if isinstance(part, _Place) else part for part in row)
            for key, row in self._numbers.items()
        }
        return {key: row for key, row in rows.items() if None not in row}  # type: ignore[misc]


def _is_global(part: Any) -> bool:
    return isinstance(part, jax.Array) and placement(part).is_global


class _Place(NamedTuple):
    device: Any
    at: int


class _FetchedScalars:
    """Scalars of one device on their way to the host, packed if there may be a program for it."""

    __slots__ = ("_dtypes", "_fetch", "is_packed", "ready")

    def __init__(self, shards: Sequence[jax.Array]) -> None:
        packed = launch(sightline_scalars, [[shard] for shard in shards], None)
        self.is_packed = packed is not None
        self._dtypes = [shard.dtype for shard in shards]
        self._fetch = Fetch(*(packed if packed is not None else copies(shards)))
        self.ready = self._fetch.ready

    def read(self) -> list[Value]:
        arrays = self._fetch.read()
        if self.is_packed:
            return _unpacked(arrays[0], self._dtypes)
        return [to_number("record", "", array) for array in arrays]


def _unpacked(words: npt.NDArray[np.uint32], dtypes: Sequence[Any]) -> list[Value]:
    numbers, at = [], 0
    for dtype in dtypes:
        layout = scalar_dtype(dtype)
        end = at + layout.itemsize // 4
        numbers.append(words[at:end].view(layout)[0].item())
        at = end
    return numbers


# --- arrays ------------------------------------------------------------------------------------------------


@jax.jit
def sightline_moments(values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    return moments_words(values, mask, pad=True)


@jax.jit
def sightline_sketch(values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    return jnp.concatenate([moments_words(values, mask, pad=True), sketch_words(values, mask)])


_MOMENTS = Known(sightline_moments)
_SKETCH = Known(sightline_sketch)


class Reduced(NamedTuple):
    """The shards of an array as moments, and if asked for as sketches."""

    rows: list[Row]
    sketches: list[Sketch]


class Elements:
    """The elements of one array, all or those under a mask, reduced on the devices where they lie.

    Args:
        call, key: for messages.
        values: any shape and real dtype; on devices, or host values beside a mask on devices.
        mask: None, or the same shape: on devices in the same shards, or a host array.
        sketched: whether quantiles or a histogram are wanted.
        replicated: every process records the same values: this one reduces its own copy.

    Attributes:
        coverage: of a global array; else None.

    Raises:
        RecordError: another shape or other shards of the mask, no real numbers, or deleted.
    """

    __slots__ = (
        "_call",
        "_dtype",
        "_fetch",
        "_is_empty",
        "_key",
        "_masked",
        "_packed",
        "_sketched",
        "coverage",
        "ready",
    )

    def __init__(
        self, call: str, key: str, values: Any, mask: Any = None, *, sketched: bool, replicated: bool = False
    ) -> None:
        self._call, self._key, self._sketched, self._masked = call, key, sketched, mask is not None
        self.coverage: Coverage | None = None
        program = _SKETCH if sketched else _MOMENTS
        lead = values if isinstance(values, jax.Array) else mask
        _check(call, key, lead)
        place = placement(lead)
        if place.is_global and replicated:
            if not place.is_replicated:
                raise RecordError(
                    f"{call}({key!r}, replicated=True): the array is divided over processes "
                    f"({lead.sharding}); each part counts once as it is. Leave replicated out"
                )
            place = place.own_copy()
        elif place.is_global:
            self.coverage = place.coverage
        shards = [_shards_of(call, key, values, lead, place, to_numbers)]
        if mask is not None:
            if np.shape(mask) != np.shape(values):
                raise mask_shape_error(call, key, np.shape(mask), np.shape(values))
            shards.append(_shards_of(call, key, mask, lead, place, checked_mask))
        self._dtype = shards[0][0].dtype if shards[0] else None
        outputs: Sequence[jax.Array] | None = ()
        if shards[0] and place.size:
            outputs = launch(program.program, shards, place.local)
            if outputs is not None:
                program.learn((values,) if mask is None else (values, mask))
        self._is_empty = not place.size
        self._packed = outputs is not None
        if outputs is None:
            outputs = [copy for shard in zip(*shards, strict=True) for copy in copies(shard)]
        self._fetch = Fetch(*outputs)
        self.ready = self._fetch.ready

    def read(self) -> Reduced:
        """The moments and sketches of each shard.

        Raises:
            RecordError: a mask with values other than 0 and 1, which is seen only now.
        """
        arrays = self._fetch.read()
        if not arrays and self._is_empty:
            return Reduced([EMPTY_ROW], [Sketch.of(np.zeros(0))] if self._sketched else [])
        reduced = Reduced([], [])
        if not self._packed:
            step = 2 if self._masked else 1
            for values, *mask in (arrays[i : i + step] for i in range(0, len(arrays), step)):
                chosen = values[checked_mask(self._call, self._key, mask[0])] if mask else values
                reduced.rows.append(moments_row(chosen))
                if self._sketched:
                    reduced.sketches.append(Sketch.of(chosen))
            return reduced
        for words in arrays:
            _unpack(self._call, self._key, words, self._dtype, self._sketched, reduced)
        return reduced


def _unpack(
    call: str, key: str, words: npt.NDArray[np.uint32], dtype: Any, sketched: bool, reduced: Reduced
) -> None:
    length = moments_dtype(dtype).itemsize // 4
    for row, odd in read_moments(words[:length], dtype):
        if odd:
            raise odd_mask_error(call, key, f"{odd} values that are neither")
        reduced.rows.append(row)
    if sketched:
        reduced.sketches.extend(read_sketches(words[length:]))


def _shards_of(
    call: str, key: str, array: Any, lead: jax.Array, place: Placement, check: Callable[[str, str, Any], Any]
) -> list[jax.Array]:
    """The owned shards of an array that goes with ``lead``, shard by shard."""
    if array is lead:
        return place.shards(array)
    if not isinstance(array, jax.Array):
        host = check(call, key, array)
        if host.shape != lead.shape:
            raise mask_shape_error(call, key, lead.shape, host.shape)
        shards = [lead.addressable_shards[i] for i in place.owned]
        # Copies, since the caller may go on to change the array.
        return [jax.device_put(np.array(host[shard.index]), shard.device) for shard in shards]
    _check(call, key, array)
    other = placement(array) if array.shape == lead.shape else None
    if other is place:
        return place.shards(array)
    if other is not None:
        found = {(shard.device, _bounds(shard.index)): shard.data for shard in array.addressable_shards}
        wanted = [lead.addressable_shards[i] for i in place.owned]
        matching = [found.get((shard.device, _bounds(shard.index))) for shard in wanted]
        if None not in matching:
            return cast("list[jax.Array]", matching)
        raise RecordError(
            f"{call}({key!r}): the values lie as {lead.sharding} and the mask as {array.sharding}; they pair "
            f"shard by shard. Move the mask first: jax.device_put(mask, values.sharding)"
        )
    raise mask_shape_error(call, key, array.shape, lead.shape)


def _bounds(index: tuple[slice, ...]) -> tuple[tuple[int | None, int | None], ...]:
    return tuple((part.start, part.stop) for part in index)


# --- what is drained with the records ----------------------------------------------------------------------


class RecordedNumbers:
    """The numbers of one recording call, to be added to the records when they have arrived.

    Args:
        kind: of the call.
        names: the full name of each key.
        numbers: on their way.
        drop: whether NaN and infinities are left out.
        order: the call's place in time.
    """

    __slots__ = ("_drop", "_kind", "_names", "_numbers", "_order", "ready")

    def __init__(self, kind: str, names: Mapping[str, str], numbers: Numbers, drop: bool, order: int) -> None:
        self._kind = kind
        self._names = names
        self._numbers = numbers
        self._drop = drop
        self._order = order
        self.ready = numbers.ready

    @property
    def keys(self) -> list[str]:
        return list(self._names.values())

    def settle(self, records: Records) -> None:
        for key, numbers in self._numbers.read().items():
            name = self._names[key]
            if self._drop and not math.isfinite(numbers[0]):
                continue
            if self._kind == "scalar":
                records.add_scalar("", name, float(numbers[0]))
            elif self._kind == "last":
                records.set_last(name, numbers[0], self._order)
            else:
                records.add_numbers(name, *numbers)


class RecordedElements:
    """The reduction of one recorded array, to be added to the records when it has arrived."""

    __slots__ = ("_drop", "_elements", "_key", "ready")

    def __init__(self, key: str, elements: Elements, drop: bool) -> None:
        self._key = key
        self._elements = elements
        self._drop = drop
        self.ready = elements.ready

    @property
    def keys(self) -> list[str]:
        return [self._key]

    def settle(self, records: Records) -> None:
        _add(self._key, self._elements.read(), records, self._drop)


def _add(key: str, reduced: Reduced, records: Records, drop: bool = False) -> None:
    for row in reduced.rows:
        records.add_row(key, only_finite_row(row) if drop else row)
    for sketch in reduced.sketches:
        records.add_sketch(key, sketch)


# --- the short way, for calls that are repeated ------------------------------------------------------------


class RepeatedScalars:
    """A recording call of scalars that is made again and again.

    Args:
        keys: their full names.
    """

    __slots__ = ("_keys", "_launch")

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._launch = Repeated(_SCALARS).launch

    def record(self, arrays: Sequence[Any]) -> PackedScalars | None:
        """Launches the reduction of scalars like some before; None if there were none."""
        packed = self._launch(arrays)
        return None if packed is None else PackedScalars(self._keys, packed, [a.dtype for a in arrays])


class PackedScalars:
    """Scalars on one device that one program has packed.

    Attributes:
        keys: their full names.
    """

    __slots__ = ("_dtypes", "_packed", "keys")

    def __init__(self, keys: Sequence[str], packed: Any, dtypes: Sequence[Any]) -> None:
        self.keys = keys
        self._packed = packed
        self._dtypes = dtypes

    def ready(self) -> bool:
        return is_there(self._packed)

    def settle(self, records: Records) -> None:
        for key, number in zip(self.keys, _unpacked(read(self._packed), self._dtypes), strict=True):
            records.add_scalar("", key, float(number))


class RepeatedElements:
    """A recording call of the elements of an array that is made again and again.

    Attributes:
        call: its name, for messages.
        keys: the full name of its key.
        sketched: whether quantiles or a histogram are wanted.
    """

    __slots__ = ("_launch", "call", "keys", "sketched")

    def __init__(self, call: str, key: str, sketched: bool) -> None:
        self.call = call
        self.keys = [key]
        self.sketched = sketched
        self._launch = Repeated(_SKETCH if sketched else _MOMENTS).launch

    def record(self, values: Any, mask: Any) -> PackedElements | None:
        """Launches the reduction of an array, and a mask, like some before; None if there were none."""
        packed = self._launch((values,) if mask is None else (values, mask))
        return None if packed is None else PackedElements(self, packed, values.dtype)


class PackedElements:
    """The elements of an array on one device, reduced."""

    __slots__ = ("_call", "_dtype", "_packed")

    def __init__(self, call: RepeatedElements, packed: Any, dtype: Any) -> None:
        self._call = call
        self._packed = packed
        self._dtype = dtype

    def ready(self) -> bool:
        return is_there(self._packed)

    @property
    def keys(self) -> list[str]:
        return self._call.keys

    def settle(self, records: Records) -> None:
        call, (key,) = self._call, self._call.keys
        reduced = Reduced([], [])
        _unpack(call.call, key, read(self._packed), self._dtype, call.sketched, reduced)
        _add(key, reduced, records)
