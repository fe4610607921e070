"""The commit side: :class:`StatsLogger` makes one commit of all that a step recorded, on every process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline.aliases import Mirror, combined
from sightline.committing.announcement import Announcement, Begun
from sightline.committing.attempt import Attempt
from sightline.committing.checkpoint import Checkpoint
from sightline.committing.final import Final
from sightline.committing.naming_check import NamingCheck
from sightline.committing.root import Root
from sightline.config import StatsLoggerConfig
from sightline.errors import ConfigurationError, RecordError, StepError, TransportError
from sightline.jax.budget import PROGRAMS
from sightline.posting.machines import Introduction, Machines
from sightline.posting.message import Pending
from sightline.posting.patience import Patience
from sightline.posting.poster import Poster
from sightline.posting.sample_files import SampleFiles
from sightline.posting.slots import SlotCounter
from sightline.recording.sampling import sample
from sightline.recording.step import checked_step
from sightline.support.redaction import redacted
from sightline.tracking.stats_tracker import StatsTracker
from sightline.tracking.trackers import all_trackers, drain_for_good
from sightline.transports import connect
from sightline.transports.base import Transport
from sightline.values.snapshot import Value

log = logging.getLogger("sightline")

Stats = Mapping[str, Value | str]

_open_loggers: weakref.WeakSet[StatsLogger] = weakref.WeakSet()
_ADOPT_TIMEOUT_S = 300.0
FAILED_TIMEOUT_S = 3.0  #: how long a run that ends by an exception waits for the other processes


class StatsLogger:
    """Commits what was recorded, once a step, to the journal and the sinks.

    Make one on every process; only the root (process 0) writes. ``commit(step)`` returns at once on all of
    them: draining, merging and writing happen in the background. ``sl.start`` makes one for you.

    Args:
        config: see :class:`StatsLoggerConfig`.
        tracker: whose records are committed; None: those of all trackers made by :func:`sightline.tracker`.
        transport: how the processes are connected; None: as the configuration says.
        run_config: the run's own configuration, kept in ``run.json`` with credentials taken out: a dataclass,
            mapping, pydantic model, namespace, …
        state_dict: of an earlier attempt's logger, from the checkpoint that this run goes on from.
        announce: whether the other processes are told at once that the run begins; False: at the end of
            :meth:`announcing`, for what may still keep it from beginning.

    Attributes:
        process, processes: this process's place in the job.
        is_root: whether this process writes.
        enabled: False under ``SIGHTLINE_DISABLED=1``: nothing is written, no thread is started.
        run_id: the run's identity over all attempts; None off the root until the root has said it.
        dir: the run directory on this process's disk; None off the root until the root has named it.
        attempt: how often the run was started, from 1; None as above.

    Raises:
        ConfigurationError, RunDirectoryError, JournalError: at start-up, if it cannot work.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     logger = StatsLogger(StatsLoggerConfig(log_dir=folder, sinks=[]), tracker=StatsTracker())
        ...     logger.commit(1, {"train/loss": 0.5, "train/loss__count": 4})
        ...     logger.finish()
        True
    """

    def __init__(
        self,
        config: StatsLoggerConfig | None = None,
        *,
        tracker: StatsTracker | None = None,
        transport: Transport | None = None,
        run_config: Any = None,
        state_dict: Mapping[str, Any] | None = None,
        announce: bool = True,
    ) -> None:
        self.config = config or StatsLoggerConfig()
        self.enabled = os.environ.get("SIGHTLINE_DISABLED") != "1"
        self._tracker = tracker
        PROGRAMS.max_programs = self.config.max_programs
        self._transport = connect(transport if transport is not None else self.config.transport)
        self.process = self._transport.process
        self.processes = self._transport.processes
        self.is_root = self._transport.is_root
        self.run_id: str | None = None
        self.dir: Path | None = None
        self.attempt: int | None = None
        #: The step after the last one that the run committed before this attempt; 0 in a fresh run.
        self.next_step = 0
        self._lock = threading.Lock()
        self._finished = not self.enabled
        self._lowered = False
        self._last_commit = time.perf_counter()
        self._slots = SlotCounter()
        self._obs: Counter[str] = Counter()  # what happened since the last commit of records
        self._sample_files = SampleFiles(lambda: self.place, self.process, self.processes)
        self._introduction = Introduction()
        self._machines = Machines()
        self._strict: NamingCheck | None = None
        self._before = Checkpoint()
        self._attempt: Attempt | None = None  # on the root
        self._worker: Root | Poster | None = None
        self._announcement = Announcement(self._transport)
        self._undoing = ExitStack()  # what takes back the start, until it is announced
        with self._taking_back():
            self._prepare(state_dict)
            if self.enabled:
                self._open(run_config) if self.is_root else self._become_peer()
        if announce:
            with self.announcing():
                pass

    # --- committing ----------------------------------------------------------------------------------------

    def commit(self, step: int, stats: Stats | Sequence[Stats] | None = None) -> None:
        """Commits a step; returns at once.

        Without ``stats``: everything recorded on this process since its previous commit. Call it on every
        process that has something; nobody waits for anybody.

        With ``stats``: values that are final already, such as those of :meth:`StatsTracker.export`, or
        scalars on devices, which are not waited for; the root writes them, other processes ignore them. A
        sequence takes consecutive steps from ``step`` on. Keys ending in ``__count`` are counts, which stand
        apart in the journal; strings are texts.

        A step that was committed before opens a new slot of that step. A lower one is treated as
        ``on_lower_step`` says.

        Args:
            step: any int; does not go back.
            stats: ``{key: number or string}``, or several of them.

        Raises:
            StepError: a lower step, under ``on_lower_step="error"``.
            RecordError: a step that is no int, a key or value that is none; under ``naming="strict"`` a key
                outside of the conventions, once the commit is made: nothing is lost by it.
        """
        if not self.enabled:
            return None
        step = checked_step(step)
        if self._finished:
            return log.warning(
                "sightline: commit of step %d after finish(), or in a forked child, is left out", step
            )
        if stats is not None:
            if not isinstance(stats, Iterable):
                raise RecordError(f"commit(stats={stats!r}): expected a dict or a sequence of dicts")
            finals = [Final.of(each) for each in ([stats] if isinstance(stats, Mapping) else stats)]
            if self.is_root:
                for final in finals:
                    final.launch()
        with self._lock:
            lowered = self._lower(step)
            if lowered is None:
                if stats is None:
                    for each in self._trackers():
                        each.drain()
                return None
            odd = self._commit_records(lowered) if stats is None else self._commit_finals(lowered, finals)
        if odd:
            raise RecordError(
                "naming='strict': outside of the conventions (docs/naming.md):\n  "
                + "\n  ".join(odd)
                + "\nRename them, or allow a first part with namespaces=(...); naming='warn' only says so"
            )
        return None

    def _commit_finals(self, step: int, finals: Sequence[Final]) -> list[str]:
        """Returns which keys are outside of the conventions, if that is an error."""
        odd = []
        for i, final in enumerate(finals):
            if self._strict is not None:
                odd += self._strict.of_keys((*final.values, *final.on_devices, *final.texts))
            final.step = self._slots.enter(step + i)
            if isinstance(self._worker, Root):
                self._worker.put(final)
        return odd

    def _commit_records(self, step: int) -> list[str]:
        """As :meth:`_commit_finals`."""
        sample(next(iter(self._trackers())))
        now = time.perf_counter()
        wall_s, self._last_commit = now - self._last_commit, now
        parts = [each.drain() for each in self._trackers()]
        obs, self._obs = self._obs, Counter()
        odd: list[str] = []
        if self._strict is not None:
            odd = self._strict.of_specs(spec for part in parts for spec in part.specs())
        slot, about = self._slots.next(step), self._introduction.news()
        pending = Pending(slot, parts, wall_s, obs, files=self._sample_files, about=about)
        pending.take_samples()
        if self._worker is not None and not self._transport.collective:
            self._worker.put(pending)
            return odd
        pending.wait(self.config.deadline_s)
        posts = self._transport.exchange(pending.message(self.process).to_bytes())
        if isinstance(self._worker, Root):
            for data in posts:
                self._worker.put(data)
        return odd

    def _lower(self, step: int) -> int | None:
        """The step to commit under, or None to leave the commit out."""
        if not self._slots.is_lower(step):
            return step
        assert self._slots.last is not None
        last = self._slots.last[0]
        policy = self.config.on_lower_step
        if policy == "error":
            raise StepError(
                f"commit of step {step} after step {last}; steps do not go back. Commit a step >= {last}, or "
                f"set on_lower_step='clamp'"
            )
        if not self._lowered:
            self._lowered = True
            log.warning(
                "sightline: commit of step %d after step %d: %s (said once)",
                step, last, f"counted as step {last}" if policy == "clamp" else "left out",
            )  # fmt: skip
        self.note("clamped_commits" if policy == "clamp" else "dropped_commits")
        return last if policy == "clamp" else None

    def note(self, name: str) -> None:
        """Counts something under ``obs/<name>`` in the next commit."""
        if isinstance(self._worker, Root):
            self._worker.note(name)
        else:
            self._obs[name] += 1

    def event(self, name: str, **fields: Any) -> None:
        """Writes an ``event`` line to the journal, on the root; plain data only."""
        if isinstance(self._worker, Root):
            self._worker.put({"event": name, **fields})

    # --- waiting -------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 60.0, *, force: bool = False) -> bool:
        """Waits until this process's commits are safe; returns whether they are, within ``timeout`` seconds.

        On the root that is in the journal and with the sinks, for which the other processes must have
        posted; elsewhere it is with the root's store.

        Args:
            timeout: seconds.
            force: on the root, write in time what is there, naming who is missing.
        """
        if self._finished:
            return True
        if isinstance(self._worker, Root):
            return self._worker.flush(timeout, force=force)
        return self._worker is None or self._worker.flush(timeout)

    def finish(self, timeout: float | None = None) -> bool:
        """Ends the run on this process; again and again if you like.

        Writes or posts what is under way and says END. The root then waits for the END of the others. What
        was recorded after the last commit is not committed, and said so in a warning.

        Args:
            timeout: seconds; None: ``finish_timeout_s`` of the configuration. Threads that are stuck are
                left behind, and end with the process.

        Returns:
            Whether everything was written and everyone had ended in time.
        """
        if self._finished:
            return True
        self._leave()
        self._warn_of_uncommitted()
        timeout = self.config.finish_timeout_s if timeout is None else timeout
        done = self._worker is None or self._worker.close(timeout)
        if not done:
            late = self._worker.waiting_for() if isinstance(self._worker, Root) else ()
            log.warning(
                "sightline: finish: %s",
                f"process {', '.join(map(str, late))} did not end in time"
                if late
                else "not all was written in time",
            )
        if self._attempt is not None:
            self._attempt.close()
        return done

    def _finish_at_exit(self) -> None:
        # After an unhandled exception the others will not end in time either: they wait for this process.
        self.finish(FAILED_TIMEOUT_S if getattr(sys, "last_value", None) is not None else None)

    def _leave_to_parent(self) -> None:
        # In a forked child: the threads are the parent's, a lock may be held for ever, and so may the run.
        self._leave()
        self._worker = None
        self._lock = threading.Lock()

    def _leave(self) -> None:
        self._finished = True
        atexit.unregister(self._finish_at_exit)

    def _warn_of_uncommitted(self) -> None:
        drained = drain_for_good(self._tracker)
        keys = sorted({key for records in drained for key in records.recorded()})
        if keys:
            shown = ", ".join(keys[:5]) + (", …" if len(keys) > 5 else "")
            log.warning("sightline: recorded after the last commit, and never committed: %s", shown)

    def wait_dir(self, timeout: float = 60.0) -> Path:
        """The run directory, waiting off the root until the root has named it.

        Raises:
            TransportError: the root has not named it within ``timeout`` seconds.
        """
        if not self.enabled:  # the program may have files of its own to put there
            self.dir = Path(self.config.log_dir) / (self.config.name or "disabled")
            self.dir.mkdir(parents=True, exist_ok=True)
        if self.dir is None:
            self._adopt(timeout)
        if self.dir is None:
            raise TransportError(f"the root has not named the run directory within {timeout:g} s")
        return self.dir

    # --- state ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint should keep, so that the run can go on anywhere: plain data.

        ``run_id``, ``name``, ``attempt``, and ``last_slot`` (step, k) of this process; on the root also
        ``seq``, the number of the latest commit in the journal, and ``starts``, how the attempts began.
        """
        last = self._slots.last
        if not self.enabled:  # of the run that may go on another time
            return replace(self._before, last_slot=last).state_dict()
        name = self.dir.name if self.dir is not None else None
        here = Checkpoint(self.run_id, name, self.attempt, last)
        if (attempt := self._attempt) is not None:
            starts = (isinstance(self._worker, Root) and self._worker.starts) or attempt.starts
            here = replace(here, seq=attempt.journal.seq, starts=[list(each) for each in starts])
        return here.state_dict()

    # --- starting ------------------------------------------------------------------------------------------

    @contextmanager
    def announcing(self) -> Iterator[ExitStack]:
        """At the end of the block the root tells the other processes that the run begins.

        For who made this logger with ``announce=False``, once. What the block raises, and whatever else keeps
        the run from beginning, takes back the start on this process, and what the block gave to the stack:
        the run's name is free again, and the other processes hear of it from the root.
        """
        with self._taking_back():
            yield self._undoing
            if self._attempt is not None:
                self._begin(self._attempt)
        self._undoing.pop_all()

    @contextmanager
    def _taking_back(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if self.enabled and self.is_root:
                self._announcement.say_failure(error)
                self._note_failure(error)
            self._undoing.close()
            self._leave()
            raise

    def _note_failure(self, error: BaseException) -> None:
        """In the journal: that this attempt has begun is in there, and it did not crash."""
        if self._attempt is not None:
            what = redacted(f"{type(error).__name__}: {error}")[:2000] + " (at the start)"
            if isinstance(self._worker, Root):
                self.event("failed", error=what)
            else:
                self._attempt.fail(what)

    def _prepare(self, state_dict: Mapping[str, Any] | None) -> None:
        if self.config.naming == "strict":
            self._strict = NamingCheck(self.config.namespaces, Mirror(combined(self.config.aliases)))
        if self.config.timing_key is not None:
            for each in self._trackers():
                each.timing_key = self.config.timing_key
        self._before = Checkpoint.of(state_dict)
        self._slots.last = self._before.last_slot
        self.next_step = self._before.next_step
        if self.enabled:
            # JAX registers its own exit hook at `initialize`, before this: hooks run last in, first out.
            atexit.register(self._finish_at_exit)
            _open_loggers.add(self)

    def _open(self, run_config: Any) -> None:
        """On the root: the attempt, of which nobody has heard yet."""
        self._machines.take(0, self._introduction.news())
        self._attempt = Attempt(
            self.config, self._before, processes=self.processes, run_config=run_config,
            machines=self._machines.plain(), undoing=self._undoing,
        )  # fmt: skip
        self._adopt_as(self._attempt.begun, self._attempt.dir)

    def _begin(self, attempt: Attempt) -> None:
        """On the root: the sinks, and the thread that merges; then the others are told."""
        self._worker = Root(
            self._transport,
            self._channel(),
            attempt.journal,
            attempt.open_readers(self._undoing),
            attempt.mirror,
            NamingCheck(self.config.namespaces) if self.config.naming == "warn" else None,
            attempt=attempt.number,
            patience=self._patience(),
            deadline_s=self.config.deadline_s,
            first_deadline_s=self.config.first_deadline_s,
            samples_per_step=self.config.samples_per_step,
            machines=self._machines,
            on_machines=attempt.facts.add,
            # With a checkpoint's state no step can be lower, and its last one may be committed once more.
            starts=attempt.starts if self._before.last_slot is None else (),
        )
        self._undoing.callback(self._worker.close, 0.0)
        self._announcement.say(attempt.begun)

    def _become_peer(self) -> None:
        # With a collective, all hear it together here, and commits are exchanged where they are made.
        must_hear = self._transport.collective or self.config.resume != "never"
        if must_hear and not self._adopt(_ADOPT_TIMEOUT_S):
            raise ConfigurationError(
                f"the root did not say within {_ADOPT_TIMEOUT_S:g} s which run to resume"
            )
        if not self._transport.collective:
            self._worker = Poster(
                self._transport,
                lambda: self._channel() if self._adopt(1.0) else None,
                self._patience(),
                queue_size=self.config.queue_size,
            )
        self._undoing.callback(self.finish, FAILED_TIMEOUT_S)

    def _adopt(self, timeout: float) -> bool:
        """Takes over what the root has announced; False if it has not yet.

        Where the run does not begin this raises: to the caller who waits for it, else in the poster's thread,
        which then ends.
        """
        if self.run_id is None:
            begun = self._announcement.hear(timeout)
            if begun is None:
                return False
            path = Path(self.config.log_dir) / begun.name
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                log.warning("sightline: process %d cannot make %s: %s", self.process, path, error)
            self._adopt_as(begun, path)
        return True

    def _adopt_as(self, begun: Begun, path: Path) -> None:
        self.attempt, self.dir = begun.attempt, path
        self.next_step = begun.next_step  # the root's word counts: loops must be of one length
        self.run_id = begun.run_id

    def _patience(self) -> Patience:
        return Patience(self.config.deadline_s, self.config.first_deadline_s)

    def _channel(self) -> str:
        return f"{self.run_id}.{self.attempt}"

    @property
    def tracker(self) -> StatsTracker | None:
        """The only one whose records are committed; None: those of :func:`sightline.tracker` are."""
        return self._tracker

    @property
    def transport(self) -> Transport:
        """What the processes are connected by."""
        return self._transport

    @property
    def place(self) -> tuple[Path, str, int] | None:
        """Run directory, run id and attempt, once they are known."""
        if self.dir is None or self.run_id is None or self.attempt is None:
            return None
        return self.dir, self.run_id, self.attempt

    def _trackers(self) -> Iterable[StatsTracker]:
        return [self._tracker] if self._tracker is not None else all_trackers()


def _after_fork_in_child() -> None:
    for logger in list(_open_loggers):
        logger._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
