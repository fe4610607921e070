"""The thread that feeds one sink from the journal, however the sink fares.

A sink that raises gets the same records again, after a pause that doubles from half a second to a minute.
After five failures in a row its circuit is open: it is tried once a pause, and ``flush`` and ``close`` no
longer wait for it. A sink that hangs holds up its own thread and nobody else. Memory stays bounded however
long it takes, since what waits is in the journal.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from sightline.files import full_disks
from sightline.runs.journal import Block, commits_between
from sightline.sinks.base import ApartError, Sink, SinkRun, StoringSink
from sightline.sinks.cursor import SAVED_WITHIN_S, Cursor
from sightline.sinks.damage import Damage
from sightline.sinks.lineage import Lineage, Start, suffix_of
from sightline.sinks.once import Once
from sightline.sinks.sound_records import SoundRecords
from sightline.support import wording
from sightline.support.foreign_numbers import position
from sightline.support.redaction import redacted

log = logging.getLogger("sightline")

_BATCH_BYTES = 1 << 20
_LOOK_BACK_BYTES = 1 << 16
_PAUSE_S = (0.5, 60.0)  # after the first failure, and the longest
_DOUBLINGS = 30  # of the pause at most: an outage of a day has more failures than a float has powers of two
_PATIENCE = 5  # failures in a row before the circuit opens
_HANGS_AFTER_S = 60.0
_LETS_GO_S = 5.0  # for closing a sink that is down
_LETS_GO_AT_LEAST_S = 2.0  # also where all the time went into trying
_STUCK_AFTER_S = 0.5  # in a try, when there is time for no other
_UNREACHED_S = 10.0  # at the end of the run, for a sink that has never been open
_LOADS_S = 20.0  # for its first try, from its beginning: an SDK may have to be loaded


class Lines(Protocol):
    """Where a reader finds the journal's lines: a live journal, or a file."""

    def read(self, offset: int, limit: int) -> Block:
        """Whole lines from an offset on, about ``limit`` bytes; nothing if there are none yet."""


class Feeding(NamedTuple):
    """How a sink has fared since the last look.

    Attributes:
        errors: calls that failed.
        lag_steps: commits in the journal that it has not taken.
        commit_ms: how long it took over a commit, on average; None if it took none.
    """

    errors: int
    lag_steps: int
    commit_ms: float | None


class Handed(NamedTuple):
    """The commits that a sink was handed, or would be.

    Attributes:
        commits: how many.
        first_step, last_step: the lowest and the highest step of these; None if there is none.
    """

    commits: int = 0
    first_step: int | None = None
    last_step: int | None = None

    def and_those_of(self, steps: Iterable[int]) -> Handed:
        """With further ones."""
        more = list(steps)
        all_steps = [step for step in (self.first_step, self.last_step, *more) if step is not None]
        return Handed(self.commits + len(more), min(all_steps, default=None), max(all_steps, default=None))


class Placed(NamedTuple):
    """A record of the journal, and where its line ends."""

    record: dict[str, Any]
    end: int


