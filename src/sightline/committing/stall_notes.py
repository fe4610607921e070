"""What the root says of stalls: who is waited for when slots stop closing, and where each process is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sightline.posting.message import Message
from sightline.posting.poster import stalled
from sightline.posting.slots import Closed, Slot, SlotBoard
from sightline.posting.stall import StallWatch
from sightline.support import wording
from sightline.tracing.whereabouts import told
from sightline.transports.base import Transport

log = logging.getLogger("sightline")


@dataclass(slots=True)
class _Stall:
    """No slot has closed for long."""

    begin: float  # when the last one did, in monotonic seconds
    said: bool = False
    heard: set[int] = field(default_factory=set)  # who has said where it is, or is known not to


class StallNotes:
    """Writes the events ``stall``, ``stacks``, ``silent`` and ``resumed``, and warns; for the root's thread.

    Args:
        board: the root's slots.
        transport: how the others' posts arrive.
        write: puts an event into the journal.
    """

    def __init__(
        self,
        board: SlotBoard[Message],
        transport: Transport,
        write: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self._board = board
        self._transport = transport
        self._write = write
        self._closings = StallWatch()
        self._own_commits = StallWatch()
        self._stall: _Stall | None = None

    def committed(self) -> None:
        """This process has committed; any thread's call."""
        self._own_commits.beat(now=time.monotonic())

    def wait_s(self) -> float | None:
        """Seconds until there may be something to say; None if there cannot be."""
        waits = [each.wait_s() for each in (self._own_commits, self._closings)]
        return min((each for each in waits if each is not None), default=None)

    def look(self, own_slot: Slot | None, *, ending: bool) -> None:
        """Says who is waited for when slots stop coming; where this process is when its own commits do.

        Args:
            own_slot: the latest that this process has committed.
            ending: whether it commits no more.
        """
        now = time.monotonic()
        slot, behind = self._board.lowest_open(), self._board.waited_for_next()
        if behind and (slot is not None or not ending) and self._closings.overdue(now=now):
            self._stall = self._stall or _Stall(now - self._closings.since_s(now=now))
            (self._say_silent if self._stall.said else self._say_stall)(slot, behind, now)
        if not ending and self._own_commits.overdue(now=now):
            waited_s = self._own_commits.since_s(now=now)
            self.note_place(stalled(0, own_slot or (0, 0), waited_s))

    def closed(self, closed: Closed[Message]) -> None:
        """A slot has closed; if that took long, it is over."""
        now = time.monotonic()
        stall, self._stall = self._stall, None
        self._closings.beat(now=now)
        if stall is None or not stall.said:
            return
        (step, k), seconds = closed.slot, now - stall.begin
        without = f", without {wording.processes(closed.missing)}" if closed.missing else ""
        log.warning("sightline: going on after %.0f s: step %d is complete%s", seconds, step, without)
        fields = {"step": step, "k": k, "seconds": round(seconds, 3), "missing": list(closed.missing)}
        self._write({"event": "resumed", **fields})

    def note_place(self, message: Message) -> None:
        """Where a process is whose commits have stopped coming."""
        now = time.monotonic()
        self._stall = self._stall or _Stall(now - self._closings.since_s(now=now))
        if message.slot >= self._board.last_closed:  # else it has gone on since, and what it said is old
            self._stall.heard.add(message.process)
        lines = [line.strip() for line in message.note.splitlines() if line.strip()]
        place = {"at": lines[-1] if lines else "an unknown place", **message.place}
        fields = {"process": message.process, "step": message.slot[0], "waited_s": round(message.wall_s, 3)}
        self._write({**place, "event": "stacks", **fields, "stacks": message.note})
        if message.process:  # what this one has to say is in its log already
            log.warning("sightline: %s", told(message.process, place))

    def _say_stall(self, slot: Slot | None, behind: Sequence[int], now: float) -> None:
        assert self._stall is not None
        self._stall.said = True
        seconds = now - self._stall.begin
        at = ", ".join(f"process {p} (last step {self._board.step_of(p)})" for p in behind[:8])
        log.warning(
            "sightline: no step has been complete for %.0f s; %s waits for %d of %d processes: %s%s",
            seconds, "the next one" if slot is None else f"step {slot[0]}", len(behind),
            self._transport.processes, at, " and more" if len(behind) > 8 else "",
        )  # fmt: skip
        place = {"step": None, "k": None} if slot is None else {"step": slot[0], "k": slot[1]}
        fields = {**place, "seconds": round(seconds, 3), "waiting_for": list(behind)}
        self._write({"event": "stall", **fields})

    def _say_silent(self, slot: Slot | None, behind: Sequence[int], now: float) -> None:
        """Whoever still has not said where it is cannot: nothing of it runs."""
        assert self._stall is not None
        if self._transport.collective:  # in which nobody can post at will
            return
        silent = [p for p in behind if p and p not in self._stall.heard]
        self._stall.heard.update(silent)
        if silent:
            log.warning(
                "sightline: %s cannot say where: dead, stopped, cut off, or in C code that does not let "
                "Python run", wording.processes(silent),
            )  # fmt: skip
            fields = {"step": None if slot is None else slot[0], "processes": silent}
            self._write({"event": "silent", **fields})
