"""The sessions of groups have their phases, and arrows lead from one to the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from runners.common.groups import GroupSessions


class Seen:
    """Notes the arrows that begin and end."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.begun = 0

    def flow_out(self) -> int:
        self.begun += 1
        return self.begun

    def flow_in(self, flow: int) -> None:
        self.ends.append(flow)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("no device"), "failed", "ValueError: no device"),
        (KeyboardInterrupt(), "dropped", "interrupted"),
    ],
)
def test_groups_whose_phase_raises_are_not_in_flight_for_ever(
    error: BaseException, status: str, reason: str, tmp_path: Path
) -> None:
    with sl.start(tmp_path, name="run", sinks=[]):
        groups = GroupSessions(["a", "b"], version=3)
        with pytest.raises(type(error)), groups.phase("generate", Seen()):
            raise error
    found = list(sl.read_sessions(tmp_path / "run"))
    assert [(each.status, each.reason, each.running) for each in found] == [(status, reason, False)] * 2


def test_groups_are_sessions_with_phases_statuses_and_arrows(tmp_path: Path) -> None:
    seen = Seen()
    with sl.start(tmp_path, name="run", sinks=[]):
        groups = GroupSessions(["a", "b"], version=3)
        for name in ("generate", "reward"):
            with groups.phase(name, seen):
                pass
        groups.finish(np.array([1.0, 0.0, 0.5, 0.5]), np.array([3, 4, 5, 6]), np.array([False, True]))
    assert (seen.ends, groups.flow) == ([0, 1], 2)
    first, second = sl.read_sessions(tmp_path / "run")
    assert [each.name for each in first.phases] == ["generate", "reward"]
    assert (first.status, second.status, second.reason) == ("accepted", "rejected", "all rewards are equal")
    assert (first.staleness, first.counters) == (0, {"completions": 2, "tokens": 7})
