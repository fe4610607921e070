"""The commit side: :class:`StatsLogger` makes one commit of all that a step recorded, on every process."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from sightline.aliases import Mirror, combined, warn_of_passed
from sightline.config import StatsLoggerConfig, with_absolute_paths
from sightline.errors import (
    ConfigurationError,
    RecordError,
    RunDirectoryError,
    SightlineError,
    StepError,
    TransportError,
)
from sightline.final import Final
from sightline.foreign_numbers import position
from sightline.host_values import to_number, to_string, where_are
from sightline.jax.budget import PROGRAMS
from sightline.journal import FORMAT, Journal, values_before
from sightline.machines import Introduction, Machines
from sightline.message import Pending
from sightline.naming import COUNT_SUFFIX, check_key, folders_among
from sightline.naming_check import NamingCheck
from sightline.patience import Patience
from sightline.poster import Poster
from sightline.root import Root
from sightline.run_directory import RunDirectory
from sightline.sample_files import SampleFiles
from sightline.sampling import sample
from sightline.sinks import Sink, SinkReader, StoringSink, make_sinks, storing_reader
from sightline.sinks.cursor import highest_seq
from sightline.sinks.damage import Damage
from sightline.sinks.lineage import Lineage, Start, starts_of
from sightline.slots import SlotCounter
from sightline.snapshot import Value
from sightline.stats_tracker import StatsTracker
from sightline.step import checked_step
from sightline.trackers import all_trackers, drain_for_good
from sightline.transports import connect
from sightline.transports.base import Transport

log = logging.getLogger("sightline")

Stats = Mapping[str, Value | str]

_run_numbers = itertools.count()
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
        # By their number among those that several processes share, the runs of the processes pair.
        self._announcement = f"run/{next(_run_numbers)}" if self.processes > 1 else ""
        self._lock = threading.Lock()
        self._finished = False
        self._lowered = False
        self._last_commit = time.perf_counter()
        self._slots = SlotCounter()
        self._obs: Counter[str] = Counter()  # what happened since the last commit of records
        self._directory: RunDirectory | None = None
        self._journal: Journal | None = None
        self._starts: list[Start] = []
        self._sample_files = SampleFiles(lambda: self.place, self.process, self.processes)
        self._introduction = Introduction()
        self._machines = Machines()
        self._facts: dict[str, Any] = {}
        self._strict: NamingCheck | None = None
        if self.config.naming == "strict":
            self._strict = NamingCheck(self.config.namespaces, Mirror(combined(self.config.aliases)))
        if self.config.timing_key is not None:
            for each in self._trackers():
                each.timing_key = self.config.timing_key
        state = self._before = _checked_state(state_dict)
        if state["last_slot"] is not None:
            self._slots.last = state["last_slot"]
            self.next_step = state["last_slot"][0] + 1
        self._worker: Root | Poster | None = None
        if not self.enabled:
            self._finished = True
            return
        if self.is_root:
            self._worker = self._become_root(run_config, state)
        else:
            self._worker = self._become_peer()
        # JAX registers its own exit hook at `initialize`, before this: hooks run last in, first out.
        atexit.register(self._finish_at_exit)
        _open_loggers.add(self)

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
            finals = [_final(each) for each in ([stats] if isinstance(stats, Mapping) else stats)]
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
        self._finished = True
        atexit.unregister(self._finish_at_exit)
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
        if self._directory is not None:
            self._directory.close()
        return done

    def _finish_at_exit(self) -> None:
        # After an unhandled exception the others will not end in time either: they wait for this process.
        self.finish(FAILED_TIMEOUT_S if getattr(sys, "last_value", None) is not None else None)

    def _leave_to_parent(self) -> None:
        # In a forked child: the threads are the parent's, a lock may be held for ever, and so may the run.
        self._finished = True
        self._worker = None
        self._lock = threading.Lock()
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
        if not self.enabled:  # the run that may go on another time
            return {**self._before, "last_slot": None if last is None else list(last)}
        return {
            "run_id": self.run_id,
            "name": self.dir.name if self.dir is not None else None,
            "attempt": self.attempt,
            "last_slot": None if last is None else [last[0], max(0, last[1])],
            **(
                {"seq": self._journal.seq, "starts": [list(each) for each in self._known_starts()]}
                if self._journal is not None
                else {}
            ),
        }

    def _known_starts(self) -> Sequence[Start]:
        return (isinstance(self._worker, Root) and self._worker.starts) or self._starts

    # --- starting ------------------------------------------------------------------------------------------

    def _become_root(self, run_config: Any, state: Mapping[str, Any]) -> Root:
        with ExitStack() as undoing:
            try:
                journal, readers, mirror = self._begin(run_config, state, undoing)
            except BaseException as error:
                self._announce_failure(error)
                raise
            # Once: whoever has heard that it begins looks no further.
            self._announce(
                {
                    "run_id": self.run_id,
                    "name": journal.path.parent.name,
                    "attempt": self.attempt,
                    "next_step": self.next_step,
                }
            )
            undoing.pop_all()
        assert self.attempt is not None
        return Root(
            self._transport,
            self._channel(),
            journal,
            readers,
            mirror,
            NamingCheck(self.config.namespaces) if self.config.naming == "warn" else None,
            attempt=self.attempt,
            patience=self._patience(),
            deadline_s=self.config.deadline_s,
            first_deadline_s=self.config.first_deadline_s,
            samples_per_step=self.config.samples_per_step,
            machines=self._machines,
            on_machines=self._note_machines,
            # With a checkpoint's state no step can be lower, and its last one may be committed once more.
            starts=self._starts if state["last_slot"] is None else (),
        )

    def _begin(
        self, run_config: Any, state: Mapping[str, Any], undoing: ExitStack
    ) -> tuple[Journal, list[SinkReader], Mirror]:
        """Directory, journal, facts and sinks of the run; ``undoing`` takes all of it back."""
        sinks = make_sinks(self.config.sinks, vars(self.config))
        name = self.config.name or state["name"]
        self._directory = RunDirectory(self.config.log_dir, name, self.config.resume)
        undoing.callback(self._directory.close)
        journal = Journal(self._directory.journal)
        if not journal.size:  # what is left of it must not keep the name from the next start
            undoing.callback(journal.path.unlink, missing_ok=True)
        undoing.callback(journal.close)
        self._check_same_run(journal, state)
        self.dir = self._directory.path
        self.run_id = journal.run_id or state["run_id"] or os.urandom(8).hex()
        self.attempt = max(journal.attempt, state["attempt"] or 0) + 1
        if journal.last_step is not None and state["last_slot"] is None:
            self.next_step = journal.last_step + 1
        mirror = self._mirror(journal)
        self._starts = starts = self._all_starts(journal, state)
        known = max(highest_seq(self.dir, self.run_id), state.get("seq") or 0)
        is_new = journal.run_line is None and state["run_id"] is None
        if not is_new and not (journal.has_ended and known <= journal.seq):
            journal.leave_gap(known)
        self._journal = journal
        start = journal.size
        journal.append(
            {
                "type": "run", "format": FORMAT, "run_id": self.run_id, "name": self.dir.name,
                "attempt": self.attempt, "started": time.time(), "processes": self.processes,
                "starts": [list(each) for each in starts], "gaps": [list(each) for each in journal.gaps],
                "aliases": mirror.plain,
                **({"derived": mirror.derived} if mirror.derived else {}),
            }
        )  # fmt: skip
        facts = self._write_facts(run_config)
        damage = Damage(journal.path)
        readers = []
        for sink in sinks:
            readers.append(self._reader(sink, journal, start, starts, facts, damage))
            undoing.callback(readers[-1].begin_close, 0.0)
        return journal, readers, mirror

    def _reader(
        self,
        sink: Sink,
        journal: Journal,
        start: int,
        starts: Sequence[Start],
        facts: Mapping[str, Any],
        damage: Damage,
    ) -> SinkReader:
        """What feeds a sink: one that shows from this attempt on, one that stores from where it was."""
        if not isinstance(sink, StoringSink):
            return SinkReader(sink, journal, start, seq=journal.seq, damage=damage)
        lineage = Lineage(starts, sink.rewind)
        directory = journal.path.parent
        return storing_reader(
            sink, journal, start, directory=directory, lineage=lineage, facts=facts,
            gaps=journal.gaps, begun_after=journal.seq, damage=damage,
        )  # fmt: skip

    def _all_starts(self, journal: Journal, state: Mapping[str, Any]) -> list[Start]:
        """How all attempts began: of the earlier ones what the journal and the checkpoint know."""
        known = {each.attempt: each for each in (*starts_of(state), *starts_of(journal.starts_line))}
        steps = [journal.last_step, state["last_slot"] and state["last_slot"][0]]
        after = max((step for step in steps if step is not None), default=None)
        assert self.attempt is not None
        return [*(known[attempt] for attempt in sorted(known)), Start(self.attempt, self.next_step, after)]

    def _mirror(self, journal: Journal) -> Mirror:
        """The run's aliases, their windows and totals where an earlier attempt has left them."""
        aliases = self.config.aliases
        if aliases:
            warn_of_passed(aliases, today=date.today())
        mirror = Mirror(combined(aliases))
        if mirror.derived and journal.last_step is not None:
            mirror.replay(values_before(journal.path, self.next_step, mirror.derives_from))
        return mirror

    def _check_same_run(self, journal: Journal, state: Mapping[str, Any]) -> None:
        before = state["run_id"]
        if before and journal.run_id and before != journal.run_id:
            raise RunDirectoryError(
                f"{journal.path} is run {journal.run_id}, and the checkpoint's state is of run {before}: "
                f"give the log_dir and name of that run, or leave state_dict out"
            )

    def _become_peer(self) -> Poster | None:
        if self._transport.collective:
            self._adopt_from(self._transport.exchange(b"")[0])
            return None  # commits are exchanged where they are made
        if self.config.resume != "never" and not self._adopt(_ADOPT_TIMEOUT_S):
            raise ConfigurationError(
                f"the root did not say within {_ADOPT_TIMEOUT_S:g} s which run to resume"
            )
        return Poster(
            self._transport,
            lambda: self._channel() if self._adopt(1.0) else None,
            self._patience(),
            queue_size=self.config.queue_size,
        )

    def _announce_failure(self, error: BaseException) -> None:
        """Else the other processes would wait for a run that does not begin."""
        from sightline.facts import without_secrets

        what = str(error) if isinstance(error, SightlineError) else f"{type(error).__name__}: {error}"
        try:
            self._announce({"error": without_secrets(what)})
        except Exception:  # the first one is what counts
            log.exception("sightline: the other processes cannot be told that the run does not begin")

    def _announce(self, announcement: Mapping[str, Any]) -> None:
        data = orjson.dumps(announcement)
        if self._transport.collective:
            self._transport.exchange(data)
        else:
            self._transport.publish(self._announcement, data)

    def _adopt(self, timeout: float) -> bool:
        """Takes over what the root has announced; False if it has not yet."""
        if self.run_id is None:
            data = self._transport.lookup(self._announcement, timeout)
            if data is None:
                return False
            self._adopt_from(data)
        return True

    def _adopt_from(self, data: bytes) -> None:
        said = orjson.loads(data)
        if "error" in said:
            # Raised where the caller waits for it (resume, collectives); else it stops the poster's thread.
            raise RunDirectoryError(f"the root cannot start the run: {said['error']}")
        path = Path(self.config.log_dir) / said["name"]
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log.warning("sightline: process %d cannot make %s: %s", self.process, path, error)
        self.attempt, self.dir = said["attempt"], path
        self.next_step = said["next_step"]  # the root's word counts: loops must be of one length
        self.run_id = said["run_id"]

    def _patience(self) -> Patience:
        return Patience(self.config.deadline_s, self.config.first_deadline_s)

    def _channel(self) -> str:
        return f"{self.run_id}.{self.attempt}"

    def _write_facts(self, run_config: Any) -> dict[str, Any]:
        """Leaves ``run.json``, and returns what it says."""
        from sightline.facts import run_facts, without_secrets

        assert self._directory is not None
        self._machines.take(0, self._introduction.news())
        settings = with_absolute_paths(self.config)
        del settings["sinks"]
        facts = {
            "run_id": self.run_id,
            "name": self._directory.name,
            "attempt": self.attempt,
            "processes": self.processes,
            "config": without_secrets(run_config),
            "sightline": without_secrets(settings),
            **run_facts(),
            **self._machines.plain(),
        }
        self._facts = facts
        self._save_facts()
        return facts

    def _note_machines(self, machines: Mapping[str, Any]) -> None:
        self._facts = {**self._facts, **machines}
        self._save_facts()

    def _save_facts(self) -> None:
        assert self._directory is not None
        facts = self._facts
        path = self._directory.path / "run.json"
        part = path.with_suffix(".part")
        try:
            part.write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
            os.replace(part, path)
        except (OSError, TypeError) as error:
            log.warning("sightline: cannot write %s: %s", path, error)

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


