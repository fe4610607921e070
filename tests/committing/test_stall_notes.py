"""When the root says what about a stall; see tests/multiprocess/test_stalls.py for whole jobs."""

from __future__ import annotations

from typing import Any

import pytest

from sightline.committing.stall_notes import StallNotes
from sightline.posting.message import Message
from sightline.posting.slots import Closed, SlotBoard
from sightline.transports.local import LocalTransport


def test_whoever_waits_as_long_as_it_is_told_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process alone: that no step is complete is said when it is so, as where the process stands."""
    now = 100.0
    for room in ("posting.stall", "committing.stall_notes"):
        monkeypatch.setattr(f"sightline.{room}.time.monotonic", lambda: now)
    events: list[tuple[float, Any]] = []
    board = SlotBoard[Message](1)
    notes = StallNotes(board, LocalTransport(), lambda event: events.append((now, event["event"])))
    for step in range(10):
        now += 1.0
        notes.committed()
        now += 0.5  # a closed slot comes a little later than what was committed
        notes.closed(Closed((step, 0), {}, ()))
    committed, closed = now - 0.5, now
    while len(events) < 2:
        wait_s = notes.wait_s()
        assert wait_s is not None
        now += wait_s
        notes.look((9, 0), ending=False)
    assert [event for _, event in events] == ["stacks", "stall"]
    assert [moment for moment, _ in events] == [
        pytest.approx(committed + 10, abs=0.2),
        pytest.approx(closed + 10, abs=0.2),
    ]
