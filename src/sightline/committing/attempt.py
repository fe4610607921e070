"""An attempt at a run, as the root opens it: directory, journal, ``run.json``, sinks; all, or nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date
from typing import Any

from sightline.aliases import Mirror, combined, warn_of_passed
from sightline.committing.announcement import Begun
from sightline.committing.checkpoint import Checkpoint
from sightline.committing.run_json import RunJson
from sightline.config import StatsLoggerConfig, with_absolute_paths
from sightline.errors import RunDirectoryError
from sightline.runs.journal import FORMAT, Journal, values_before
from sightline.runs.run_directory import RunDirectory
from sightline.sinks import Sink, SinkReader, StoringSink, make_sinks, storing_reader
from sightline.sinks.cursor import highest_seq
from sightline.sinks.damage import Damage
from sightline.sinks.lineage import Lineage, Start, starts_of


class Attempt:
    """Holds the run directory, with the ``run`` line in its journal, until :meth:`close`.

    Args:
        config: of the logger.
        checkpoint: of the run that goes on; an empty one for none.
        processes: how many the job has.
        run_config: the run's own configuration.
        machines: what is known of hosts and devices, as plain data.
        undoing: takes back what has been made; a journal that was empty is gone then, so that what is left of
            the attempt keeps its name from no other.

    Attributes:
        run_id, number: of the run, and how often it was started.
        dir: the run directory.
        journal: for the root's thread.
        mirror: the run's aliases.
        next_step: where the run goes on.
        starts: how this attempt and all before it began.
        facts: what the run is.

    Raises:
        ConfigurationError, RunDirectoryError, JournalError: it cannot be opened.
    """

    def __init__(
        self,
        config: StatsLoggerConfig,
        checkpoint: Checkpoint,
        *,
        processes: int,
        run_config: Any,
        machines: Mapping[str, Any],
        undoing: ExitStack,
    ) -> None:
        self._config = config
        self._sinks = make_sinks(config.sinks, vars(config))
        self._directory = RunDirectory(config.log_dir, config.name or checkpoint.name, config.resume)
        undoing.callback(self._directory.close)
        self.dir = self._directory.path
        self.journal = journal = Journal(self._directory.journal)
        if not journal.size:
            undoing.callback(journal.path.unlink, missing_ok=True)
        undoing.callback(journal.close)
        _check_same_run(journal, checkpoint)
        self.run_id = journal.run_id or checkpoint.run_id or os.urandom(8).hex()
        self.number = max(journal.attempt, checkpoint.attempt or 0) + 1
        self.next_step = checkpoint.next_step
        if journal.last_step is not None and checkpoint.last_slot is None:
            self.next_step = journal.last_step + 1
        self.mirror = self._mirror()
        self.starts = self._all_starts(checkpoint)
        known = max(highest_seq(self.dir, self.run_id), checkpoint.seq or 0)
        is_new = journal.run_line is None and checkpoint.run_id is None
        if not is_new and not (journal.has_ended and known <= journal.seq):
            journal.leave_gap(known)
        self._begin = journal.size
        self.facts = RunJson(self.dir / "run.json", self._facts(processes, run_config, machines))
        self._write_run_line(processes)  # last: whoever has written it also says what becomes of the attempt

    @property
    def begun(self) -> Begun:
        """What the other processes are told of it."""
        return Begun(self.run_id, self.dir.name, self.number, self.next_step)

    def open_readers(self, undoing: ExitStack) -> list[SinkReader]:
        """What feeds the sinks, which reach for their back ends from now on; once."""
        damage = Damage(self.journal.path)
        readers = []
        for sink in self._sinks:
            readers.append(self._reader(sink, damage))
            undoing.callback(readers[-1].begin_close, 0.0)
        return readers

    def fail(self, error: str) -> None:
        """Writes into the journal that the attempt has ended before anybody could commit."""
        of_now = {"type": "event", "attempt": self.number, "time": time.time()}
        self.journal.append(
            {"event": "failed", "error": error, **of_now}, {"event": "finish", "missing": [], **of_now}
        )

    def close(self) -> None:
        """Lets the run directory go."""
        self._directory.close()

    def _reader(self, sink: Sink, damage: Damage) -> SinkReader:
        """For a sink that shows from this attempt on, for one that stores from where it was."""
        journal = self.journal
        if not isinstance(sink, StoringSink):
            return SinkReader(sink, journal, self._begin, seq=journal.seq, damage=damage)
        return storing_reader(
            sink, journal, self._begin, directory=self.dir, lineage=Lineage(self.starts, sink.rewind),
            facts=self.facts.facts, gaps=journal.gaps, begun_after=journal.seq, damage=damage,
        )  # fmt: skip

    def _mirror(self) -> Mirror:
        """The run's aliases, their windows and totals where an earlier attempt has left them."""
        aliases, journal = self._config.aliases, self.journal
        if aliases:
            warn_of_passed(aliases, today=date.today())
        mirror = Mirror(combined(aliases))
        if mirror.derived and journal.last_step is not None:
            mirror.replay(values_before(journal.path, self.next_step, mirror.derives_from))
        return mirror

    def _all_starts(self, checkpoint: Checkpoint) -> list[Start]:
        """How all attempts began: of the earlier ones what the journal and the checkpoint know."""
        journal = self.journal
        earlier = (*starts_of({"starts": checkpoint.starts}), *starts_of(journal.starts_line))
        known = {each.attempt: each for each in earlier}
        steps = [journal.last_step, checkpoint.last_slot and checkpoint.last_slot[0]]
        after = max((step for step in steps if step is not None), default=None)
        return [*(known[attempt] for attempt in sorted(known)), Start(self.number, self.next_step, after)]

    def _write_run_line(self, processes: int) -> None:
        mirror, gaps = self.mirror, self.journal.gaps
        self.journal.append(
            {
                "type": "run", "format": FORMAT, "run_id": self.run_id, "name": self.dir.name,
                "attempt": self.number, "started": time.time(), "processes": processes,
                "starts": [list(each) for each in self.starts], "gaps": [list(each) for each in gaps],
                "aliases": mirror.plain,
                **({"derived": mirror.derived} if mirror.derived else {}),
            }
        )  # fmt: skip

    def _facts(self, processes: int, run_config: Any, machines: Mapping[str, Any]) -> dict[str, Any]:
        # Loads much, and only the root needs it.
        from sightline.committing.facts import run_facts, without_secrets

        settings = with_absolute_paths(self._config)
        del settings["sinks"]
        return {
            "run_id": self.run_id,
            "name": self.dir.name,
            "attempt": self.number,
            "processes": processes,
            "config": without_secrets(run_config),
            "sightline": without_secrets(settings),
            **run_facts(),
            **machines,
        }


def _check_same_run(journal: Journal, checkpoint: Checkpoint) -> None:
    before = checkpoint.run_id
    if before and journal.run_id and before != journal.run_id:
        raise RunDirectoryError(
            f"{journal.path} is run {journal.run_id}, and the checkpoint's state is of run {before}: "
            f"give the log_dir and name of that run, or leave state_dict out"
        )
