"""What recording calls accept: host values, checked and turned into numbers, with errors that say the fix."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline import naming
from sightline.errors import RecordError
from sightline.snapshot import Value

MISSING: Any = object()  #: stands for a value that was not given
_LARGEST = int(sys.float_info.max)


def checked_key(key: object) -> str:
    """``key``, if it can name a metric."""
    try:
        return naming.check_key(key)
    except ValueError as error:
        raise RecordError(str(error)) from None


def to_numbers_by_key(call: str, key: str | None, value: Any, kvs: dict[str, Any]) -> dict[str, Value]:
    """The numbers of a call in either form, ``call("a/b", 1)`` or ``call(a=1)``."""
    if key is not None:
        kvs[key] = value
    return {k: to_number(call, k, v) for k, v in kvs.items()}


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
        raise RecordError(
            f"{call}({key!r}): got an array of shape {array_.shape}, expected one number; "
            f"for all its elements use summary({key!r}, values)"
        )
    return int(array_.item()) if array_.dtype.kind in "biu" else float(array_.astype(np.float64).item())


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


def to_array(call: str, key: str, values: Any) -> npt.NDArray[Any]:
    """Anything that NumPy can read as one array, of any dtype."""
    if any(base.__name__ == "Tracer" for base in type(values).__mro__):
        raise RecordError(
            f"{call}({key!r}): a value inside jit has no number yet. Return it from the jitted function, and "
            f"record it outside: loss = step(...); sl.{call}(...)"
        )
    try:
        array_: npt.NDArray[Any] = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged; a tracer of jit; a donated device array
        raise RecordError(
            f"{call}({key!r}): not one array of numbers: {str(error).partition(chr(10))[0]}"
        ) from error
    return array_


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


def only_finite(key: str, values: npt.NDArray[Any], nonfinite: str) -> npt.NDArray[Any]:
    """The finite elements, float64 ``(n,)``; for ``nonfinite="drop"``."""
    if nonfinite != "drop":
        raise RecordError(f"{key!r}: nonfinite={nonfinite!r}; expected 'show' or 'drop'")
    numbers = np.asarray(values, np.float64)
    return numbers[np.isfinite(numbers)]


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
