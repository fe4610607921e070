"""Many numbers in few bytes, and plain data that any JSON reader takes.

What a page reads is gzip of: the length of the JSON as 4 bytes, little-endian; the JSON; and, from the next
multiple of 8 on, the arrays, to which the JSON refers by ``[type, offset, length]``. Types: ``f4``, ``f8``,
and ``d4`` for integers, of which each is kept as the difference to the one before (int32).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Ref = list[Any]  #: ``[type, offset, length]``

_LEVEL = 5
_EXACT = 1e-4  # of what a series spans: less than a pixel
_SAFE = 1 << 53  # the integers that a browser has


class Packer:
    """Arrays one after the other, equal ones once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[bytes, Ref] = {}

    def add(self, array: NDArray[Any]) -> Ref:
        """Takes an array, and returns how the page finds it."""
        kind, data = _encoded(array)
        name = hashlib.blake2b(data, digest_size=16).digest() + kind.encode()
        ref = self._known.get(name)
        if ref is None:
            ref = self._known[name] = [kind, self._size, len(array)]
            self._parts += [data, bytes(-len(data) % 8)]
            self._size += len(data) + -len(data) % 8
        return ref

    def packed(self, meta: Any) -> bytes:
        """All of it, compressed; the same for the same data."""
        head = as_json(meta)
        head += b" " * (-(len(head) + 4) % 8)
        whole = b"".join([len(head).to_bytes(4, "little"), head, *self._parts])
        return gzip.compress(whole, _LEVEL, mtime=0)


def _encoded(array: NDArray[Any]) -> tuple[str, bytes]:
    if array.dtype.kind in "iu":
        steps = np.diff(array.astype(np.int64), prepend=0)
        if not len(steps) or np.abs(steps).max() < 1 << 31:
            return "d4", steps.astype("<i4").tobytes()
        return "f8", array.astype("<f8").tobytes()
    with np.errstate(over="ignore", invalid="ignore"):
        small = array.astype("<f4")
        finite = np.isfinite(array)
        off = np.abs(small[finite].astype(np.float64) - array[finite])
        span = np.ptp(array[finite]) if finite.any() else 0.0
    if not len(off) or off.max() <= max(_EXACT * span, 1e-6 * np.abs(array[finite]).max() * (span == 0)):
        return "f4", small.tobytes()
    return "f8", array.astype("<f8").tobytes()


def as_json(value: Any) -> bytes:
    """Plain data as JSON, whatever stands in it: no NaN, no integer that a browser would round, any text.

    Example:
        >>> as_json({"a": [float("nan"), 1 << 60, "\\ud800"]})
        b'{"a":["nan","1152921504606846976","\\\\ud800"]}'
    """
    value = _plain(value)
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):  # a text that has no UTF-8
        return json.dumps(value, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is int:
        return value if -_SAFE < value < _SAFE else str(value)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return str(value)
