"""Which log lines are wanted, and the little languages in which people say it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sightline.errors import ConfigurationError
from sightline.text_logging.config import parse_levels
from sightline.text_logging.lines import body_of

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?")


@dataclass(frozen=True)
class Ranges:
    """Numbers, as in ``"0,3-5"``.

    Example:
        >>> ranges = Ranges.parse("0,3-5", "--process")
        >>> [number for number in range(8) if number in ranges]
        [0, 3, 4, 5]
    """

    parts: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str, option: str) -> Ranges:
        """
        Raises:
            ConfigurationError: something else; it names the option.
        """
        parts = []
        for part in text.split(","):
            found = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
            why = (
                "the last one is below the first: "
                if found and int(found[2] or found[1]) < int(found[1])
                else ""
            )
            if found is None or why:
                raise ConfigurationError(f"{option} {text!r}: {why}expected numbers and ranges, as in 0,3-5")
            parts.append((int(found[1]), int(found[2] or found[1])))
        return cls(tuple(parts))

    def __contains__(self, number: object) -> bool:
        return type(number) is int and any(first <= number <= last for first, last in self.parts)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a line must be like.

    Attributes:
        levels: the least levels as numbers, of all under ``""`` and of components.
        processes, attempts, steps: None: all. A line without a step is of none.
        since_ns: the corrected time from which on, in ns since the epoch.
        pattern: is searched in ``component: message``, with fields and traceback.
    """

    levels: Mapping[str, int] = field(default_factory=dict)
    processes: Ranges | None = None
    attempts: Ranges | None = None
    steps: Ranges | None = None
    since_ns: int | None = None
    pattern: re.Pattern[str] | None = None

    @property
    def takes_all(self) -> bool:
        """Whether all lines of the wanted processes are wanted."""
        return not self.levels and (self.steps, self.since_ns, self.pattern) == (None, None, None)

    def wants_process(self, attempt: int, process: int) -> bool:
        """Whether any line of a process may be wanted."""
        return (self.processes is None or process in self.processes) and (
            self.attempts is None or attempt in self.attempts
        )

    def quick(self) -> Callable[[bytes], bool]:
        """A test of raw lines that refuses most of those whose level is too low, without parsing."""
        least = min(self.levels.values(), default=0) if "" in self.levels else 0
        low = [
            f'"level":"{logging.getLevelName(each)}"'.encode() for each in (10, 20, 30, 40) if each < least
        ]
        if not low:
            return lambda line: True
        return lambda line: not any(each in line[:64] for each in low)

    def wants(self, record: Mapping[str, Any], level: int, time_ns: int) -> bool:
        """Whether a line is wanted; ``time_ns`` is its corrected time."""
        if self.since_ns is not None and time_ns < self.since_ns:
            return False
        component = str(record.get("logger", ""))
        if self.levels and level < self._least(component):
            return False
        if self.steps is not None and record.get("step") not in self.steps:
            return False
        return self.pattern is None or self.pattern.search(f"{component}: {body_of(record)}") is not None

    def _least(self, component: str) -> int:
        while component:
            if component in self.levels:
                return self.levels[component]
            component = component.rpartition(".")[0]
        return self.levels.get("", 0)


def levels(text: str) -> dict[str, int]:
    """Least levels, as in ``"warning"`` or ``"info,rollout=debug"``.

    Raises:
        ConfigurationError: a level that is none.
    """
    return parse_levels(text, "--level")


def since(text: str, now: float | None = None) -> int:
    """A moment in ns since the epoch: a duration before now, a clock time of the last 24 hours, an ISO time.

    Clock times, and ISO times without a zone, are local.

    Raises:
        ConfigurationError: none of these.

    Example:
        >>> since("1h30m", now=10_000.0)
        4600000000000
        >>> since("1970-01-01T01:00:00+00:00")
        3600000000000
    """
    now = time.time() if now is None else now
    text = text.strip()
    try:
        if _DURATION.fullmatch(text):
            parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", text)
            return int((now - sum(float(number) * _UNITS[unit] for number, unit in parts)) * 1e9)
        if clock := _CLOCK.fullmatch(text):
            at = datetime.fromtimestamp(now).replace(
                hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0
            ) + timedelta(seconds=float(clock[3] or 0))
            if at.timestamp() > now:
                at -= timedelta(days=1)
            return int(at.timestamp() * 1e9)
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(
            f"--since {text!r}: expected a duration (90s, 10m, 1h30m, 2d), a clock time (14:30), or an ISO "
            f"time (2026-01-31T14:30)"
        ) from None


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigurationError(f"--grep {text!r} is no regular expression: {error}") from None