class SinkReader:
    """Feeds one sink.

    Args:
        sink: where the records go.
        lines: of the journal.
        offset: where to begin; a place where a line begins.
        run: for a sink that stores: the run,
        cursor: how far it was, and
        lineage: which commits belong to it.
        resume_hint: how to bring up later what is missing, for messages.
        seq: of the last commit before ``offset``; None: the cursor's.
        gaps: numbers that the journal's ``seq`` has left out.
        is_placed: whether ``offset`` is right behind that commit; if not, the place is looked for.
        begun_after: the ``seq`` that a live run begins after: a back end can have no higher one before.
        damage: of the journal, where it is said; shared by the readers of one. None: nowhere.
    """

    def __init__(
        self,
        sink: Sink,
        lines: Lines,
        offset: int,
        *,
        run: SinkRun | None = None,
        cursor: Cursor | None = None,
        lineage: Lineage | None = None,
        resume_hint: str = "",
        seq: int | None = None,
        gaps: Sequence[tuple[int, int]] = (),
        is_placed: bool = True,
        begun_after: int | None = None,
        damage: Damage | None = None,
    ) -> None:
        self.sink = sink
        self.trouble = ""  # what it raised last
        self.is_behind_for_good = False  # it was left with records that it had not taken
        self.handed = Handed()
        self._lines = lines
        self._run_facts = run
        self._cursor = cursor
        self._lineage = lineage
        self._hint = resume_hint
        self._offset = offset  # everything before has been taken
        self._seq = seq if seq is not None else cursor.seq if cursor is not None else 0
        self._gaps = tuple(gaps)
        self._is_placed = is_placed
        self._begun_after: float = math.inf if begun_after is None else begun_after
        self._damage = damage or Damage("", is_said=False)
        self._sound = SoundRecords()
        self._target = offset
        self._target_seq = self._seq
        self._is_open = not isinstance(sink, StoringSink)
        self._is_stored = True  # False: closing it failed, by which it would have stored
        self._failures = 0  # in a row
        self._errors = 0  # since the last look
        self._is_failing = False
        self._is_full = False  # the disk, which is why
        self._outages = 0  # times that it began to fail
        self._took_s, self._took_commits = 0.0, 0
        self._since: float | None = None  # when the call under way began
        self._once = Once(sink.name)
        self._begun = time.monotonic()
        self._closing: tuple[float, float] | None = None  # since when, and until when the rest may be tried
        self._has_opened = False
        self._rewound: Sequence[Start] | None = None  # by which the lineage is to be made anew
        self._gives_up = False  # what is left is no longer tried
        self._is_over = False  # all is done, or nothing more is tried
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._feed, name=f"sightline-sink-{sink.name}", daemon=True)
        self._thread.start()

    # --- called by the root --------------------------------------------------------------------------------

    def wake(self, end: int, seq: int) -> None:
        """The journal has grown to ``end`` bytes and commit ``seq``."""
        with self._changed:
            self._target, self._target_seq = end, seq
            self._changed.notify_all()

    def rewind(self, starts: Sequence[Start]) -> None:
        """This attempt has begun lower than its lineage has it; called before its first commit is written."""
        with self._changed:
            self._rewound = starts
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Waits until all has been taken; returns whether it was, in time. Does not wait for a sink that is
        down."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_all() or self.is_down, timeout)
            return self._has_all()

    def begin_close(self, timeout: float) -> None:
        """Nothing more will come; what is left may be tried for so long: less, if its back end has not been
        reached in the whole run."""
        with self._changed:
            now = time.monotonic()
            self._closing = (now, now + timeout)
            self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Hands over what is left, closes the sink, and waits for it; a stuck sink is left behind.

        Returns:
            Whether it has everything.
        """
        if self._closing is None:
            self.begin_close(timeout)
        end = time.monotonic() + timeout
        with self._changed:
            while not self._is_over and (rest := min(end, self._tried_until()) - time.monotonic()) > 0:
                self._changed.wait(rest)
            # One that has time for no further try closes its sink now; one that is stuck in a try does not.
            rest = min(end, self._tried_until()) + _LETS_GO_AT_LEAST_S - time.monotonic()
            self._changed.wait_for(lambda: self._is_over or self._is_stuck(), max(0.0, rest))
        if self._is_over and not self._has_all():
            self._thread.join(min(_LETS_GO_S, max(_LETS_GO_AT_LEAST_S, end - time.monotonic())))
        if not self._is_over or not self._has_all():
            if not self.is_behind_for_good:
                self.is_behind_for_good = True
                why = "" if self._has_opened or not self.stores else ", and has not been reached"
                log.warning(
                    "sightline: sink %s was left %s behind%s%s",
                    self.sink.name, wording.counted(self._lag(), "commit"), why,
                    self._hint and f"; {self._hint}",
                )  # fmt: skip
                if not self._has_opened:
                    getattr(self.sink, "give_up", lambda: None)()
            return False
        return self._is_stored

    def look(self) -> Feeding:
        """How the sink has fared since the last look."""
        with self._changed:
            ms = 1e3 * self._took_s / self._took_commits if self._took_commits else None
            found = Feeding(self._errors, self._lag(), ms)
            self._errors, self._took_s, self._took_commits = 0, 0.0, 0
            since = self._since
        if since is not None and time.monotonic() - since > _HANGS_AFTER_S:
            self._once.warn("hangs", f"has not answered for {_HANGS_AFTER_S:g} s")
        return found

    @property
    def stores(self) -> bool:
        """Whether the sink has a back end, whose state is worth following."""
        return isinstance(self.sink, StoringSink)

    @property
    def rewind_mode(self) -> str:
        """What becomes of steps that are committed again."""
        return "continue" if self._lineage is None else self._lineage.rewind

    @property
    def is_down(self) -> bool:
        """Whether its circuit is open."""
        return self._failures >= _PATIENCE

    @property
    def _place(self) -> Path:
        """On the file system that the sink writes to, as far as is known."""
        run = self._run_facts
        return getattr(self.sink, "place", None) or (run.dir if run is not None else Path())

    def _tried_until(self) -> float:
        """When the run has ended."""
        assert self._closing is not None
        since, until = self._closing
        if not self.stores or self._has_opened:
            return until
        unreached = since + _UNREACHED_S
        return min(until, unreached if self._failures else max(unreached, self._begun + _LOADS_S))

    def _is_stuck(self) -> bool:
        since = self._since
        return not self._gives_up and since is not None and time.monotonic() - since > _STUCK_AFTER_S

    def _has_time(self) -> bool:
        return self._closing is None or time.monotonic() < self._tried_until()

    def _lag(self) -> int:
        return commits_between(self._seq, self._target_seq, self._gaps)

    def _is_due(self) -> bool:
        return not self._is_open or not self._has_all() or self._rewound is not None

    def _has_all(self) -> bool:
        return self._offset >= self._target

    # --- the thread ----------------------------------------------------------------------------------------

    def _feed(self) -> None:
        while True:
            with self._changed:
                comes = self._changed.wait_for(
                    lambda: self._is_due() or self._closing is not None,
                    None if self._cursor is None or self._cursor.is_saved else SAVED_WITHIN_S,
                )
                if comes and not self._is_due():
                    break
            if not comes:
                assert self._cursor is not None
                self._cursor.save()
                continue
            self._go_back()
            went_well = self._try(self._connect) and self._try(self._hand_over)
            if not (self._has_time() if went_well else self._pause()):
                self._gives_up = True
                break
        if self._is_open:
            closed = self._try(self.sink.close)
            self._is_stored = closed or not getattr(self.sink, "stores_at_close", False)
            if closed:
                self._move_cursor(now=True)
            elif self._cursor is not None:
                self._cursor.save()
        elif self._has_opened:
            self._end()
            with suppress(BaseException):  # lets go of what it holds, for the next run of this process
                self.sink.close()
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _go_back(self) -> None:
        """As if the attempt had been announced where it began: in another run of the back end, if forked."""
        with self._changed:
            starts, self._rewound = self._rewound, None
        if starts is None or self._lineage is None:
            return
        assert self._run_facts is not None
        assert self._cursor is not None
        before, self._lineage = self._lineage, Lineage(starts, self._lineage.rewind)
        if self._lineage.fork == before.fork:
            return
        if self._is_open and self._try(self.sink.close):
            self._move_cursor(now=True)
        self._cursor = cursor = cursor_of(
            self.sink, self._run_facts.dir, self._lineage, self._run_facts.run_id
        )
        self._run_facts = replace(self._run_facts, fork=self._lineage.fork, kept=cursor.kept)
        with self._changed:
            self._offset, self._seq, self._is_placed = 0, cursor.seq, False
            self._is_open = False

    def _connect(self) -> None:
        """Opens a sink that stores, and goes to the place after what it has."""
        if self._is_open:
            return
        assert isinstance(self.sink, StoringSink)
        assert self._run_facts is not None
        stored = self.sink.open(self._run_facts)
        seq = self._seq if stored is None else position(stored)
        if seq is None:
            raise TypeError(f"open() returned {stored!r}; expected the seq of a commit, an int, or None")
        if not self._has_opened and seq > self._begun_after:
            self._once.warn(
                "ahead",
                f"holds commits up to number {seq} of this run, and the journal knew those up to "
                f"{self._begun_after}: the run was continued elsewhere, and what it commits here under these "
                f"numbers is left out",
            )
        if seq != self._seq or not self._is_placed:
            self._go_after(seq)
            if self._cursor is not None:
                self._cursor.offset, self._cursor.seq = self._offset, seq
        self._is_open = self._has_opened = True
        if self._cursor is not None:
            self._cursor.save()  # with what the sink keeps

    def _go_after(self, seq: int) -> None:
        """To the lines after those of a commit."""
        at = offset = self._offset if self._is_placed and seq >= self._seq else 0
        sound = SoundRecords()
        while (block := self._lines.read(at, _BATCH_BYTES)).end > at:
            at = block.begin
            for line in block.data.splitlines(keepends=True):
                at += len(line)
                found = _seq_in(line, sound)
                if found is not None:
                    if found > seq:
                        break
                    offset = at
            else:
                continue
            break
        with self._changed:
            self._offset, self._seq, self._is_placed = offset, seq, True

    def _hand_over(self) -> None:
        if self._has_all():
            return
        records, end = self._next_batch()
        if self._rewound is not None:
            return  # among them may be commits from behind it
        mine = records if self._lineage is None else [r for r in records if self._lineage.has(r)]
        begun = time.monotonic()
        if mine:
            self.sink.write(mine)
        seq = max((s for s in map(_seq_of, records) if s is not None), default=self._seq)
        steps = [record["step"] for record in mine if record.get("type") == "commit"]
        with self._changed:
            self._took_s += time.monotonic() - begun
            self._took_commits += len(steps)
            self.handed = self.handed.and_those_of(steps)
            self._offset = end if end > self._offset else self._target
            self._seq = max(self._seq, seq)
            self._failures = 0
            self._changed.notify_all()
        if self._is_failing:
            self._is_failing = False
            self._once.forget()
            if self._is_full:
                self._is_full = False
                full_disks.has_space(self._place)
            elif self._is_said():
                log.warning("sightline: sink %s works again", self.sink.name)
        if not getattr(self.sink, "stores_at_close", False):
            self._move_cursor()

    def _move_cursor(self, *, now: bool = False) -> None:
        if self._cursor is None:
            return
        if self._lineage is not None and self._lineage.is_partial and not self.handed.commits:
            return  # nothing later is stored: what was left out may still come
        self._cursor.move(self._offset, self._seq, now=now)

    def _next_batch(self) -> tuple[list[dict[str, Any]], int]:
        """Records from here on, all lines of each commit, and where they end.

        A commit that is longer than a batch is read on to its end, over holes too.
        """
        taken: list[Placed] = []
        end = self._offset
        while True:
            block = self._lines.read(end, _BATCH_BYTES)
            if block.data and block.begin > end:
                self._damage.hole(block.begin - end)
            taken += self._sound_records(block)
            end = block.end
            whole = whole_commits(taken, more=bool(block.data) and end < self._target)
            if whole:
                return [each.record for each in whole], whole[-1].end if len(whole) < len(taken) else end
            if not block.data or end >= self._target or not taken:
                return [], end

    def _sound_records(self, block: Block) -> Iterator[Placed]:
        end = block.begin
        for line in block.data.splitlines(keepends=True):
            end += len(line)
            record = parsed(line)
            sound = None if record is None else self._sound(record)
            if sound is None or sound is not record:
                self._damage.odd()
            if sound is not None:
                yield Placed(sound, end)

    def _try(self, call: Callable[[], Any]) -> bool:
        """Whether a call of the sink's went well."""
        with self._changed:
            self._since = time.monotonic()
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - a sink's trouble, SystemExit too, stays the sink's
            with self._changed:
                self._errors += 1
                self._failures += 1
                self.trouble = redacted(f"{type(error).__name__}: {error}")
                self._is_open = not self.stores
            self._say_that_it_fails(error)
            with self._changed:  # who waits for the sink speaks after it
                self._changed.notify_all()
            return False
        finally:
            self._since = None
        return True

    def _say_that_it_fails(self, error: BaseException) -> None:
        """Of a sink that fails and works in turn, less and less; the traceback comes once."""
        if self.is_behind_for_good:
            return
        if not full_disks.has_room(self._place) and full_disks.is_said(error, self._place):
            self._is_failing = self._is_full = True
            return
        if not self._is_failing:
            self._is_failing = True
            self._outages += 1
            times = f" ({self._outages} times so far)" if self._outages > 1 else ""
            if self._is_said():
                has_trace = self._outages == 1 and not isinstance(error, ApartError)
                again = "it is tried again while the run lasts; " if self._closing is None else ""
                is_named = not self._hint or "sightline sync" in str(error)
                hint = "" if is_named else f"; {again}{self._hint}"
                self._once.warn("fails", f"fails{times}: {error}{hint}", exc_info=has_trace)
        elif self.is_down:
            self._once.warn(
                "down", f"is down, and tried again every now and then{self._hint and '; '}{self._hint}"
            )

    def _is_said(self) -> bool:
        return self._outages & (self._outages - 1) == 0  # the 1st, 2nd, 4th, 8th, …

    def _pause(self) -> bool:
        """Waits for the next try; returns False where there is none, since the run is over."""
        import random

        doubled = min(self._failures - 1, _DOUBLINGS)
        pause = min(_PAUSE_S[0] * 2**doubled, _PAUSE_S[1]) * random.uniform(0.5, 1.5)
        with self._changed:
            if self._closing is None:
                self._changed.wait_for(lambda: self._closing is not None, pause)
                return True
            if self.is_down:
                return False
            rest = max(0.0, self._tried_until() - time.monotonic())
            self._changed.wait_for(lambda: False, min(pause, rest, 1.0))
            return self._has_time()


