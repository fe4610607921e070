"""What travels from a process to the root: a commit's snapshot, or the word that there will be no more."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from sightline.errors import SnapshotError
from sightline.posting.sample_files import SampleFiles
from sightline.posting.slots import Slot
from sightline.recording.drained import Drained
from sightline.values.samples import MOST_ROWS, Block
from sightline.values.snapshot import Snapshot

_LENGTH = struct.Struct("<I")
_KINDS = ("commit", "end", "stalled")
_PARTS = 16  # of folded commits that are kept apart


@dataclass(slots=True)
class Message:
    """One post of one process.

    Bytes: u32 length of a JSON header, the header, and for commits a snapshot in its own format.

    Attributes:
        kind: ``"commit"``; ``"end"``; or ``"stalled"``, from a process whose commits have not come for long.
        process: who posts.
        slot: the commit's slot, or the last one before it.
        wall_s: seconds since the process's previous commit.
        obs: what happened on the way, counted under ``obs/*`` on the root: ``merged_commits`` is how many
            earlier commits of the process are folded into this one, its queue having been full.
        snapshot: for commits; None if it could not be made, or not be read.
        samples: by table what :meth:`sightline.posting.sample_files.SampleFiles.keep` gives.
        note: free text: the main thread's stack, or why a commit has no snapshot.
        place: where a stalled process is (see :class:`sightline.tracing.whereabouts.Whereabouts`).
        about: what the process says of itself (see :class:`sightline.posting.machines.Introduction`).
    """

    kind: Literal["commit", "end", "stalled"]
    process: int
    slot: Slot = (0, 0)
    wall_s: float = 0.0
    obs: Mapping[str, int] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    note: str = ""
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        header: dict[str, Any] = {
            "kind": self.kind,
            "process": self.process,
            "slot": self.slot,
            "wall_s": self.wall_s,
            "obs": self.obs,
            "note": self.note,
            **({"samples": self.samples} if self.samples else {}),
            **({"place": self.place} if self.place else {}),
            **({"about": self.about} if self.about else {}),
        }
        encoded = orjson.dumps(header)
        body = self.snapshot.to_bytes() if self.snapshot is not None else b""
        return b"".join((_LENGTH.pack(len(encoded)), encoded, body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Message:
        """Decodes :meth:`to_bytes`.

        A snapshot that cannot be read is left out, and ``note`` says why: what the header says of the
        process's place still counts, or the others' commits would wait for it.

        Raises:
            SnapshotError: the bytes are no message.
        """
        try:
            (length,) = _LENGTH.unpack_from(data)
            header = orjson.loads(data[_LENGTH.size : _LENGTH.size + length])
            step, k = header["slot"]
            message = cls(
                header["kind"],
                header["process"],
                (step, k),
                header["wall_s"],
                header["obs"],
                note=header["note"],
                samples=dict(header.get("samples") or {}),
                place=dict(header.get("place") or {}),
                about=dict(header.get("about") or {}),
            )
            if message.kind not in _KINDS or not all(
                type(n) is int for n in (message.process, step, k, *message.obs.values())
            ):
                raise ValueError(header)
        except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotError(
                f"{len(data)} bytes starting {data[:16]!r} are no message of sightline"
            ) from error
        if len(data) > _LENGTH.size + length:
            try:
                message.snapshot = Snapshot.from_bytes(data[_LENGTH.size + length :])
            except SnapshotError as error:
                message.note = str(error)
        return message


@dataclass(slots=True)
class Pending:
    """A commit that is not reduced yet: cheap to make, since the training thread makes it.

    Attributes:
        slot, wall_s: as in :class:`Message`.
        parts: what the trackers held.
        obs: as in :class:`Message`.
        made: when, in monotonic seconds.
        files: where rows of sample tables are kept.
        samples: these rows.
        about: as in :class:`Message`.
    """

    slot: Slot
    parts: Sequence[Drained | Snapshot]
    wall_s: float
    obs: Counter[str] = field(default_factory=Counter)
    made: float = field(default_factory=time.monotonic)
    files: SampleFiles | None = None
    samples: list[Block] = field(default_factory=list)
    about: Mapping[str, Any] = field(default_factory=dict)

    def take_samples(self) -> None:
        """Takes rows of sample tables from the parts."""
        for part in self._drained():
            self.samples += part.take_samples()

    def settle(self) -> bool:
        """Takes in the device values that have arrived; returns whether that is all of them."""
        return sum(part.settle() for part in self._drained()) == 0

    def give_up(self) -> None:
        """Goes on without the device values that are not there."""
        for part in self._drained():
            part.give_up()

    def wait(self, timeout: float) -> None:
        """Waits for the device values, and gives up at the timeout."""
        end = time.monotonic() + timeout
        for part in self._drained():
            part.wait(max(0.0, end - time.monotonic()))

    def message(self, process: int) -> Message:
        """Reduces the parts to one snapshot; the background's work, once all is settled or given up."""
        snapshot = self.snapshot(process)
        posted: Mapping[str, Mapping[str, Any]] = {}
        obs = self._obs()
        if self.samples and self.files is not None:
            posted, failed = self.files.keep(self.slot, self.samples)
            obs += Counter(unwritten_samples=failed)
        return Message(
            "commit", process, self.slot, self.wall_s, obs, snapshot, samples=posted, about=self.about
        )

    def snapshot(self, process: int) -> Snapshot:
        snapshots = [part if isinstance(part, Snapshot) else part.snapshot(process) for part in self.parts]
        full = [snapshot for snapshot in snapshots if len(snapshot)]
        return Snapshot.merge(full) if full else Snapshot.empty(process)

    def absorb(self, later: Pending, process: int) -> Pending:
        """This commit folded into the process's next one."""
        parts = [*self.parts, *later.parts]
        obs = self.obs + later.obs + Counter(merged_commits=1)
        folded = Pending(
            later.slot, parts, self.wall_s + later.wall_s, obs,
            files=later.files, samples=self.samples + later.samples,
            about={**self.about, **later.about},
        )  # fmt: skip
        if len(parts) > _PARTS:
            folded._compact(process)
        return folded

    def _compact(self, process: int) -> None:
        """Keeps the memory of a long outage bounded."""
        rests = [rest for part in self._drained() if (rest := part.split()) is not None]
        given_up, kept = rests[:-_PARTS], rests[-_PARTS:]
        for rest in given_up:
            rest.give_up()
        self.parts = [*self.parts, *given_up]
        while len(self.samples) > 1 and sum(block.rows for block in self.samples) > MOST_ROWS:
            self.obs["dropped_samples"] += self.samples.pop(0).rows
        self.obs, self.parts = self._obs(), [self.snapshot(process), *kept]

    def _drained(self) -> list[Drained]:
        return [part for part in self.parts if isinstance(part, Drained)]

    def _obs(self) -> Counter[str]:
        return sum((part.trouble for part in self._drained()), self.obs)
