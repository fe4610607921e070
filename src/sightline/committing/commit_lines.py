"""What commits become: lines of the journal, in one place with what is counted and warned of on the way."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from sightline.aliases.mirror import Mirror, Mirrored
from sightline.committing.final import Final
from sightline.committing.naming_check import NamingCheck
from sightline.posting.message import Message
from sightline.posting.slots import Closed, Slot
from sightline.runs.journal import REWOUND, Journal, numbers, values_before
from sightline.sinks.lineage import Start, as_committed
from sightline.sinks.reader import SinkReader
from sightline.support import wording
from sightline.values.naming import RESERVED
from sightline.values.samples import choose
from sightline.values.snapshot import Rendered, Snapshot, Value

log = logging.getLogger("sightline")

_REMEMBERED = 1024  # closed slots and steps whose line numbers are kept
_MOST_ODD = 20  # unconventional keys told in one message
_MOST_NAMED = 64  # processes listed for one non-finite key; when all of them are, the journal stays small


class CommitLines:
    """Writes the lines of commits; called by the root's thread.

    Args:
        journal: where lines go.
        readers: of the journal, woken after each line.
        mirror: the run's aliases.
        naming: finds keys outside of the conventions, for the log; None: they are nobody's business.
        attempt: of the run, from 1.
        processes: how many there are.
        samples_per_step: rows shown of a sample table, at most.
        starts: of all attempts, as the ``run`` line has them, where this one may begin lower than it says.

    Attributes:
        starts: as they are now.
        is_down: whether the other processes cannot be heard.
    """

    def __init__(
        self,
        journal: Journal,
        readers: Sequence[SinkReader],
        mirror: Mirror,
        naming: NamingCheck | None,
        *,
        attempt: int,
        processes: int,
        samples_per_step: int,
        starts: Sequence[Start],
    ) -> None:
        self.starts = starts
        self.is_down = False
        self._has_begun = not starts
        self._journal = journal
        self._readers = readers
        self._mirror = mirror
        self._naming = naming
        self._attempt = attempt
        self._processes = processes
        self._samples_per_step = samples_per_step
        self._lines: dict[int, int] = {}  # step -> k of its latest line
        self._line_of: dict[Slot, int] = {}  # closed slot -> k of its line
        self._notes: Counter[str] = Counter()  # obs/* since the last commit
        self._said: set[str] = set()
        self._lost_said = 0  # lines that the disk refused, and memory did not hold, in a commit that is kept

    def note(self, name: str) -> None:
        """Counts something under ``obs/<name>`` in the next commit; from any thread."""
        self._notes[name] += 1

    def write(self, closed: Closed[Message]) -> None:
        """The lines of a closed slot."""
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
        with self.going_on("choosing samples"):
            samples = self._samples(messages)
        self._line_of[closed.slot] = self._write_commit(
            step,
            rendered,
            self._processes,
            len(payloads),
            missing,
            nonfinite,
            samples,
        )
        if len(self._line_of) > _REMEMBERED:
            del self._line_of[next(iter(self._line_of))]

    def write_final(self, final: Final) -> None:
        """The lines of a commit of values that are final."""
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

    def write_late(self, message: Message) -> None:
        """The line of a commit whose slot is closed."""
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

    def write_event(self, fields: Mapping[str, Any]) -> None:
        """An ``event`` line."""
        self._append(self._event(fields))

    def write_waiting(self) -> None:
        """What the disk has refused, if it takes it now."""
        self._append()

    def say(self, about: str, message: str, *, exc_info: bool = False) -> None:
        """A warning of the log, once for what it is about."""
        if about not in self._said:
            self._said.add(about)
            log.warning("%s", message, exc_info=exc_info)

    @contextmanager
    def going_on(self, doing: str = "a commit") -> Iterator[None]:
        """The journal goes on, whatever one commit holds."""
        try:
            yield
        except Exception:  # noqa: BLE001 - a defect of sightline, or of what a caller's values do
            self._notes["internal_errors"] += 1
            self.say(doing, f"sightline: {doing} failed inside sightline; the run goes on", exc_info=True)

    # --- lines ---------------------------------------------------------------------------------------------

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
        self.say(
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
        shown = {}
        for table, of in sorted(by_table.items()):
            ranked_by = of[0].samples[table]["ranked_by"]
            rows = choose(
                {m.process: m.samples[table]["rows"] for m in of},
                self._samples_per_step,
                seed=f"{table}/{of[0].slot}",
                ranked_by=ranked_by,
            )
            recorded = sum(m.samples[table]["recorded"] for m in of)
            shown[table] = {"recorded": recorded, "ranked_by": ranked_by, "rows": rows}
        return shown

    def _numbers(self, values: Mapping[str, Value], rendered: Rendered) -> dict[str, Any]:
        finite, nonfinite = numbers(values)
        line: dict[str, Any] = {"values": finite}
        if nonfinite:
            line["nonfinite"] = nonfinite
        line["counts"] = rendered.counts
        if rendered.texts:
            line["texts"] = self._with_aliases(self._mirror.others(rendered.texts))
        return line

    def _with_aliases(self, mirrored: Mirrored) -> dict[str, Any]:
        """Values under all their names."""
        for key, name, why in mirrored.hidden:
            self.say(f"alias {name}", f"sightline: alias {key} -> {name} shows nothing: {why} (said once)")
        return mirrored.values

    def _event(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**fields, "type": "event", "attempt": self._attempt, "time": time.time()}

    def _append(self, *lines: Mapping[str, Any]) -> None:
        if not self._journal.append(*lines) and lines:
            self._notes["journal_errors"] += 1
        for reader in self._readers:
            reader.wake(self._journal.end, self._journal.seq)

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
        if self.is_down:
            notes[RESERVED + "transport_down"] = 1
        return notes

    def _note_obs(self, message: Message) -> None:
        """What went wrong on the way of a commit belongs to its line."""
        self._notes.update(message.obs)
        if pending := message.obs.get("pending_device_values"):
            self.say(
                "pending",
                f"sightline: {pending} device values of process {message.process} were not computed in "
                f"time for step {message.slot[0]}, and are left out (said once)",
            )

    def _note_trouble(self, rendered: Rendered, snapshot: Snapshot) -> None:
        self._notes["nonfinite"] += rendered.nonfinite
        for conflict in snapshot.conflicts:
            self._notes["conflicts"] += 1
            self.say(f"conflict {conflict.kept.key}", f"sightline: {conflict} (said once)")
        for key, (covered, expected) in snapshot.partial().items():
            self._notes["partial_keys"] += 1
            self.say(
                f"partial {key}",
                f"sightline: {key!r} holds {covered} of {expected} elements of global arrays: some processes "
                f"that own shards of them have not recorded it (said once for this key)",
            )
        for key, other in rendered.hidden.items():
            self._notes["conflicts"] += 1
            self.say(
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
            where = f" on {wording.processes(record['processes'])}, recorded at {sites[key]}" if site else ""
            self.say(
                f"nonfinite {key}",
                f"sightline: {key!r} has non-finite values ({record['count']}) at step {step}{where} (said "
                f"once for this key)",
            )
            events.append(self._event({"event": "nonfinite", "key": key, "step": step, **record, **site}))
        if events:
            self._append(*events)