def storing_reader(
    sink: StoringSink,
    lines: Lines,
    size: int,
    *,
    directory: Path,
    lineage: Lineage,
    facts: Mapping[str, Any],
    gaps: Sequence[tuple[int, int]] = (),
    begun_after: int | None = None,
    damage: Damage | None = None,
) -> SinkReader:
    """Feeds a sink that stores, from where it was in this run.

    Args:
        sink, lines: as for :class:`SinkReader`.
        size: bytes of the journal that cursors may point into.
        directory: of the run.
        lineage: which commits belong to it.
        facts: as ``run.json`` has them, the run's config among them.
        gaps, begun_after, damage: as for :class:`SinkReader`.
    """
    cursor = cursor_of(sink, directory, lineage, facts["run_id"])
    run = SinkRun(
        facts["run_id"],
        str(facts.get("name") or directory.resolve().name),
        directory,
        lineage.current.attempt,
        config=facts["config"],
        facts={name: value for name, value in facts.items() if name not in ("config", "sightline")},
        fork=lineage.fork,
        kept=cursor.kept,
    )
    is_placed = cursor.offset <= size and _is_right_after(lines, cursor.offset, cursor.seq)
    hint = f"to bring up later what is missing: sightline sync {directory} --to {sink.name}"
    return SinkReader(
        sink, lines, cursor.offset if is_placed else 0,
        run=run, cursor=cursor, lineage=lineage, resume_hint=hint,
        gaps=gaps, is_placed=is_placed, begun_after=begun_after, damage=damage,
    )  # fmt: skip


