"""The root's side: one thread that takes what all processes post, closes slots, and writes the journal."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from sightline import wording
from sightline.aliases.mirror import Mirror, Mirrored
from sightline.errors import SnapshotError, TransportError
from sightline.final import Final
from sightline.journal import REWOUND, Journal, numbers, values_before
from sightline.machines import Machines
from sightline.message import Message, Pending
from sightline.naming import RESERVED
from sightline.naming_check import NamingCheck
from sightline.patience import Patience
from sightline.samples import choose
from sightline.sinks.lineage import Start, as_committed
from sightline.sinks.reader import SinkReader
from sightline.slots import Closed, Slot, SlotBoard
from sightline.snapshot import Rendered, Snapshot, Value
from sightline.stall_notes import StallNotes
from sightline.transports.base import Transport

log = logging.getLogger("sightline")

_POLL_S = (0.005, 0.2)  # pause after a post has come, and the longest
_DOWN_POLL_S = 5.0
_LONGEST_QUEUE = 4096  # commits of this process that wait to be merged; more are folded into each other
_RETRY_S = 1.0  # to write what the disk has refused
_LONGEST_LOOK_S = 1.0  # between two looks at the clock; what is longer is this process having been stopped
_REMEMBERED = 1024  # closed slots and steps whose line numbers are kept
_MOST_ODD = 20  # unconventional keys told in one message
_MOST_NAMED = 64  # processes listed for one non-finite key; when all of them are, the journal stays small


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
        deadline_s, first_deadline_s: see :class:`sightline.slots.SlotBoard`.
        machines: what is known of hosts and devices, and ``on_machines`` is told whenever more is; on this
            object's thread.
        starts: of all attempts, as the ``run`` line has them, where this one may begin lower than it says.

    Attributes:
        starts: as they are now.
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
        self.starts = starts
        self._has_begun = not starts
        self._transport = transport
        self._channel = channel
        self._journal = journal
        self._readers = readers
        self._mirror = mirror
        self._naming = naming
        self._attempt = attempt
        self._samples_per_step = samples_per_step
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
        self._lines: dict[int, int] = {}  # step -> k of its latest line
        self._line_of: dict[Slot, int] = {}  # closed slot -> k of its line
        self._changed = threading.Condition()
        self._busy = False
        self._own_slot: Slot | None = None  # the latest that this process has queued
        self._force_upto: Slot | None = None
        self._ending = False
        self._out_of_time = False
        self._unended: list[int] = []
        self._stopped = False
        self._notes: Counter[str] = Counter()  # obs/* since the last commit
        self._said: set[str] = set()
        self._lost_said = 0  # lines that the disk refused, and memory did not hold, in a commit that is kept
        self._down = False
        self._looked = time.monotonic()
        self._time = 0.0
        self._next_poll = 0.0
        self._pause = _POLL_S[0]
        self._stalls = StallNotes(self._board, transport, lambda event: self._append(self._event(event)))
        for reader in readers:
            reader.wake(journal.end, journal.seq)
        self._thread = threading.Thread(target=self._run, name="sightline-root", daemon=True)
        self._thread.start()

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
        self._notes[name] += 1

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
        for reader in self._readers:
            reader.begin_close(
                max(0.5, end - time.monotonic())
            )  # all at once: one that is stuck takes no other's time
        closed = [reader.close(max(0.5, end - time.monotonic())) for reader in self._readers]
        return done and all(closed) and not self._journal.waiting

    def waiting_for(self) -> tuple[int, ...]:
        """The processes that have not ended."""
        return tuple(self._unended if self._stopped else sorted(self._board.present))

    # --- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped:
            with self._going_on():
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
            with self._going_on():
                self._write(closed)
            self._stalls.closed(closed)
            if self._has_new_machines:  # once most have said theirs
                self._has_new_machines = False
                with self._going_on("writing down hosts and devices"):
                    self._on_machines(self._machines.plain())
        self._write_finals(self._board.lowest_open())
        if self._journal.waiting:
            self._append()
        self._stalls.look(self._own_slot, ending=self._ending)
        if done and not self._queue and self._head is None:
            self._append(self._event({"event": "finish", "missing": self._unended}))
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
            with self._going_on():
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
            self._append(self._event(item))

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
            self._say(
                "down", f"sightline: the other processes cannot be heard, going on without them: {error}"
            )
            self._down = True
            self._next_poll = time.monotonic() + _DOWN_POLL_S
            return
        self._down = False
        for data in posts:
            with self._going_on():
                self._receive_bytes(data)
        self._pause = _POLL_S[0] if posts else min(1.5 * self._pause, _POLL_S[1])
        self._next_poll = time.monotonic() + self._pause

    def _receive_bytes(self, data: bytes) -> None:
        try:
            message = Message.from_bytes(data)
            if not 0 <= message.process < self._transport.processes:
                raise SnapshotError(f"it says process {message.process} of {self._transport.processes}")
        except SnapshotError as error:
            self._notes["unreadable_snapshots"] += 1
            return self._say("unreadable", f"sightline: a post of another process cannot be read: {error}")
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
                self._notes["unreadable_snapshots"] += 1
                self._say(
                    "note",
                    f"sightline: a commit of process {message.process} is without values: {message.note}",
                )
            if not self._board.post(message.process, message.slot, message, now=self._now()):
                self._write_late(message)

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

    # --- lines ---------------------------------------------------------------------------------------------

    def _write(self, closed: Closed[Message]) -> None:
        (step, _), payloads, missing = closed
        messages = list(payloads.values())
        for message in messages:
            self._note_obs(message)
        snapshot = Snapshot.merge([m.snapshot or Snapshot.empty(m.process) for m in messages])
        rendered = snapshot.render(wall_s=payloads[0].wall_s if 0 in payloads else None)
        self._note_trouble(rendered, snapshot)
        if self._naming is not None:
            specs = (spec for specs in snapshot.schema.values() for spec in specs)
            self._say_odd(self._naming.of_specs(specs))
        nonfinite = self._trace_nonfinite(step, snapshot, messages)
        samples: Mapping[str, Mapping[str, Any]] = {}
        with self._going_on("choosing samples"):
            samples = self._samples(messages)
        self._line_of[closed.slot] = self._write_commit(
            step,
            rendered,
            self._transport.processes,
            len(payloads),
            missing,
            nonfinite,
            samples,
        )
        if len(self._line_of) > _REMEMBERED:
            del self._line_of[next(iter(self._line_of))]

    def _write_finals(self, before: Slot | None) -> None:
        """Writes those that stand before a slot; None: all."""
        while self._finals and (before is None or self._finals[0][0] < before):
            _, final = self._finals.popleft()
            with self._going_on():
                self._notes.update(final.obs)
                rendered = Snapshot.empty().render()
                rendered.values.update(final.values)
                counted = self._take_counts(rendered.values)
                rendered.counts.update(final.counts)
                rendered.texts.update(final.texts)
                if self._naming is not None:
                    self._say_odd(self._naming.of_keys((*final.values, *final.texts)))
                kinds = numbers(final.values)[1]
                if "nonfinite" not in counted:
                    self._notes["nonfinite"] += len(kinds)
                # Whose they are is unknown: they may be an export's, merged over processes.
                nonfinite = {key: {"count": 1, "processes": [], kind: 1} for key, kind in kinds.items()}
                self._say_nonfinite(final.step, nonfinite, {})
                self._write_commit(final.step, rendered, 1, 1, (), nonfinite)

    def _take_counts(self, values: dict[str, Value]) -> set[str]:
        """Moves what an export has counted under ``obs/`` to what this commit counts; returns the names."""
        counts = {
            key: count for key, count in values.items() if key.startswith(RESERVED) and math.isfinite(count)
        }
        for key, count in counts.items():
            del values[key]
            self._notes[key.removeprefix(RESERVED)] += int(count)
        return {key.removeprefix(RESERVED) for key in counts}

    def _write_commit(
        self,
        step: int,
        rendered: Rendered,
        expected: int,
        reported: int,
        missing: Sequence[int],
        nonfinite: Mapping[str, Mapping[str, Any]],
        samples: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> int:
        """Writes the lines of one commit; returns its number among those of the step."""
        self._begin(step)
        k = self._lines[step] = self._lines.get(step, -1) + 1
        if len(self._lines) > _REMEMBERED:
            del self._lines[min(self._lines)]
        values = self._with_aliases(self._mirror.values(rendered.values))
        values.update(self._take_notes())
        lost = self._journal.lost
        if lost > self._lost_said:
            values[f"{RESERVED}journal_lost_lines"] = lost - self._lost_said
        self._journal.seq += 1
        place = {"seq": self._journal.seq, "attempt": self._attempt, "step": step, "k": k}
        lines: list[dict[str, Any]] = [
            {
                "type": "commit", **place, "time": time.time(),
                "expected": expected, "reported": reported,
                **({"missing": list(missing)} if missing else {}),
                **self._numbers(values, rendered),
                **({"nonfinite_records": nonfinite} if nonfinite else {}),
            }
        ]  # fmt: skip
        if rendered.per_process:
            by_process = {
                key: [value if math.isfinite(value) else None for value in row]
                for key, row in rendered.per_process.items()
            }
            lines.append(
                {
                    "type": "process_values",
                    **place,
                    "processes": list(rendered.processes),
                    "values": by_process,
                }
            )
        lines += [
            {"type": "histogram", **place, "key": key, "edges": edges, "counts": counts}
            for key, (edges, counts) in self._with_aliases(self._mirror.others(rendered.histograms)).items()
        ]
        lines += [{"type": "sample", **place, "table": table, **of} for table, of in samples.items()]
        self._append(*lines)
        if self._journal.lost == lost:  # else this line, which says so, is lost too
            self._lost_said = lost
        return k

    def _begin(self, step: int) -> None:
        """Before the first commit: one of a lower step than was announced goes back, as with a checkpoint's
        state."""
        if self._has_begun:
            return
        self._has_begun = True
        announced = self.starts[-1]
        if announced.after is None or step >= announced.first_step:
            return
        self.starts = as_committed(self.starts, {self._attempt: step})
        if self._mirror.derived:
            self._mirror.forget()
            self._mirror.replay(values_before(self._journal.path, step, self._mirror.derives_from))
        for reader in self._readers:
            reader.rewind(self.starts)
        self._append(
            self._event({"event": REWOUND, "step": step, "starts": [list(each) for each in self.starts]})
        )
        shown = ", ".join(f"{each.sink.name}: {each.rewind_mode}" for each in self._readers if each.stores)
        self._say(
            "rewound",
            f"sightline: the run had come to step {announced.after}, and goes on at step {step}: what is "
            f"committed again is shown as each sink's rewind says{shown and f' ({shown})'}. With state_dict= "
            f"of the checkpoint that is known from the start",
        )

    def _samples(self, messages: Sequence[Message]) -> dict[str, dict[str, Any]]:
        """By table the rows that are shown of a commit, and how many there are."""
        by_table: dict[str, list[Message]] = {}
        for message in messages:
            for table in message.samples:
                by_table.setdefault(table, []).append(message)
        return {
            table: {
                "recorded": sum(m.samples[table]["recorded"] for m in of),
                "rows": choose(
                    {m.process: m.samples[table]["rows"] for m in of},
                    self._samples_per_step,
                    seed=f"{table}/{of[0].slot}",
                ),
            }
            for table, of in sorted(by_table.items())
        }

    def _write_late(self, message: Message) -> None:
        self._notes["late_snapshots"] += 1
        self._note_obs(message)
        step, k = message.slot
        k = self._line_of.get(message.slot, k)
        rendered = (message.snapshot or Snapshot.empty()).render(wall_s=message.wall_s)
        self._append(
            {
                "type": "late", "attempt": self._attempt, "step": step, "k": k, "process": message.process,
                "time": time.time(), **self._numbers(dict(rendered.values), rendered),
            }
        )  # fmt: skip

    def _numbers(self, values: Mapping[str, Value], rendered: Rendered) -> dict[str, Any]:
        finite, nonfinite = numbers(values)
        line: dict[str, Any] = {"values": finite}
        if nonfinite:
            line["nonfinite"] = nonfinite
        line["counts"] = rendered.counts
        if rendered.texts:
            line["texts"] = self._with_aliases(self._mirror.others(rendered.texts))
        return line

    def _event(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**fields, "type": "event", "attempt": self._attempt, "time": time.time()}

    def _append(self, *lines: Mapping[str, Any]) -> None:
        if not self._journal.append(*lines) and lines:
            self._notes["journal_errors"] += 1
        for reader in self._readers:
            reader.wake(self._journal.end, self._journal.seq)

    def _with_aliases(self, mirrored: Mirrored) -> dict[str, Any]:
        """Values under all their names."""
        for key, name, why in mirrored.hidden:
            self._say(f"alias {name}", f"sightline: alias {key} -> {name} shows nothing: {why} (said once)")
        return mirrored.values

    # --- trouble -------------------------------------------------------------------------------------------

    def _take_notes(self) -> dict[str, Value]:
        notes: dict[str, Value] = {}
        for name in list(self._notes):
            count = self._notes.pop(name)
            if count:
                notes[RESERVED + name] = count
        for reader in self._readers:
            feeding, about = reader.look(), f"{RESERVED}sink/{reader.sink.name}"
            if feeding.errors:
                notes[f"{about}/errors"] = feeding.errors
            if reader.stores:
                notes[f"{about}/lag_steps"] = feeding.lag_steps
                if feeding.commit_ms is not None:
                    notes[f"{about}/commit_ms"] = feeding.commit_ms
        if self._down:
            notes[RESERVED + "transport_down"] = 1
        return notes

    def _note_obs(self, message: Message) -> None:
        """What went wrong on the way of a commit belongs to its line."""
        self._notes.update(message.obs)
        if pending := message.obs.get("pending_device_values"):
            self._say(
                "pending",
                f"sightline: {pending} device values of process {message.process} were not computed in "
                f"time for step {message.slot[0]}, and are left out (said once)",
            )

    def _note_trouble(self, rendered: Rendered, snapshot: Snapshot) -> None:
        self._notes["nonfinite"] += rendered.nonfinite
        for conflict in snapshot.conflicts:
            self._notes["conflicts"] += 1
            self._say(f"conflict {conflict.kept.key}", f"sightline: {conflict} (said once)")
        for key, (covered, expected) in snapshot.partial().items():
            self._notes["partial_keys"] += 1
            self._say(
                f"partial {key}",
                f"sightline: {key!r} holds {covered} of {expected} elements of global arrays: some processes "
                f"that own shards of them have not recorded it (said once for this key)",
            )
        for key, other in rendered.hidden.items():
            self._notes["conflicts"] += 1
            self._say(
                f"folder {key}",
                f"sightline: {key!r} is left out, since {other!r} of another process makes it a folder "
                f"(said once)",
            )

    def _say_odd(self, reasons: Sequence[str]) -> None:
        """Odd keys, once each; in one message, since most come with the first commit."""
        new = [reason for reason in reasons if reason not in self._said]
        self._said.update(new)
        if new:
            shown = new[:_MOST_ODD]
            if len(new) > len(shown):
                shown.append(f"… and {len(new) - len(shown)} more")
            log.warning(
                "sightline: outside of the naming conventions (docs/naming.md; naming='off' silences this):"
                "\n  %s",
                "\n  ".join(shown),
            )

    def _trace_nonfinite(
        self, step: int, snapshot: Snapshot, messages: Sequence[Message]
    ) -> dict[str, dict[str, Any]]:
        """For each key with NaN or infinite records how many, of which kinds, and from which processes."""
        kinds_of = {spec.key: kinds for spec, kinds in snapshot.nonfinite()}
        if not kinds_of:
            return {}
        processes: dict[str, list[int]] = {key: [] for key in kinds_of}
        sites: dict[str, str] = {}
        for message in sorted(messages, key=lambda message: message.process):
            for spec, _ in message.snapshot.nonfinite() if message.snapshot is not None else ():
                if spec.key in processes:  # else it lost a conflict, or a lower process's value counts
                    processes[spec.key].append(message.process)
                    sites.setdefault(spec.key, spec.site)
        records = {
            key: {"count": sum(kinds.values()), "processes": processes[key][:_MOST_NAMED], **kinds}
            for key, kinds in kinds_of.items()
        }
        self._say_nonfinite(step, records, sites)
        return records

    def _say_nonfinite(
        self, step: int, records: Mapping[str, Mapping[str, Any]], sites: Mapping[str, str]
    ) -> None:
        """The first time of a key is an event of its own, and a warning."""
        events = []
        for key, record in records.items():
            if f"nonfinite {key}" in self._said:
                continue
            site = {"site": sites[key]} if key in sites else {}
            events.append(self._event({"event": "nonfinite", "key": key, "step": step, **record, **site}))
            where = f" on {wording.processes(record['processes'])}, recorded at {sites[key]}" if site else ""
            self._say(
                f"nonfinite {key}",
                f"sightline: {key!r} has non-finite values ({record['count']}) at step {step}{where} (said "
                f"once for this key)",
            )
        if events:
            self._append(*events)

    @contextmanager
    def _going_on(self, doing: str = "a commit") -> Iterator[None]:
        """The journal goes on, whatever one commit holds."""
        try:
            yield
        except Exception:  # noqa: BLE001 - a defect of sightline, or of what a caller's values do
            self._notes["internal_errors"] += 1
            self._say(doing, f"sightline: {doing} failed inside sightline; the run goes on", exc_info=True)

    def _say(self, about: str, message: str, *, exc_info: bool = False) -> None:
        if about not in self._said:
            self._said.add(about)
            log.warning("%s", message, exc_info=exc_info)
