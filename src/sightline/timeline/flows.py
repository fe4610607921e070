"""Where arrows begin, for all processes, so that none is drawn backwards by what clocks leave open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.timeline.clocks import ProcessClock
from sightline.timeline.finding import ProcessTrace

_MOST_NS = 1_000_000  # that the end of an arrow is moved where clocks were never compared


class FlowStarts:
    """Where the arrows of one attempt of a run begin; 16 bytes for each.

    Args:
        traces, clocks: of its processes.
    """

    def __init__(self, traces: Sequence[ProcessTrace], clocks: Sequence[ProcessClock]) -> None:
        ids = np.concatenate([np.frombuffer(each.flows_out, np.uint64) for each in traces])
        at = np.fromiter(
            (clock.at(ns) for trace, clock in zip(traces, clocks, strict=True) for ns in trace.flows_out_at),
            np.int64,
            len(ids),
        )
        order = np.argsort(ids, kind="stable")
        self._ids, self._at = ids[order], at[order]
        unknown = [_MOST_NS if each.uncertainty_ns is None else each.uncertainty_ns for each in clocks]
        self._slack = sum(sorted(unknown)[-2:]) + 1000

    def not_before(self, flow: int, at: int) -> int:
        """When an arrow ends: after its beginning, unless that is later by more than clocks explain."""
        place = int(np.searchsorted(self._ids, np.uint64(flow)))
        if place == len(self._ids) or self._ids[place] != flow:
            return at
        begins = int(self._at[place])
        return begins + 1 if 0 <= begins - at <= self._slack else at
