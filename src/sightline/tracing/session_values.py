"""What the calls of sessions accept, checked and made plain."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import RecordError
from sightline.support.given_numbers import NOT_YET, is_missing, number, whole
from sightline.tracing.event_values import plain

LONGEST_NAME = 200  #: characters
_REASON = 1000  # characters


def checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise RecordError(f"phase({shown(name)}): expected a name, got {type(name).__name__}")
    return str(name)


def checked_task(task: Any) -> Any:
    """An int or a short string, whatever it is."""
    if isinstance(task, (np.integer, np.ndarray)):
        found = whole(task)
        task = task if found is None else found
    if task is None or (task.__class__ is int and -(2**63) <= task < 2**63):
        return task
    return _text(task, LONGEST_NAME)


def checked_version(version: Any) -> Any:
    """An int; None if there is none; as it is, while its device has yet to compute it."""
    if version.__class__ is not int:
        if is_missing(version):
            return None
        given, found = version, None if isinstance(version, (bool, np.bool_)) else whole(version)
        if found is NOT_YET:
            return given
        if found is None:
            raise RecordError(f"policy version {shown(given)}: expected an int, got {type(given).__name__}")
        version = found
    if not -(2**63) <= version < 2**63:
        raise RecordError("policy version: expected an int of 64 bits, got a longer one")
    return version


def checked_amount(name: str, amount: Any) -> Any:
    """An int or a float, or ``NOT_YET``."""
    if amount.__class__ is int or amount.__class__ is float:
        return amount
    found = number(amount)
    if found is not None:
        return found
    raise RecordError(f"count({name}={shown(amount)}): expected a number, got {type(amount).__name__}")


def shown(value: Any) -> str:
    return f"{plain(value)!r:.200}"


def time_of(value: Any) -> int | None:
    """Nanoseconds of a clock; None if it is none."""
    found = whole(value)
    return found if type(found) is int and 0 <= found < 2**63 else None


def checked_reason(reason: Any) -> str | None:
    return None if reason is None else _text(reason, _REASON)


def _text(value: Any, characters: int) -> str:
    """A short text of anything."""
    text = value if value.__class__ is str else str(plain(value))
    if len(text) > characters:
        text = f"{text[:characters]}… ({len(text) - characters} characters more)"
    return text if text.isascii() else str(plain(text))
