"""What recording calls accept: host values, checked and turned into numbers, with errors that say the fix."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sightline.errors import RecordError
from sightline.values import naming
from sightline.values.snapshot import Value


class _Missing:
    def __repr__(self) -> str:  # in signatures that `help` shows
        return "<not given>"


MISSING: Any = _Missing()  #: stands for a value that was not given
_LARGEST = int(sys.float_info.max)
_MOST_BINS = 1024  # a journal line of some 20 kB; more than a screen can show


def checked_key(key: object) -> str:
    """``key``, if it can name a metric."""
    try:
        return naming.check_key(key)
    except ValueError as error:
        raise RecordError(str(error)) from None


Where = Literal["host", "device", "tracer", "wrapper"]

#: By class, for those that have been met.
WHERE: dict[type, Where] = dict.fromkeys((float, int, bool, np.ndarray, type(None)), "host")


def where_are(groups: Iterable[Iterable[Any]]) -> Where:
    """Whether some values are tracers of JAX, or else lie on devices. Does not import JAX."""
    found: Where = "host"
    for values in groups:
        for value in values:
            where = WHERE.get(value.__class__) or _where(value.__class__)
            if where == "wrapper":
                where = where_are([[value.__jax_array__()]])
            if where != "host":
                if where == "tracer":
                    return where
                found = where
    return found


def unwrapped(value: Any) -> Any:
    """The one element of a list or tuple of one, and the array that is wrapped; anything else as it is."""
    return of_wrapper(value[0] if value.__class__ in (list, tuple) and len(value) == 1 else value)


def of_wrapper(value: Any) -> Any:
    """What ``__jax_array__`` gives, for variables of neural network libraries; anything else as it is."""
    cls = value.__class__
    return value.__jax_array__() if (WHERE.get(cls) or _where(cls)) == "wrapper" else value


def arrays_of(call: str, key: str, values: Any, mask: Any) -> list[tuple[Any, Any]] | None:
    """The arrays of a list of device arrays, each with its mask; None if it is none.

    NumPy would make one array of them, and wait for each.
    """
    lists = [each for each in (values, mask) if each.__class__ in (list, tuple)]
    if any(item.__class__ in (list, tuple) for each in lists for item in each):
        flat = [list(_leaves(each)) for each in lists]
        if where_are(flat) != "host":
            values, mask = (
                flat.pop(0) if each.__class__ in (list, tuple) else each for each in (values, mask)
            )
            lists = [each for each in (values, mask) if each.__class__ is list]
    if not lists or where_are(lists) == "host":
        return None
    masks = [None] * len(values) if mask is None else mask
    if len(lists) != (1 if mask is None else 2) or len(masks) != len(values):
        raise RecordError(
            f"{call}({key!r}): a list of arrays on devices goes with a list of as many masks, or join them: "
            f"jnp.stack(values)"
        )
    return list(zip(values, masks, strict=True))


def _leaves(values: Any) -> Iterator[Any]:
    """The elements of lists within lists."""
    if values.__class__ in (list, tuple):
        for each in values:
            yield from _leaves(each)
    else:
        yield values


def _where(cls: type) -> Where:
    if "jax" not in sys.modules:
        return "host"
    import jax

    is_traced, is_array = issubclass(cls, jax.core.Tracer), issubclass(cls, jax.Array)
    other: Where = "wrapper" if hasattr(cls, "__jax_array__") else "host"
    return WHERE.setdefault(cls, "tracer" if is_traced else "device" if is_array else other)


def no_collector_error(call: str, key: str) -> RecordError:
    """For a value inside a transformed function that has no collector."""
    return RecordError(
        f"{call}({key!r}): this value is traced: the function runs inside jit, grad, vmap or another "
        f"transformation of JAX, and its values have no numbers yet. Collect them, directly under the "
        f"transformation:\n"
        f"    wrong:  step = jax.jit(update)                  # update calls sl.{call}(...)\n"
        f"            state = step(state, batch)\n"
        f"    right:  step = jax.jit(sl.collect(update))\n"
        f"            state, stats = step(state, batch)\n"
        f"            sl.ingest(stats)                        # outside, does not wait\n"
        f"or return the value and record it outside"
    )


def to_number(call: str, key: str, value: Any) -> Value:
    """A host number: an int stays an int, anything else that is one real number becomes a float."""
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if value is MISSING:
        raise RecordError(f"{call}({key!r}): the value is missing; write {call}({key!r}, value)")
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        whole = int(value)
        if not -_LARGEST <= whole <= _LARGEST:
            raise RecordError(f"{call}({key!r}): an int beyond ±1.8e308, which no float holds")
        return whole
    if isinstance(value, (float, np.floating)):
        return float(value)
    array_ = to_numbers(call, key, value)
    if array_.size != 1:
        raise shape_error(call, key, array_.shape)
    return int(array_.item()) if array_.dtype.kind in "biu" else float(array_.astype(np.float64).item())


def shape_error(call: str, key: str, shape: tuple[int, ...]) -> RecordError:
    """For an array where one number belongs."""
    return RecordError(
        f"{call}({key!r}): got an array of shape {shape}, expected one number; for all its elements use "
        f"summary({key!r}, values)"
    )


def per_process_error(key: str) -> RecordError:
    """For ``per_process=True`` inside a traced function, whose statistics are those of all processes."""
    return RecordError(
        f"scalar({key!r}, per_process=True) inside a function under sl.collect: what it records is of no one "
        f"process. Return the value, and record it outside"
    )


def host_only_error(call: str, key: str) -> RecordError:
    """For something of the host inside a traced function."""
    return RecordError(
        f"{call}({key!r}) inside a function under sl.collect: it would run once, while JAX traces, and not "
        f"in each step. Put it around the call of the jitted function"
    )


def to_string(call: str, key: str, value: Any) -> str:
    """A short text that UTF-8 can hold."""
    if value is MISSING:
        raise RecordError(f"{call}({key!r}): the value is missing; write {call}({key!r}, value)")
    if not isinstance(value, str):
        raise RecordError(f"{call}({key}={value!r}): expected a str, got {type(value).__name__}")
    return value.encode(errors="backslashreplace").decode()  # a lone surrogate (of a file name) has no UTF-8


def checked_quantiles(call: str, key: str, quantiles: Any) -> tuple[float, ...]:
    """Quantiles as floats in [0, 1]."""
    try:
        numbers = tuple(float(q) for q in quantiles)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(0 <= q <= 1 for q in numbers):
        raise RecordError(
            f"{call}({key!r}): quantiles={quantiles!r}; expected numbers in [0, 1], as in (0.5, 0.95)"
        )
    return numbers


def checked_bins(call: str, key: str, bins: object) -> int:
    """The number of bins of a histogram."""
    if isinstance(bins, (int, np.integer)) and not isinstance(bins, bool) and 1 <= bins <= _MOST_BINS:
        return int(bins)
    raise RecordError(
        f"{call}({key!r}): bins={bins!r}; expected how many, an int from 1 to {_MOST_BINS}, as in bins=64. "
        f"Their edges follow from the values of all processes"
    )


def to_array(call: str, key: str, values: Any) -> npt.NDArray[Any]:
    """Anything that NumPy can read as one array, of any dtype."""
    if where_are([[values]]) == "tracer":
        raise no_collector_error(call, key)
    try:
        array_: npt.NDArray[Any] = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged; a tracer of jit; a donated device array
        raise RecordError(
            f"{call}({key!r}): not one array of numbers: {str(error).partition(chr(10))[0]}"
        ) from error
    return array_


def checked_mask(call: str, key: str, mask: Any) -> npt.NDArray[np.bool_]:
    """A mask as bools; numbers must be all 0 or 1."""
    array_ = to_array(call, key, mask)
    if array_.dtype == np.bool_:
        return array_
    chosen: npt.NDArray[np.bool_] = array_ == 1
    if not np.array_equal(chosen, array_ != 0):
        raise odd_mask_error(call, key, repr(array_[(array_ != 0) & (array_ != 1)].tolist()[0]))
    return chosen


def odd_mask_error(call: str, key: str, found: str) -> RecordError:
    """For a mask that holds something else than 0 and 1."""
    return RecordError(
        f"{call}({key!r}): the mask holds {found}; expected bools or 0 and 1. Weights are no mask: use "
        f"ratio(key, (values * weights).sum(), weights.sum())"
    )


def mask_shape_error(call: str, key: str, mask: tuple[int, ...], values: tuple[int, ...]) -> RecordError:
    """For a mask of another shape than the values."""
    return RecordError(
        f"{call}({key!r}): the mask has shape {mask} and the values {values}; they must be equal. A mask of "
        f"one axis fewer goes through np.broadcast_to(mask, values.shape)"
    )


def to_numbers(call: str, key: str, values: Any) -> npt.NDArray[Any]:
    """An array of real numbers, or an error that says what it is instead."""
    array_ = to_array(call, key, values)
    # ml_dtypes' bf16, float8 and int4 have kind "V" or "f"; what they share is a cast to float64.
    if array_.dtype.kind in "fiub" or (array_.dtype.kind == "V" and _casts(array_.dtype)):
        return array_
    shown = repr(values)
    raise RecordError(
        f"{call}({key!r}): got {shown if len(shown) < 60 else shown[:57] + '...'} ({array_.dtype}); expected "
        f"real numbers (float, int or bool)"
    )


def _casts(dtype: np.dtype[Any]) -> bool:
    return dtype.names is None and dtype.subdtype is None and np.can_cast(dtype, np.float64)


def checked_nonfinite(call: str, nonfinite: object) -> str:
    """What to do with NaN and infinities: ``"show"`` or ``"drop"``."""
    if nonfinite not in ("show", "drop"):
        raise RecordError(f"{call}: nonfinite={nonfinite!r}; expected 'show' or 'drop'")
    return str(nonfinite)


def check_timing_key(timing_key: str) -> None:
    """Whether a spelling of timings makes a key of its own for each key."""
    try:
        if timing_key.format(key="a") == timing_key.format(key="b"):
            raise ValueError("has no '{key}'")
        naming.check_key(timing_key.format(key="key"))
    except (ValueError, LookupError, AttributeError) as error:
        raise RecordError(
            f"timing_key={timing_key!r}: {error}; write it as in {naming.TIMING_KEY!r}"
        ) from None
