"""What a device computes of an array, as one vector of 32-bit words, and how the host reads it.

Everything that is recorded of an array fits in some words: counts, extrema, and what the moments need. Words
are ``uint32``, bit for bit, so that values of any dtype travel in one small copy, and a sum or mean taken of
them by mistake is noticed. The functions named ``*_words`` are traced; :func:`read_moments` and its siblings
are plain NumPy.

*Moments* take two passes around a pivot near the mean, in float32 (float64 for 64-bit values). The first
finds counts, extrema and the pivot, the second sums of d = (x − pivot)/scale and of d². The scale is a
power of two, so nothing overflows and scaling is exact. Integers are first moved by the middle of their
range, in integers. The host puts mean and M2 together in float64. Sums of many are taken in blocks, since
XLA adds up one long axis of a CPU array from left to right.

What is smaller than the smallest normal number may count as zero, as the device has it.

Error: 1e-5·max(\\|mean\\|, std) for float32 values, and counts, minima and maxima exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from sightline.values.aggregates import BIAS, LOG_GAMMA, WINDOW, Floats, Ints, Row, Sketch, two_sum

WORD = jnp.uint32
_BLOCK = 256
_SHORT = 1 << 16  # elements that are summed as XLA likes it; more go axis by axis
_LONG_AXIS = 4096  # summed in blocks
_FINE = 4096
_LARGE = 1 << 31  # elements that one 32-bit counter must not count
_LIMB = 12  # bits of the lower of two counters

#: Words of a sketch: the largest bucket, the counts of each bucket below it by sign, and the zeros.
SKETCH_WORDS = 2 * WINDOW + 2


@lru_cache(maxsize=256)
def is_number(dtype: Any) -> bool:
    """Whether a JAX dtype holds real numbers: floats down to float4, ints, bool."""
    real: bool = jnp.issubdtype(dtype, jnp.number) and not jnp.issubdtype(dtype, jnp.complexfloating)
    return real or dtype == np.bool_


F = TypeVar("F", bound=Callable[..., Any])


def _with_defaults(trace: F) -> F:
    """Traced as it is written, whatever promotion the caller has forbidden in code of its own."""

    @wraps(trace)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return trace(*args, **kwargs)

    return cast(F, traced)


# --- scalars -----------------------------------------------------------------------------------------------


@_with_defaults
def scalar_words(value: jax.Array) -> jax.Array:
    """One number as one word, or two if it has 64 bits; exact for every dtype."""
    wide = _wide(value.reshape(()))
    return _words(wide)


@lru_cache(maxsize=256)
def scalar_dtype(dtype: Any) -> np.dtype[Any]:
    """How :func:`scalar_words` of a dtype are read: ``words.view(scalar_dtype(dtype))``."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.dtype("<f8" if dtype.itemsize == 8 else "<f4")
    if dtype.itemsize == 8:
        return np.dtype("<u8" if dtype.kind == "u" else "<i8")
    return np.dtype("<u4" if dtype == np.uint32 else "<i4")


def _wide(x: jax.Array) -> jax.Array:
    """In the 32 or 64 bits that :func:`scalar_dtype` names, exactly."""
    dtype: Any = scalar_dtype(x.dtype)
    return x.astype(dtype)


def _words(x: jax.Array) -> jax.Array:
    """The bits of 32- or 64-bit numbers, in a row."""
    if x.dtype.itemsize == 4:
        return lax.bitcast_convert_type(x, WORD).reshape(-1)
    # Not at once: XLA's CPU compiler crashes where a reduced number of 64 bits becomes two of 32.
    bits = lax.bitcast_convert_type(x, jnp.uint64)
    return jnp.stack([bits.astype(WORD), (bits >> 32).astype(WORD)], axis=-1).reshape(-1)


# --- moments -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def moments_dtype(dtype: Any) -> np.dtype[Any]:
    """How :func:`moments_words` of values of a dtype are read."""
    number = scalar_dtype(dtype)
    float_ = "<f8" if number.itemsize == 8 else "<f4"
    return np.dtype(
        [
            ("low", "<u4", 5), ("high", "<u4", 5),  # counters: all, NaN, ∞, −∞, odd mask elements
            ("base", number), ("min", number), ("max", number),
            ("scale", float_), ("pivot", float_), ("sum", float_), ("squares", float_),
        ]
    )  # fmt: skip


