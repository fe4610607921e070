"""Arguments of events as plain data, whatever they are: bounded, without raising, without asking a device."""

from __future__ import annotations

import enum
import math
import os
import threading
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

_DEPTH = 6
_ITEMS = 100  # of a container
_ITEMS_IN_ALL = 1000
_CHARACTERS = 10_000  # of a string
_SMALL = 16  # elements of an array that are shown

_AS_THEY_ARE = frozenset((int, bool, type(None)))


def plain(value: Any) -> Any:
    """A value as plain data for JSON: short, finite, and with what was cut said.

    Numbers, strings, containers, enums, paths and small NumPy arrays are shown; of other arrays, those on
    devices included, shape and dtype, since reading them would wait; of anything else the type.

    Example:
        >>> plain({"n": 3, "x": float("nan"), "array": np.zeros((2, 64), np.float32)})
        {'n': 3, 'x': 'nan', 'array': 'float32[2, 64]'}
    """
    return _plain(value, _DEPTH, [_ITEMS_IN_ALL])


def bounded(value: Any, most: int) -> tuple[Any, int]:
    """A value as plain data of at most ``most`` bytes of JSON, or a text of its beginning; and how many.

    Example:
        >>> bounded({"text": "abc"}, 100)
        ({'text': 'abc'}, 14)
        >>> bounded({"text": "a" * 1000}, 10)
        ('{"text":"a… (1001 bytes more)', 10)
    """
    shown = plain(value)
    data = dumps(shown)
    if len(data) <= most:
        return shown, len(data)
    return f"{data[:most].decode(errors='ignore')}… ({len(data) - most} bytes more)", most


def dumps(value: Any) -> bytes:
    """Plain data as JSON in UTF-8."""
    import orjson  # late: a seventh of what importing sightline takes

    return orjson.dumps(value)


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    """As :func:`plain`; ``left``: how many items may still be shown."""
    kind = type(value)
    if kind is str:
        return text(value)
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind in _AS_THEY_ARE:
        return value if kind is not int or -(2**63) <= value < 2**63 else _big(value)
    try:
        return _other(value, depth, left)
    except BaseException as error:  # a user's object may do anything, as ending a thread of ours
        is_ours = threading.current_thread() is not threading.main_thread()
        if not isinstance(error, Exception) and not is_ours:  # it may be Ctrl-C
            raise
        return f"<{kind.__name__}: {type(error).__name__}>"


def _big(value: int) -> str:
    """An int that JSON's readers may not hold; Python refuses to write out very long ones."""
    return str(value) if value.bit_length() < 10_000 else f"<int of {value.bit_length()} bits>"


def _other(value: Any, depth: int, left: list[int]) -> Any:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    for usual in (str, int, float):
        if isinstance(value, usual):
            return _plain(usual(value), depth, left)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, os.PathLike):
        return text(os.fsdecode(value))
    if isinstance(value, np.generic):
        return _plain(value.item(), depth, left)
    if isinstance(value, np.ndarray) and value.size <= _SMALL and value.dtype.kind in "biufU":
        return _plain(value.tolist(), depth, left)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, BaseException):
        return text(f"{type(value).__name__}: {value}")
    if not isinstance(value, (Mapping, Sequence, Set)):
        return f"<{type(value).__name__}>"
    shown = min(len(value), _ITEMS, left[0] if depth else 0)
    left[0] -= shown
    more = [f"… {len(value) - shown} more"] if len(value) > shown else []
    if isinstance(value, Mapping):
        items = {
            text(key if isinstance(key, str) else str(_plain(key, 0, left))): _plain(each, depth - 1, left)
            for _, (key, each) in zip(range(shown), value.items(), strict=False)
        }
        return items | dict.fromkeys(more)
    return [_plain(each, depth - 1, left) for _, each in zip(range(shown), value, strict=False)] + more


def text(value: str, characters: int = _CHARACTERS) -> str:
    """A string such as UTF-8 can hold, with at most so many characters and what was cut said.

    Example:
        >>> text("caf\\u00e9 \\ud800"), text("x" * 9, 4)
        ('café \\\\ud800', 'xxxx… (5 characters more)')
    """
    value = str.__str__(value)  # a subclass may do anything
    if len(value) > characters:
        value = f"{value[:characters]}… ({len(value) - characters} characters more)"
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode("utf-8", "backslashreplace").decode()
    return value
