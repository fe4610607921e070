"""Numbers in files that anybody may have written or damaged: those that are what they should be."""

from __future__ import annotations

import math
from typing import Any


def whole(value: Any) -> int | None:
    """A step, an attempt, a process: an int of a size that NumPy's have; None for anything else.

    Example:
        >>> whole(7), whole(True), whole("7"), whole(7.0), whole(1 << 63)
        (7, None, None, None, None)
    """
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def position(value: Any) -> int | None:
    """A ``seq``, an offset, a size: an int from 0 on that float64 holds too; None for anything else.

    Example:
        >>> position(7), position(-1), position(1e30), position(True), position(1 << 53)
        (7, None, None, None, None)
    """
    return value if type(value) is int and 0 <= value < 2**53 else None


def real(value: Any) -> float | None:
    """A finite number; None for anything else.

    Example:
        >>> real(7), real(0.5), real(True), real("7"), real(float("nan")), real(10**400)
        (7.0, 0.5, None, None, None, None)
    """
    if type(value) not in (int, float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def seconds(value: Any) -> float | None:
    """A time, or a moment since the epoch before the year 5138, in s; None for anything else.

    Example:
        >>> seconds(1.75e9), seconds(1e300)
        (1750000000.0, None)
    """
    number = real(value)
    return number if number is not None and abs(number) < 1e11 else None
