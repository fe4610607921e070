"""Numbers as programs hand them over: of Python and NumPy, and of devices, where they are there already."""

from __future__ import annotations

import operator
import threading
from typing import Any

import numpy as np

NOT_YET = object()  #: for a number that a device has yet to compute


def number(value: Any) -> Any:
    """A number as an int or a float; None if it is none, ``NOT_YET`` if its device has yet to compute it.

    Takes whatever is one number: Python's, NumPy's with those of ``ml_dtypes``, arrays of no dimension, also
    of JAX. Does not wait, and does not raise.

    Example:
        >>> number(True), number(np.float32(0.5)), number(np.array(3)), number("3"), number(np.ones(1))
        (1, 0.5, 3, None, None)
    """
    kind = type(value)
    if kind is int or kind is float:
        return value
    try:
        if hasattr(value, "is_ready"):
            if value.is_deleted() or value.ndim:
                return None
            if not value.is_ready():
                return NOT_YET
            value = np.asarray(value)
        if isinstance(value, (np.generic, np.ndarray)):
            value = None if value.ndim or value.dtype.kind not in "biufV" else value.item()
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value)
        # What has a shape may lie on a device of another library, and would be waited for.
        if not hasattr(value, "shape"):
            if hasattr(value, "__index__"):
                return operator.index(value)
            if hasattr(value, "as_integer_ratio"):  # a Decimal, a Fraction
                return float(value)
    except BaseException as error:  # a user's object may do anything, as ending a thread of ours
        if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
            raise  # it may be Ctrl-C
    return None


def whole(value: Any) -> Any:
    """The same for an int, for which a float without a fraction is taken too, as tables make them of ints.

    Example:
        >>> whole(np.uint64(7)), whole(7.0), whole(7.5), whole(float("nan"))
        (7, 7, None, None)
    """
    found = number(value)
    if type(found) is float:
        return int(found) if found.is_integer() else None
    return found


def is_missing(value: Any) -> bool:
    """Whether it stands for a value that is not there: None, or NaN, which tables make of it.

    Example:
        >>> is_missing(None), is_missing(np.float64("nan")), is_missing(0)
        (True, True, False)
    """
    return value is None or (isinstance(value, (float, np.floating)) and bool(value != value))