def _is_right_after(lines: Lines, offset: int, seq: int) -> bool:
    """Whether a place is behind the lines of a commit and of no later one, as far as a look can tell: the
    journal may have lost lines since, and got others."""
    begin = max(0, offset - _LOOK_BACK_BYTES)
    before = lines.read(begin, offset - begin) if offset else Block(0, b"")
    if before.end != offset:
        return False  # it is no end of a line, or there is a hole
    sound = SoundRecords()
    for line in reversed(before.data.splitlines()):
        if (found := _seq_in(line, sound)) is not None:
            return found == seq
    return before.begin == 0 and seq == 0


def cursor_of(sink: Sink, directory: Path, lineage: Lineage, run_id: str) -> Cursor:
    """How far a sink has stored a run, or what it shows of the run since that was forked."""
    return Cursor(directory / "cursors" / f"{sink.name}{suffix_of(lineage.fork)}.json", run_id)


def whole_commits(placed: Sequence[Placed], *, more: bool) -> Sequence[Placed]:
    """Records without those of a last commit that may go on behind them.

    Args:
        placed: in order.
        more: whether there are lines behind them.

    Returns:
        None of them if all are of one commit that may go on.

    Example:
        >>> records = [Placed({"seq": seq}, 9 * seq) for seq in (1, 2, 2)]
        >>> [each.record["seq"] for each in whole_commits(records, more=True)]
        [1]
        >>> whole_commits(records[1:], more=True), len(whole_commits(records, more=False))
        ([], 3)
    """
    last = _seq_of(placed[-1].record) if placed else None
    n = len(placed)
    if more and last is not None:
        while n and _seq_of(placed[n - 1].record) == last:
            n -= 1
    return placed[:n]


def parsed(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None if it is torn."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _seq_in(line: bytes, sound: SoundRecords) -> int | None:
    record = parsed(line)
    return None if record is None else _seq_of(sound(record))


def _seq_of(record: dict[str, Any] | None) -> int | None:
    seq = record.get("seq") if record is not None else None
    return position(seq)
