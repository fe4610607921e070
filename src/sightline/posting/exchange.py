"""The explicit export over processes: every process posts, the root waits, merges and has the result."""

from __future__ import annotations

import atexit
import logging
import math
import os
import time

import orjson

from sightline.errors import SnapshotError, TransportError
from sightline.posting.message import Message, Pending
from sightline.posting.patience import Patience
from sightline.posting.poster import Poster
from sightline.posting.slots import SlotBoard, SlotCounter
from sightline.recording.step import active_step
from sightline.transports import connect
from sightline.transports.base import Transport
from sightline.values.naming import RESERVED
from sightline.values.snapshot import Snapshot, Value

log = logging.getLogger("sightline")

_AT_EXIT_S = 10.0
_POLL_S = (0.001, 0.05)  # first and longest pause between two looks


class Exchange:
    """Pairs the exports of one tracker over the processes of a job.

    Args:
        name: of the tracker, the same on every process and no other's there.
        transport: how to reach the others; None: the process's own.
    """

    def __init__(self, name: str, transport: Transport | None = None) -> None:
        self.transport = transport if transport is not None else connect()
        self._channel = f"export.{name}"
        self._slots = SlotCounter()
        self._number = 0
        self._published: str | None = None
        self._late = 0
        if self.transport.is_root or self.transport.collective:
            self._board = SlotBoard[Snapshot](
                self.transport.processes, deadline_s=math.inf, first_deadline_s=math.inf
            )
        else:
            self._poster = Poster(
                self.transport, lambda: self._channel, Patience(0, 0)
            )  # exports are settled
            atexit.register(self._flush_at_exit, os.getpid())

    def _flush_at_exit(self, process: int) -> None:
        """The root may wait for what this process has exported last, and soon nothing is posted any more."""
        if os.getpid() == process:
            self._poster.flush(_AT_EXIT_S)

    def export(
        self, snapshot: Snapshot, *, wall_s: float, everywhere: bool, timeout: float
    ) -> dict[str, Value | str]:
        """See :meth:`StatsTracker.export`."""
        step = active_step()
        slot = self._slots.next(self._number if step is None else step)
        self._number += 1
        name = f"{self._channel}/{slot[0]}.{slot[1]}"
        if self.transport.collective:
            snapshots = [Snapshot.from_bytes(data) for data in self.transport.exchange(snapshot.to_bytes())]
            result = self._render(snapshots, wall_s, missing=())
            return result if everywhere or self.transport.is_root else {}
        if not self.transport.is_root:
            self._poster.put(Pending(slot, [snapshot], wall_s))
            return self._wait_for_result(name, timeout) if everywhere else {}
        snapshots, missing = self._gather(slot, snapshot, timeout)
        result = self._render(snapshots, wall_s, missing)
        if everywhere:
            if self._published is not None:
                self.transport.retract(self._published)  # whoever is not missing has read it
            self.transport.publish(name, orjson.dumps(result))
            self._published = name
        return result

    def _gather(
        self, slot: tuple[int, int], own: Snapshot, timeout: float
    ) -> tuple[list[Snapshot], tuple[int, ...]]:
        board = self._board
        start = time.monotonic()
        board.post(0, slot, own, now=start)
        pause = _POLL_S[0]
        while True:
            self._take_posts()
            closed = board.close(now=start, force=time.monotonic() - start >= timeout, upto=slot)
            self._late += sum(len(c.payloads) for c in closed if c.slot != slot)  # exported there, not here
            if closed and closed[-1].slot == slot:
                break
            time.sleep(pause)
            pause = min(2 * pause, _POLL_S[1])
        missing = closed[-1].missing
        if missing:
            log.warning(
                "sightline: export at step %d: no snapshot from process %s within %g s; going on without",
                slot[0], ", ".join(map(str, missing)), timeout,
            )  # fmt: skip
        return list(closed[-1].payloads.values()), missing

    def _take_posts(self) -> None:
        try:
            posts = self.transport.poll(self._channel)
        except TransportError as error:
            log.warning("sightline: %s", error)
            return
        for data in posts:
            try:
                message = Message.from_bytes(data)
            except SnapshotError as error:
                log.warning("sightline: a post of another process cannot be read: %s", error)
                continue
            if message.note or not 0 < message.process < self.transport.processes:
                log.warning(
                    "sightline: the export of process %d cannot be read: %s", message.process, message.note
                )
            if not 0 < message.process < self.transport.processes:
                continue
            snapshot = message.snapshot or Snapshot.empty(message.process)
            if not self._board.post(message.process, message.slot, snapshot, now=time.monotonic()):
                self._late += 1

    def _render(
        self, snapshots: list[Snapshot], wall_s: float, missing: tuple[int, ...]
    ) -> dict[str, Value | str]:
        merged = Snapshot.merge(snapshots)
        for conflict in merged.conflicts:
            log.warning("sightline: %s", conflict)
        rendered = merged.render(wall_s=wall_s)
        result: dict[str, Value | str] = {**rendered.values, **rendered.counts, **rendered.texts}
        notes = {
            "missing_processes": len(missing),
            "late_snapshots": self._late,
            "nonfinite": rendered.nonfinite,
            "conflicts": len(merged.conflicts) + len(rendered.hidden),
        }
        result.update({RESERVED + name: number for name, number in notes.items() if number})
        self._late = 0
        return result

    def _wait_for_result(self, name: str, timeout: float) -> dict[str, Value | str]:
        data = self.transport.lookup(name, timeout)
        if data is None:
            log.warning("sightline: no result of the root's export within %g s", timeout)
            return {}
        result: dict[str, Value | str] = orjson.loads(data)
        return result