def _checked_state(state: Mapping[str, Any] | None) -> dict[str, Any]:
    """A state_dict with all of its parts, None where it has them not."""
    try:
        given = dict(state or {})
        slot, attempt = given.get("last_slot"), given.get("attempt")
        return {
            "run_id": given.get("run_id"),
            "name": given.get("name"),
            "attempt": None if attempt is None else int(attempt),
            "last_slot": None if slot is None else (int(slot[0]), int(slot[1])),
            **({} if given.get("seq") is None else {"seq": _checked_seq(given["seq"])}),
            **({} if given.get("starts") is None else {"starts": list(given["starts"])}),
        }
    except (TypeError, ValueError, LookupError, OverflowError):
        raise ConfigurationError(f"state_dict={state!r}: expected what state_dict() gave") from None


def _checked_seq(seq: Any) -> int:
    number = position(int(seq))
    if number is None:
        raise ValueError(seq)
    return number


def _final(stats: Any) -> Final:
    """A user's dict, divided into values, counts and texts."""
    if not isinstance(stats, Mapping):
        raise RecordError(
            f"commit(stats=…): expected a dict or a sequence of dicts, got {type(stats).__name__}"
        )
    final = Final(0, {}, {}, {})
    for key, value in stats.items():
        try:
            check_key(key.removesuffix(COUNT_SUFFIX) if isinstance(key, str) else key)
        except ValueError as error:
            raise RecordError(f"commit: {error}") from None
        is_count = key.endswith(COUNT_SUFFIX)
        if isinstance(value, str):
            final.texts[key] = to_string("commit", key, value)
        elif where_are([[value]]) == "device":
            final.on_devices[key] = (value,)
        else:
            number = to_number("commit", key, value)
            if not is_count:
                final.values[key] = number
            elif isinstance(number, int) or number.is_integer():
                final.counts[key] = int(number)
            else:
                raise RecordError(
                    f"commit: {key!r} is {value!r}; expected a whole number, since it is a count"
                )
    for folder, inside in folders_among((*final.values, *final.on_devices, *final.texts)).items():
        raise RecordError(
            f"commit: {folder!r} cannot stand beside {inside!r}: no key may be a folder of another. "
            f"Rename one of them"
        )
    return final
