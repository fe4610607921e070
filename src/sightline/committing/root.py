"""The root's side: one thread that takes what all processes post, closes slots, and has them written down."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sightline.aliases.mirror import Mirror
from sightline.committing.commit_lines import CommitLines
from sightline.committing.final import Final
from sightline.committing.naming_check import NamingCheck
from sightline.committing.stall_notes import StallNotes
from sightline.errors import SnapshotError, TransportError
from sightline.posting.machines import Machines
from sightline.posting.message import Message, Pending
from sightline.posting.patience import Patience
from sightline.posting.slots import Slot, SlotBoard
from sightline.runs.journal import Journal
from sightline.sinks.lineage import Start
from sightline.sinks.reader import SinkReader
from sightline.transports.base import Transport

_POLL_S = (0.005, 0.2)  # pause after a post has come, and the longest
_DOWN_POLL_S = 5.0
_LONGEST_QUEUE = 4096  # commits of this process that wait to be merged; more are folded into each other
_RETRY_S = 1.0  # to write what the disk has refused
_LONGEST_LOOK_S = 1.0  # between two looks at the clock; what is longer is this process having been stopped


class Root:
    """Merges the commits of all processes and writes them down, in the background.

    Args:
        transport: how the others' posts arrive.
        channel: where they post.
        journal: where lines go; this object's thread is the only one to write it from now on.
        readers: of the journal, woken after each line.
        mirror: the run's aliases.
        naming: finds keys outside of the conventions, for the log; None: they are nobody's business.
        patience: how long commits of this process wait for their device values.
        deadline_s, first_deadline_s: see :class:`sightline.posting.slots.SlotBoard`.
        machines: what is known of hosts and devices, and ``on_machines`` is told whenever more is; on this
            object's thread.
        starts: of all attempts, as the ``run`` line has them, where this one may begin lower than it says.

    """

    def __init__(
        self,
        transport: Transport,
        channel: str,
        journal: Journal,
        readers: Sequence[SinkReader],
        mirror: Mirror,
        naming: NamingCheck | None,
        *,
        attempt: int,
        patience: Patience,
        deadline_s: float,
        first_deadline_s: float,
        samples_per_step: int = 8,
        machines: Machines | None = None,
        on_machines: Callable[[Mapping[str, Any]], None] = lambda plain: None,
        starts: Sequence[Start] = (),
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._journal = journal
        self._readers = readers
        self._lines = CommitLines(
            journal, readers, mirror, naming, attempt=attempt, processes=transport.processes,
            samples_per_step=samples_per_step, starts=starts,
        )  # fmt: skip
        self._machines, self._on_machines = machines or Machines(), on_machines
        self._has_new_machines = False
        self._board = SlotBoard[Message](
            transport.processes, deadline_s=deadline_s, first_deadline_s=first_deadline_s
        )
        self._patience = patience
        self._queue: deque[Pending | Final | Message | bytes | Mapping[str, Any]] = deque()
        self._head: Pending | Final | None = None  # taken off the queue, waiting for device values
        # Each after the slots that this process had reached.
        self._finals: deque[tuple[Slot, Final]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._own_slot: Slot | None = None  # the latest that this process has queued
        self._force_upto: Slot | None = None
        self._ending = False
        self._out_of_time = False
        self._unended: list[int] = []
        self._stopped = False
        self._looked = time.monotonic()
        self._time = 0.0
        self._next_poll = 0.0
        self._pause = _POLL_S[0]
        self._stalls = StallNotes(self._board, transport, self._lines.write_event)
        for reader in readers:
            reader.wake(journal.end, journal.seq)
        self._thread = threading.Thread(target=self._run, name="sightline-root", daemon=True)
        self._thread.start()

    @property
    def starts(self) -> Sequence[Start]:
        """Of all attempts, as they are now."""
        return self._lines.starts

    # --- called by the training thread ---------------------------------------------------------------------

    def put(self, item: Pending | Final | Message | bytes | Mapping[str, Any]) -> None:
        """Queues a commit of this process, a post taken by a collective, or an event; returns at once."""
        with self._changed:
            newest = self._queue[-1] if len(self._queue) >= _LONGEST_QUEUE else None
            if isinstance(item, Pending) and isinstance(newest, Pending):
                self._queue[-1] = newest.absorb(item, 0)  # commits come faster than they can be merged
            else:
                self._queue.append(item)
            if isinstance(item, Pending):
                self._own_slot = item.slot
            if isinstance(item, Pending | Final):
                self._stalls.committed()
            self._changed.notify_all()

    def note(self, name: str) -> None:
        """Counts something under ``obs/<name>`` in the next commit."""
        self._lines.note(name)

    def flush(self, timeout: float, *, force: bool = False) -> bool:
        """Waits until all that was queued is in the journal and with the sinks; returns whether it is.

        Args:
            force: what other processes have not posted in time is not waited for any longer.
        """
        end = time.monotonic() + timeout
        with self._changed:
            done = self._changed.wait_for(self._is_idle, timeout if not force else 0.8 * timeout)
            if not done and force:
                self._force_upto = self._own_slot
                self._changed.notify_all()
                done = self._changed.wait_for(self._is_idle, max(0.1, end - time.monotonic()))
                self._force_upto = None
        readers = [reader.flush(max(0.0, end - time.monotonic())) for reader in self._readers]
        return done and all(readers)

    def close(self, timeout: float) -> bool:
        """Ends this process's part, waits for the others' END until the timeout, and stops."""
        end = time.monotonic() + timeout
        ending = range(self._transport.processes) if self._transport.collective else (0,)
        for process in ending:
            self.put(Message("end", process))
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._stopped, timeout)
            if not done:
                self._out_of_time = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopped, 2.0)
        for reader in self._readers:  # all at once: one that is stuck takes no other's time
            reader.begin_close(max(0.5, end - time.monotonic()))
        closed = [reader.close(max(0.5, end - time.monotonic())) for reader in self._readers]
        return done and all(closed) and not self._journal.waiting

    def waiting_for(self) -> tuple[int, ...]:
        """The processes that have not ended."""
        return tuple(self._unended if self._stopped else sorted(self._board.present))

    # --- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped:
            with self._lines.going_on():
                self._turn()
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not self._stopped and (not self._queue or self._head is not None):
                    self._changed.wait(self._wait_s())

    def _turn(self) -> None:
        took = self._take_all()
        ending, hurried, upto = self._ending, self._out_of_time, self._force_upto  # before the poll: what is
        if self._transport.processes > 1 and not self._transport.collective:  # not waited for was looked for
            if took or hurried or upto:
                self._pause, self._next_poll = _POLL_S[0], 0.0
            self._poll()
        now = self._now()
        done = hurried or (ending and self._board.all_ended())
        self._unended = sorted(self._board.present)  # before closing by force, which gives them up
        mine = self._next_own_slot()
        for closed in (
            *self._board.close(now=now, force=done, before=mine),
            *(self._board.close(now=now, force=True, upto=upto, before=mine) if upto else ()),
        ):
            self._write_finals(closed.slot)
            with self._lines.going_on():
                self._lines.write(closed)
            self._stalls.closed(closed)
            if self._has_new_machines:  # once most have said theirs
                self._has_new_machines = False
                with self._lines.going_on("writing down hosts and devices"):
                    self._on_machines(self._machines.plain())
        self._write_finals(self._board.lowest_open())
        if self._journal.waiting:
            self._lines.write_waiting()
        self._stalls.look(self._own_slot, ending=self._ending)
        if done and not self._queue and self._head is None:
            self._lines.write_event({"event": "finish", "missing": self._unended})
            self._journal.close()
            self._stopped = True

    def _take_all(self) -> bool:
        """Takes what is queued, up to a commit that waits for device values; returns whether it took any."""
        took = False
        while True:
            with self._changed:
                self._busy = True
                item = self._head or (self._queue.popleft() if self._queue else None)
                self._head = None
            if item is None:
                return took
            if isinstance(item, Pending | Final):
                hurry = self._out_of_time or self._force_upto is not None
                if not self._patience.is_over(item, hurry=hurry):
                    self._head = item
                    return took
            with self._lines.going_on():
                self._take(item)
            took = True

    def _take(self, item: Pending | Final | Message | bytes | Mapping[str, Any]) -> None:
        if isinstance(item, Pending):
            item = item.message(0)
        if isinstance(item, Final):
            # No slot of the board, whose numbers must agree over the processes: who else makes this commit is
            # unknown. It waits for nobody, and stands after all that this process has committed before.
            self._finals.append((self._board.reach(0, (item.step, -1)), item))
        elif isinstance(item, Message):
            self._receive(item)
        elif isinstance(item, bytes):
            self._receive_bytes(item)
        else:
            self._lines.write_event(item)

    def _now(self) -> float:
        """The board's clock, which stands still while this process does (SIGSTOP, a frozen container).

        Nobody could post then, and nobody may be called missing for it.
        """
        now = time.monotonic()
        self._time += min(now - self._looked, _LONGEST_LOOK_S)
        self._looked = now
        return self._time

    def _next_own_slot(self) -> Slot | None:
        """The first of this process's commits that is still on its way, for its devices' sake or another's.

        No slot from there on closes without it.
        """
        with self._changed:
            return next((item.slot for item in (self._head, *self._queue) if isinstance(item, Pending)), None)

    def _poll(self) -> None:
        if time.monotonic() < self._next_poll:
            return
        try:
            posts = self._transport.poll(self._channel)
        except TransportError as error:
            self._lines.say(
                "down", f"sightline: the other processes cannot be heard, going on without them: {error}"
            )
            self._lines.is_down = True
            self._next_poll = time.monotonic() + _DOWN_POLL_S
            return
        self._lines.is_down = False
        for data in posts:
            with self._lines.going_on():
                self._receive_bytes(data)
        self._pause = _POLL_S[0] if posts else min(1.5 * self._pause, _POLL_S[1])
        self._next_poll = time.monotonic() + self._pause

    def _receive_bytes(self, data: bytes) -> None:
        try:
            message = Message.from_bytes(data)
            if not 0 <= message.process < self._transport.processes:
                raise SnapshotError(f"it says process {message.process} of {self._transport.processes}")
        except SnapshotError as error:
            self._lines.note("unreadable_snapshots")
            return self._lines.say(
                "unreadable", f"sightline: a post of another process cannot be read: {error}"
            )
        return self._receive(message)

    def _receive(self, message: Message) -> None:
        if message.about and self._machines.take(message.process, message.about):
            self._has_new_machines = True
        if message.kind == "end":
            self._board.end(message.process)
        elif message.kind == "stalled":
            self._stalls.note_place(message)
        else:
            if message.note:
                self._lines.note("unreadable_snapshots")
                self._lines.say(
                    "note",
                    f"sightline: a commit of process {message.process} is without values: {message.note}",
                )
            if not self._board.post(message.process, message.slot, message, now=self._now()):
                self._lines.write_late(message)

    def _is_idle(self) -> bool:
        slot = self._board.lowest_open()
        mine_open = slot is not None and self._own_slot is not None and slot <= self._own_slot
        behind = self._queue or self._busy or self._head is not None or self._finals or self._journal.waiting
        return not behind and not mine_open

    def _wait_s(self) -> float:
        """How long nothing needs doing, unless something arrives."""
        if self._head is not None:
            return self._patience.pause_s()
        if self._transport.processes == 1 or self._transport.collective:
            busy = self._board.lowest_open() is not None or self._ending or self._journal.waiting
            return _RETRY_S if busy else min(10.0, self._stalls.wait_s() or 10.0)
        pause = max(0.001, self._next_poll - time.monotonic())
        return pause if self._board.lowest_open() is None else min(pause, _LONGEST_LOOK_S)  # deadlines run

    def _write_finals(self, before: Slot | None) -> None:
        """Writes those that stand before a slot; None: all."""
        while self._finals and (before is None or self._finals[0][0] < before):
            _, final = self._finals.popleft()
            with self._lines.going_on():
                self._lines.write_final(final)
