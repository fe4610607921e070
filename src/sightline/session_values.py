"""What the calls of sessions accept, checked and made plain."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from sightline.errors import RecordError
from sightline.event_values import plain

LONGEST_NAME = 200  #: characters
_REASON = 1000  # characters


def checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise RecordError(f"phase({shown(name)}): expected a name, got {type(name).__name__}")
    return str(name)


def checked_task(task: Any) -> Any:
    """An int or a short string, whatever it is."""
    if isinstance(task, np.integer):
        task = int(task)
    if task is None or (task.__class__ is int and -(2**63) <= task < 2**63):
        return task
    return _text(task, LONGEST_NAME)


def checked_version(version: Any) -> int | None:
    if version is None:
        return None
    if not isinstance(version, (int, np.integer)) or isinstance(version, bool):
        raise RecordError(f"policy version {shown(version)}: expected an int, got {type(version).__name__}")
    if not -(2**63) <= version < 2**63:
        raise RecordError("policy version: expected an int of 64 bits, got a longer one")
    return int(version)


def checked_amount(name: str, amount: Any) -> int | float:
    if amount.__class__ is int or amount.__class__ is float:
        return amount
    if isinstance(amount, (int, np.integer, np.bool_)):
        return int(amount)
    if isinstance(amount, (float, np.floating)):
        return float(amount)
    raise RecordError(f"count({name}={shown(amount)}): expected a number, got {type(amount).__name__}")


def shown(value: Any) -> str:
    return f"{plain(value)!r:.200}"


def is_time(value: Any) -> TypeGuard[int]:
    """Whether it may be nanoseconds of a clock."""
    return isinstance(value, int) and 0 <= value < 2**63


def checked_reason(reason: Any) -> str | None:
    return None if reason is None else _text(reason, _REASON)


def _text(value: Any, characters: int) -> str:
    """A short text of anything."""
    text = value if value.__class__ is str else str(plain(value))
    if len(text) > characters:
        text = f"{text[:characters]}… ({len(text) - characters} characters more)"
    return text if text.isascii() else str(plain(text))
