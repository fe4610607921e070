"""The trackers of a process: one for each name, with one meaning of keys for all."""

from __future__ import annotations

from sightline.recording.drained import Drained
from sightline.tracking.stats_tracker import StatsTracker

_trackers: dict[str, StatsTracker] = {}


def tracker(name: str = "default") -> StatsTracker:
    """The process's tracker of this name, made at the first call; a commit drains them all.

    What they record lands in one commit, so a key has one reduction over all of them, for as long as a run
    lasts. Each has scopes of its own.

    Example:
        >>> tracker("critic") is tracker("critic")
        True
    """
    found = _trackers.get(name)
    if found is not None:
        return found
    made = StatsTracker(name)
    if (first := _trackers.get("default")) is not None:
        made._share_names_with(first)
    return _trackers.setdefault(name, made)


def all_trackers() -> list[StatsTracker]:
    """The trackers made by :func:`tracker`, the default one first."""
    tracker()
    return list(_trackers.values())


def drain_for_good(only: StatsTracker | None = None) -> list[Drained]:
    """Takes what a run has left, and lets its keys go: the next run may record them otherwise.

    In one go, so that what another thread records meanwhile is either among what is drained, or is declared
    anew. A tracker of :func:`tracker` alone keeps its keys, which are the others' too.

    Args:
        only: whose records the run commits; None: those of all trackers made by :func:`tracker`.
    """
    first = tracker() if only is None else only
    # What a signal handler interrupts in the middle of a record has declared its key already.
    interrupts = first._is_recording()
    with first._lock:
        trackers = all_trackers() if only is None else [only]
        drained = [each.drain() for each in trackers]
        if not interrupts and (only is None or _trackers.get(only.name) is not only):
            first._registry.forget()
    return drained
