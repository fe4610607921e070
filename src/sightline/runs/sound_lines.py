"""Whether the lines of a journal are such as sightline writes: anybody may edit a file.

What is not is passed over and counted by those who read, or loses the fields that are of another kind, so
that nobody behind them need ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_PROCESSES = 1 << 20
_LATEST = 1e11  # s since the epoch: the year 5138
_SECONDS = frozenset(("time", "seconds", "span_s", "waited_s", "started"))
_NUMBERS = frozenset(("attempt", "step", "process", "start", "total"))
_PROCESSES = frozenset(("waiting_for", "processes", "missing"))


def is_sound_run(run: Mapping[str, Any]) -> bool:
    """Whether what a ``run`` line says of its attempt is of the right kinds.

    Example:
        >>> is_sound_run({"attempt": 1, "processes": 8}), is_sound_run({"attempt": 1, "processes": "8"})
        (True, False)
    """
    processes = run.get("processes", 1)
    return (
        _is_number(run.get("attempt", 1))
        and _is_number(processes)
        and processes <= _MOST_PROCESSES
        and _is_seconds(run.get("started", 0.0))
        and isinstance(run.get("starts") or [], list)
    )


def sane_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An ``event`` or ``late`` line without the fields that are of another kind than they should be.

    Example:
        >>> sane_event({"type": "event", "event": "stall", "time": "noon", "waiting_for": [2, "x"]})
        {'type': 'event', 'event': 'stall', 'waiting_for': [2]}
    """
    found: dict[str, Any] = {}
    for name, value in event.items():
        if name in _SECONDS:
            if _is_seconds(value):
                found[name] = float(value)
        elif name in _NUMBERS:
            if _is_number(value):
                found[name] = value
        elif name in _PROCESSES:
            found[name] = [each for each in value if _is_number(each)] if isinstance(value, list) else []
        else:
            found[name] = value
    return found


def _is_number(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LATEST