@_with_defaults
def moments_words(values: jax.Array, mask: jax.Array | None = None, *, pad: bool = False) -> jax.Array:
    """The moments of an array, over the elements where ``mask`` is not 0.

    Args:
        values: any shape and real dtype.
        mask: the same shape; bool, or numbers, of which those that are neither 0 nor 1 are counted.
        pad: axes may be padded to whole blocks. Not inside a program over several devices, where it could
            move the array between them.

    Returns:
        uint32 ``(moments_dtype(values.dtype).itemsize // 4,)``.
    """
    x = _wide(lax.stop_gradient(values))
    chosen = None if mask is None else lax.stop_gradient(mask) != 0
    flags = [] if chosen is None else [chosen]
    valid: jax.Array | None
    if jnp.issubdtype(x.dtype, jnp.floating):
        flags += [_both(chosen, kind) for kind in (jnp.isnan(x), x == jnp.inf, x == -jnp.inf)]
        valid = _both(chosen, jnp.isfinite(x))
        least, other = _least(jnp.stack([x, -x]), valid, np.array(np.inf, x.dtype))
        most = -other
        base = jnp.zeros((), x.dtype)
        low, high, d = least, most, x
    else:
        valid = chosen  # None: all of them
        least, other = _least(jnp.stack([x, ~x]), valid, np.array(np.iinfo(x.dtype).max, x.dtype))
        most = ~other
        base = (least >> 1) + (most >> 1) + ((least | most) & 1)
        float_ = jnp.float64 if x.dtype.itemsize == 8 else jnp.float32
        signed = jnp.int64 if x.dtype.itemsize == 8 else jnp.int32  # wraps to the signed distance
        low, high, d = ((v - base).astype(signed).astype(float_) for v in (least, most, x))
    if mask is not None and chosen is not None and mask.dtype != np.bool_:
        flags.append(chosen & (mask != 1))
    # The pivot: Σ x/size cannot overflow. Its rounding does not matter; the second pass takes it out again.
    counts, rough = _counts_and_sum(flags, _where(valid, d * (1 / max(x.size, 1))), pad)
    count, kinds, odd = _counters(counts, x.size, masked=mask is not None, float_=d is x)
    nan, posinf, neginf = _as_float(kinds, d.dtype)
    finite = _as_float(count, d.dtype)[0] - nan - posinf - neginf
    pivot = jnp.clip(rough * (x.size / jnp.maximum(finite, 1)), low, high)
    pivot = jnp.where(finite > 0, _rounded(pivot, high - low), 0)
    scale, inverse = _power_of_two(jnp.where(finite > 0, jnp.maximum(jnp.abs(low), jnp.abs(high)), 0))
    d = _where(valid, d * inverse - pivot * inverse)
    sums = _sums(jnp.stack([d, d * d]), pad)
    counters = jnp.concatenate([count, kinds, odd], axis=1).reshape(-1)
    return jnp.concatenate(
        [counters, _words(jnp.stack([base, least, most])), _words(jnp.stack([scale, pivot])), _words(sums)]
    )


def _both(chosen: jax.Array | None, kind: jax.Array) -> jax.Array:
    return kind if chosen is None else chosen & kind


def _where(valid: jax.Array | None, x: jax.Array) -> jax.Array:
    return x if valid is None else jnp.where(valid, x, 0)


def _least(pair: jax.Array, valid: jax.Array | None, nothing: npt.NDArray[Any]) -> jax.Array:
    """The minima of two arrays in one pass, ``(2,)``."""
    pair = pair if valid is None else jnp.where(valid[None], pair, nothing)
    return jnp.min(pair, axis=range(1, pair.ndim), initial=nothing)


def _counts_and_sum(flags: Sequence[jax.Array], values: jax.Array, pad: bool) -> tuple[jax.Array, jax.Array]:
    """How many of each flag are true, as words ``(2, len(flags))``, and the sum of the values.

    In one pass where floats count exactly: on a CPU the launch of a program costs more for each reduction.
    """
    if values.size > 1 << np.finfo(values.dtype).nmant:
        counts = _count(jnp.stack(flags)) if flags else jnp.zeros((2, 0), WORD)
        return counts, _sums(values[None], pad)[0]
    sums = _sums(jnp.stack([*(flag.astype(values.dtype) for flag in flags), values]), pad)
    low = sums[:-1].astype(WORD)
    return jnp.stack([low, jnp.zeros_like(low)]), sums[-1]


