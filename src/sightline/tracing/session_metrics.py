"""What the sessions of a process were like, as metrics: ``rollout/session/…``.

| key | what |
|---|---|
| ``pending`` | sessions in flight at the commit |
| ``accepted``, ``rejected``, ``failed``, ``dropped`` | sessions of which that was said |
| ``retries`` | tries that were begun again |
| ``total_s`` | seconds from a session's beginning to its status |
| ``phase/<name>_s`` | seconds of a session in which at least one span of the phase was open |
| ``staleness`` | versions that the policy went on from beginning to end |

Each process counts what is said and done there since its last commit, and the commit adds that up. So a
session that travels is counted once, where its status is said; the phases of each part count where they are.
A commit before which nothing was said has no counts, rather than zeros: it may be the second one of its step,
that of an evaluation, and sinks that have one value for each step keep the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sightline.recording.sampling import Recorder
from sightline.tracing.sessions import STATUSES, Phase, Session

PREFIX = "rollout/session/"
QUANTILES = (0.5, 0.95)

_PHASE_NAMES = 100  # that have a key; the others share one
_VALUES = 1 << 16  # of a key between two commits; those beyond are left out of its distribution
_PHASES, _STATUS = 1, 2  # what of a session has been counted


class SessionMetrics:
    """Takes ended sessions as they come, and records them at each commit.

    Not for several threads at once.

    Args:
        pending: says how many are in flight.
    """

    def __init__(self, pending: Callable[[], int]) -> None:
        self._pending = pending
        self._any = False
        self._names: dict[str, str] = {}  # of phases: their keys
        self._counts: dict[str, int] = {}
        self._seconds: dict[str, list[float]] = {}
        self._staleness: list[float] = []
        self._clear()

    def add(self, session: Session) -> None:
        """Counts what of a session has not been counted yet."""
        self._any = True
        if not session.counted & _PHASES:
            session.counted |= _PHASES
            self._counts["retries"] += len(session.retries)
            by_name: dict[str, list[Phase]] = {}
            for phase in session.phases:
                by_name.setdefault(phase.name, []).append(phase)
            for name, phases in by_name.items():
                key = self._names.get(name) or self._key_of(name)
                self._add_seconds(key, covered((each.start, each.end or session.end) for each in phases))
        if session.status != "pending" and not session.counted & _STATUS:
            session.counted |= _STATUS
            self._counts[session.status] += 1
            self._add_seconds("total_s", max(0, session.decided - session.origin))
            staleness = session.staleness
            if staleness is not None and len(self._staleness) < _VALUES:
                self._staleness.append(staleness)

    def record(self, tracker: Recorder) -> None:
        """Records what is in flight, and what has come since the last call; nothing in a process that never
        had a session."""
        pending = self._pending()
        if not self._any and not pending:
            return
        self._any = True
        tracker.total(f"{PREFIX}pending", pending)  # by all processes, or the sum would be of some
        if any(self._counts.values()):
            for name, count in self._counts.items():
                tracker.total(PREFIX + name, count)
        for name, seconds in self._seconds.items():
            tracker.summary(PREFIX + name, seconds, quantiles=QUANTILES)
        if self._staleness:
            tracker.summary(f"{PREFIX}staleness", self._staleness, quantiles=QUANTILES)
        self._clear()

    def _clear(self) -> None:
        self._counts = dict.fromkeys((*(each for each in STATUSES if each != "pending"), "retries"), 0)
        self._seconds = {}
        self._staleness = []

    def _add_seconds(self, key: str, ns: int) -> None:
        values = self._seconds.setdefault(key, [])
        if len(values) < _VALUES:
            values.append(ns / 1e9)

    def _key_of(self, name: str) -> str:
        if len(self._names) >= _PHASE_NAMES:
            return "phase/other_s"
        key = f"phase/{snake_case(name)}_s"
        self._names[name] = key
        return key


def snake_case(name: str) -> str:
    """A name as a part of a key.

    Example:
        >>> snake_case("Tool call: Python"), snake_case("…")
        ('tool_call_python', 'unnamed')
    """
    return "_".join(re.findall("[a-z0-9]+", name[:100].lower())) or "unnamed"


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """How long at least one of the spans (start, end) lasted; they may nest and overlap.

    Example:
        >>> covered([(10, 20), (0, 30), (25, 40), (60, 70)])
        50
    """
    total, until = 0, -(2**63)
    for start, end in sorted(spans):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total
