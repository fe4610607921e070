"""The commit protocol's bookkeeping on the root: which slot is open, who is waited for, what is late.

A *slot* is ``(step, k)``: the k-th commit of a step in one process. Slots are ordered and close in order.
This is a state machine without threads, clocks or I/O: the caller says what arrived and what time it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

Slot = tuple[int, int]
Payload = TypeVar("Payload")

_BEFORE_ALL: Slot = (-(2**63), 0)


class Closed(NamedTuple, Generic[Payload]):
    """One closed slot: what each process gave, and which processes were waited for in vain."""

    slot: Slot
    payloads: dict[int, Payload]
    missing: tuple[int, ...]


@dataclass(slots=True)
class _Open(Generic[Payload]):
    since: float
    payloads: dict[int, Payload] = field(default_factory=dict)


class SlotBoard(Generic[Payload]):
    """Collects what the processes post and closes slots.

    A slot closes when every present process has posted it or a later one, or at a deadline after its first
    post, or after the root's own, which may have waited for its devices as the others do. Whoever is still
    waited for then is missing, and is not waited for again until it has caught up with the slots that are
    open: a process that is dead, or stays behind, costs one deadline, not one a slot. A process that went
    past a slot is neither missing nor reported.

    Args:
        processes: how many there are, all present at first.
        deadline_s: seconds from a slot's first post to its closing without the missing.
        first_deadline_s: the same for the first slot, which waits for slow starts (compilation).

    Example:
        >>> board = SlotBoard[str](2)
        >>> board.post(0, (1, 0), "a", now=0.0), board.close(now=0.0)
        (True, [])
        >>> board.post(1, (1, 0), "b", now=0.1), board.close(now=0.1)
        (True, [Closed(slot=(1, 0), payloads={0: 'a', 1: 'b'}, missing=())])
        >>> board.post(1, (1, 0), "again", now=0.2)  # closed already: late
        False
    """

    def __init__(self, processes: int, *, deadline_s: float = 60.0, first_deadline_s: float = 600.0) -> None:
        self.processes = processes
        self.deadline_s = deadline_s
        self.first_deadline_s = first_deadline_s
        self.present = set(range(processes))
        self.ended: set[int] = set()
        self._behind: set[int] = set()
        self.last_closed: Slot = _BEFORE_ALL
        self._watermarks = dict.fromkeys(range(processes), _BEFORE_ALL)
        self._open: dict[Slot, _Open[Payload]] = {}

    def post(self, process: int, slot: Slot, payload: Payload, *, now: float) -> bool:
        """A process posts a slot; returns False if the payload is late.

        That is: the slot has been closed, or an earlier life of the process has posted it.
        """
        self.reach(process, slot)
        if slot <= self.last_closed:
            return False
        entry = self._open.setdefault(slot, _Open(now))
        if process in entry.payloads:
            return False
        if process == 0:
            entry.since = now
        entry.payloads[process] = payload
        return True

    def reach(self, process: int, slot: Slot) -> Slot:
        """A process has come as far as ``slot`` and posts nothing before it; returns how far it is."""
        self.present.add(process)
        self.ended.discard(process)
        self._watermarks[process] = max(slot, self._watermarks[process])
        if self._watermarks[process] > self.last_closed:
            self._behind.discard(process)
        return self._watermarks[process]

    def end(self, process: int) -> None:
        """A process will post nothing more."""
        self.present.discard(process)
        self.ended.add(process)

    def close(
        self, *, now: float, force: bool = False, upto: Slot | None = None, before: Slot | None = None
    ) -> list[Closed[Payload]]:
        """Closes what can be closed, in order, no further than ``upto``, and only ``before`` a slot.

        Args:
            force: nobody is waited for any longer.
        """
        closed = []
        while self._open:
            slot = min(self._open)
            if (upto is not None and slot > upto) or (before is not None and slot >= before):
                break
            entry = self._open[slot]
            waiting = self.waiting_for(slot)
            if waiting and not force and now < entry.since + self._deadline():
                break
            self.present.difference_update(waiting)
            self._behind.update(waiting)
            del self._open[slot]
            self.last_closed = slot
            closed.append(Closed(slot, dict(sorted(entry.payloads.items())), waiting))
        return closed

    def waiting_for(self, slot: Slot) -> tuple[int, ...]:
        """The processes that have not reached ``slot``, and have not been missing since they last kept up."""
        return tuple(sorted(p for p in self.present - self._behind if self._watermarks[p] < slot))

    def waited_for_next(self) -> tuple[int, ...]:
        """Who is to come to the next slot, whether or not somebody has opened it."""
        slot = self.lowest_open()
        return self.waiting_for(slot) if slot is not None else tuple(sorted(self.present - self._behind))

    def lowest_open(self) -> Slot | None:
        """The slot that closes next, if any is open."""
        return min(self._open, default=None)

    def step_of(self, process: int) -> int | None:
        """The step that a process posted last, or None."""
        slot = self._watermarks[process]
        return None if slot == _BEFORE_ALL else slot[0]

    def all_ended(self) -> bool:
        """Nobody will post again, but for those whose last word was that they were missing."""
        return not self.present

    def _deadline(self) -> float:
        return self.first_deadline_s if self.last_closed == _BEFORE_ALL else self.deadline_s


class SlotCounter:
    """Numbers the commits of one process: steps never go back, and a step again opens a new slot.

    Example:
        >>> count = SlotCounter()
        >>> count.next(5), count.next(5), count.next(6), count.next(2)
        ((5, 0), (5, 1), (6, 0), (6, 1))
    """

    def __init__(self, last_step: int | None = None) -> None:
        self.last: Slot | None = None if last_step is None else (last_step, 0)

    def is_lower(self, step: int) -> bool:
        return self.last is not None and step < self.last[0]

    def enter(self, step: int) -> int:
        """Comes to ``step`` without taking a slot of it; returns the step, a lower one being the last one."""
        if self.last is None or step > self.last[0]:
            self.last = (step, -1)
        return self.last[0]

    def next(self, step: int) -> Slot:
        """The next slot of ``step``; a lower step counts as the last one."""
        step = self.enter(step)
        assert self.last is not None
        self.last = (step, self.last[1] + 1)
        return self.last