def _counters(
    counts: jax.Array, size: int, *, masked: bool, float_: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Counts of the chosen elements ``(2, 1)``, of NaN, ∞ and −∞ ``(2, 3)``, of odd mask elements ``(2, 1)``.

    Args:
        counts: those of them that are not known without looking, in this order.
    """
    count, counts = (counts[:, :1], counts[:, 1:]) if masked else (_size_words(size), counts)
    kinds, odd = (counts[:, :3], counts[:, 3:]) if float_ else (jnp.zeros((2, 3), WORD), counts)
    return count, kinds, odd if odd.shape[1] else jnp.zeros((2, 1), WORD)


def read_moments(words: npt.NDArray[np.uint32], dtype: Any) -> list[tuple[Row, int]]:
    """Rows of moments (see :data:`sightline.values.aggregates.Row`), each with how many mask elements were
    neither 0 nor 1.

    Args:
        words: uint32 ``(…, W)``, W as :func:`moments_dtype` has it; leading axes are taken one by one.
        dtype: of the values.
    """
    layout = moments_dtype(dtype)
    table = np.ascontiguousarray(words).reshape(-1, layout.itemsize // 4).view(layout)[:, 0]
    return [_row(entry) for entry in table]


@np.errstate(over="ignore", invalid="ignore")
def read_moments_table(words: npt.NDArray[np.uint32], dtype: Any) -> tuple[Floats, Ints]:
    """The same as a table, for many at once.

    Args:
        words: uint32 ``(…, W)``.
        dtype: of the values.

    Returns:
        float64 ``(…, 9)``, and int64 ``(…)`` with how many mask elements were neither 0 nor 1.
    """
    layout = moments_dtype(dtype)
    entries = np.ascontiguousarray(words).view(layout)[..., 0]
    counters = entries["low"] + (entries["high"].astype(np.int64) << _LIMB)
    count, nan, posinf, neginf, odd = np.moveaxis(counters, -1, 0)
    finite = count - nan - posinf - neginf
    some = finite > 0
    scale, pivot, total, squares = (
        entries[name].astype(np.float64) for name in ("scale", "pivot", "sum", "squares")
    )
    shift = total / np.where(some, finite, 1)
    base = entries["base"]
    if base.dtype.kind == "f":
        mean, low = two_sum(pivot, scale * shift)
    else:  # in halves, which float64 holds
        half = 4 * base.dtype.itemsize
        upper = (base >> half).astype(np.float64) * 2.0**half
        mean, low = upper, np.zeros(upper.shape)
        for part in ((base & ((1 << half) - 1)).astype(np.float64), pivot, scale * shift):
            mean, error = two_sum(mean, part)
            low = low + error
        mean, low = two_sum(mean, low)
    m2 = np.maximum(squares - total * shift, 0.0) * scale * scale
    least, most = (entries[name].astype(np.float64) for name in ("min", "max"))
    empty = (0.0, 0.0, 0.0, math.inf, -math.inf)
    stats = [np.where(some, x, none) for x, none in zip((mean, low, m2, least, most), empty, strict=True)]
    return np.stack([count, nan, posinf, neginf, *stats], axis=-1), odd


def _row(entry: np.void) -> tuple[Row, int]:
    pairs = zip(entry["low"].tolist(), entry["high"].tolist(), strict=True)
    count, nan, posinf, neginf, odd = (low + (high << _LIMB) for low, high in pairs)
    finite = count - nan - posinf - neginf
    counts = (float(count), float(nan), float(posinf), float(neginf))
    if finite <= 0:
        return (*counts, 0.0, 0.0, 0.0, math.inf, -math.inf), odd
    scale, pivot, total, squares = (float(entry[n]) for n in ("scale", "pivot", "sum", "squares"))
    shift = total / finite
    base = int(entry["base"])  # 0 for floats
    parts = (float(base), float(base - int(float(base))), pivot, scale * shift)
    mean = math.fsum(parts)
    rest = math.fsum((*parts, -mean))
    m2 = max(squares - total * shift, 0.0) * scale * scale
    return (*counts, mean, rest, m2, float(entry["min"]), float(entry["max"])), odd


def _count(flags: jax.Array) -> jax.Array:
    """How many are true in each of k arrays ``(k, …)``, low and high words ``(2, k)``; exact beyond 2^32."""
    low = flags.astype(WORD)
    if math.prod(flags.shape[1:]) < _LARGE:
        low = jnp.sum(low, axis=range(1, flags.ndim), dtype=WORD)
        return jnp.stack([low, jnp.zeros_like(low)])
    longest = 1 + int(np.argmax(flags.shape[1:]))  # first, while there is nothing to carry
    low = jnp.sum(low, axis=longest, dtype=WORD)
    high = jnp.zeros(low.shape, WORD)
    while True:
        low, high = low & ((1 << _LIMB) - 1), high + (low >> _LIMB)
        if low.ndim == 1:
            return jnp.stack([low, high])
        low, high = jnp.sum(low, axis=-1, dtype=WORD), jnp.sum(high, axis=-1, dtype=WORD)


def _size_words(size: int) -> jax.Array:
    low = size if size < _LARGE else size & ((1 << _LIMB) - 1)
    return jnp.array([[low], [(size - low) >> _LIMB]], WORD)


def _as_float(counts: jax.Array, dtype: Any) -> jax.Array:
    low, high = counts.astype(dtype)
    total: jax.Array = low + high * (1 << _LIMB)
    return total


def _sums(arrays: jax.Array, pad: bool) -> jax.Array:
    """The sums of k arrays ``(k, …)``; axis by axis, and long axes by blocks, for small rounding errors."""
    if math.prod(arrays.shape[1:]) <= _SHORT:
        return jnp.sum(arrays, axis=range(1, arrays.ndim))
    while arrays.ndim > 1:
        length = arrays.shape[-1]
        if length > _LONG_AXIS and (pad or length % _BLOCK == 0):
            if more := -length % _BLOCK:
                arrays = jnp.pad(arrays, [(0, 0)] * (arrays.ndim - 1) + [(0, more)])
            arrays = arrays.reshape(*arrays.shape[:-1], -1, _BLOCK)
        # The barrier keeps XLA from making one long sum of two short ones.
        arrays = lax.optimization_barrier(jnp.sum(arrays, axis=-1))  # type: ignore[no-untyped-call]
    return arrays


def _rounded(pivot: jax.Array, span: jax.Array) -> jax.Array:
    """To a 4096th of the span, so that the distances of whole numbers and the like are exact."""
    unit, inverse = _power_of_two(span)
    rounded = jnp.round(pivot * inverse * _FINE) * (unit / _FINE)
    return jnp.where((span > 0) & jnp.isfinite(rounded), rounded, pivot)


def _power_of_two(magnitude: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest power of two that is not above a magnitude, within limits, and its inverse; by the bits."""
    bits, shift = (jnp.uint64, 52) if magnitude.dtype.itemsize == 8 else (jnp.uint32, 23)
    bias = (1 << (10 if shift == 52 else 7)) - 1
    exponent = lax.bitcast_convert_type(magnitude, bits) >> shift
    exponent = jnp.clip(exponent, 1, 2 * bias - 1)
    exponent = jnp.where(magnitude > 0, exponent, bias).astype(bits)
    pair = (exponent << shift, (2 * bias - exponent).astype(bits) << shift)
    scale, inverse = (lax.bitcast_convert_type(each, magnitude.dtype) for each in pair)
    return scale, inverse


# --- sketches ----------------------------------------------------------------------------------------------


@_with_defaults
def sketch_words(values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """The buckets of :class:`sightline.values.aggregates.Sketch` as uint32 ``(SKETCH_WORDS,)``, 16 kB.

    Word 0 is the number of the largest bucket (int32), then come the counts of positive values by distance
    from it, those of negative ones, and the zeros.
    """
    x = lax.stop_gradient(values)
    if x.dtype != jnp.float64:
        x = x.astype(jnp.float64 if x.dtype.itemsize == 8 else jnp.float32)
    valid = jnp.isfinite(x)
    if mask is not None:
        valid &= lax.stop_gradient(mask) != 0
    magnitude = jnp.abs(x)
    nonzero = valid & (magnitude >= np.finfo(x.dtype).tiny)  # devices may flush what is smaller to zero
    bucket = jnp.ceil(jnp.log(jnp.where(nonzero, magnitude, 1)) * (1 / LOG_GAMMA)).astype(jnp.int32)
    top = jnp.max(bucket, initial=-BIAS, where=nonzero)
    below = top - bucket
    place = jnp.where(x > 0, below, below + WINDOW)
    place = jnp.where(nonzero & (below < WINDOW), place, 2 * WINDOW)
    counts = jnp.zeros(2 * WINDOW + 1, WORD).at[place.reshape(-1)].add(valid.reshape(-1).astype(WORD))
    return jnp.concatenate([_words(top), counts])


def read_sketches(words: npt.NDArray[np.uint32]) -> list[Sketch]:
    """Sketches of uint32 ``(…, SKETCH_WORDS)``, leading axes one by one."""
    rows = np.ascontiguousarray(words).reshape(-1, SKETCH_WORDS)
    return [_sketch(int(row[:1].view(np.int32)[0]), row[1:].astype(np.int64)) for row in rows]


def read_merged_sketch(words: npt.NDArray[np.uint32]) -> Sketch:
    """All of them merged into one, without making each."""
    rows = np.ascontiguousarray(words).reshape(-1, SKETCH_WORDS)
    tops = rows[:, :1].view(np.int32)[:, 0]
    return Sketch.merge(
        [_sketch(int(top), rows[tops == top, 1:].sum(0, dtype=np.int64)) for top in np.unique(tops)]
        or [Sketch.of(np.zeros(0))]
    )


def _sketch(top: int, counts: Ints) -> Sketch:
    signed = top - np.arange(WINDOW) + BIAS
    buckets = np.concatenate([signed, -signed, [0]]).astype(np.int32)
    used = np.flatnonzero(counts)
    order = used[np.argsort(buckets[used])]
    return Sketch(buckets[order], counts[order])
