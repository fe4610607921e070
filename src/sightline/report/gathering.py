"""All that a page shows of some runs, gathered and packed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sightline.report.curves import curves
from sightline.report.distributions import distributions
from sightline.report.headline import headline, shown_state
from sightline.report.host_views import host_views
from sightline.report.log_lines import log_lines
from sightline.report.packing import Packer
from sightline.report.problems import Problem, problems
from sightline.report.process_maps import process_maps
from sightline.report.run_data import RunData, find_runs, shortened
from sightline.report.sample_rows import sample_tables
from sightline.report.session_views import session_views
from sightline.report.time_shares import packed, shares
from sightline.runs.run_state import state_of

_HARMLESS = ("it is cut short",)  # the last line of a process that was killed


class Gathered(NamedTuple):
    """What a page shows.

    Attributes:
        data: all of it, packed.
        names: of the runs.
        headlines: of each run its figures, as plain data.
        damaged: what could not be read, a line each.
        absent: of which processes files are not here, a line each.
        is_live: whether more may come.
    """

    data: bytes
    names: list[str]
    headlines: list[dict[str, Any]]
    damaged: list[str]
    absent: list[str]
    is_live: bool


class Runs:
    """Some runs, followed as they grow.

    Args:
        run_dirs: theirs; directories without a journal belong to the run whose files they have.

    Raises:
        RunDirectoryError: see :func:`sightline.report.run_data.find_runs`.
    """

    def __init__(self, run_dirs: Iterable[Path]) -> None:
        self._runs = find_runs(run_dirs)
        self._states: list[str] = []

    @property
    def dirs(self) -> list[Path]:
        """Where each run's journal is."""
        return [run.dirs[0] for run in self._runs]

    def update(self) -> bool:
        """Reads what has been written; returns whether anything is new."""
        grown = [run.history.update() for run in self._runs]
        before, self._states = self._states, self._look()
        return any(grown) or self._states != before

    def _look(self) -> list[str]:
        return [shown_state(state_of(run.dirs[0])) for run in self._runs]

    def gather(self, *, once: bool = False) -> Gathered:
        """What there is now.

        Args:
            once: this is the only time, so each run's journal is let go before the next one is read.

        Raises:
            JournalError: a newer version of sightline wrote a journal.
        """
        packer = Packer()
        names = shortened(self.dirs)
        found = []
        for run, name in zip(self._runs, names, strict=True):
            run.history.update()
            found.append(_gathered(run, name, packer, len(self._runs)))
            if once:
                run.release()
        meta = {"made": time.time(), "runs": [each for each, _, _ in found]}
        return Gathered(
            packer.packed(meta),
            names,
            [each["headline"] for each, _, _ in found],
            [line for _, damaged, _ in found for line in damaged],
            [line for _, _, absent in found for line in absent],
            any(each["live"] for each, _, _ in found),
        )


def gather(run_dirs: Iterable[Path]) -> Gathered:
    """All that a page shows of some runs.

    Args:
        run_dirs: theirs; directories without a journal belong to the run whose files they have.

    Raises:
        RunDirectoryError: see :func:`sightline.report.run_data.find_runs`.
        JournalError: a newer version of sightline wrote a journal.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[]) as run:
        ...         for step in run.steps(3):
        ...             sl.scalar("train/loss", 1 / (step + 1))
        ...             run.commit(step)
        ...     found = gather([run.dir])
        >>> found.names, found.headlines[0]["state"], found.damaged
        (['run'], 'finished', [])
    """
    return Runs(run_dirs).gather(once=True)


def _gathered(
    run: RunData, name: str, packer: Packer, runs: int
) -> tuple[dict[str, Any], list[str], list[str]]:
    """A run as the page takes it, what was damaged, and whose files are not here."""
    history = run.history
    stands = state_of(run.dirs[0])
    has_begun = stands.state != "unknown"
    is_live = stands.is_live if has_begun else bool(stands.lock.is_held)
    damaged = []
    if said := history.unreadable.said():
        damaged.append(f"{history.path}: {said}")
    logs = log_lines(run.dirs)
    damaged += logs.damage.said()
    time_shares = shares(history, run.dirs)
    if time_shares is not None:
        damaged += [
            line for line in time_shares.problems if not re.search(r": files of \d+ of \d+ pro", line)
        ]
    sessions, wrong = session_views(run.dirs, packer)
    if not is_live:
        damaged += [line for line in wrong if not line.endswith(_HARMLESS)]
    facts = run.facts()
    steps, times, attempts = history.rows()
    found_problems, left_out = problems(history, logs, goes_on=stands.state != "crashed")
    if stands.cut:
        at, step = history.last_time or time.time(), history.last_step
        found_problems.append(Problem(at, "end", step, None, f"the journal: {stands.cut}"))
    begun = {run.get("attempt", 1): run.get("started") for run in history.runs}
    found = {
        "name": name,
        "dir": str(run.dirs[0]),
        "run_id": run.run_id,
        "live": is_live,
        "headline": headline(history, stands),
        "curves": curves(history, packer, runs),
        "attempts": [
            {"attempt": each.attempt, "step": each.first_step, "time": begun.get(each.attempt)}
            for each in history.starts
        ],
        "time": None if time_shares is None else packed(time_shares, packer),
        "processes": process_maps(history, packer, runs),
        "sessions": sessions,
        "distributions": distributions(history, packer),
        "samples": sample_tables(history, run.dirs, runs),
        "problems": [list(each) for each in found_problems],
        "problems_left_out": left_out,
        "logs_left_out": logs.left_out,
        "hosts": host_views(history, packer),
        "texts": [[key, step, text] for key, (step, text) in history.texts.items()],
        "config": facts.pop("config", None),
        "facts": facts,
        "damaged": damaged,
        "absent": (absent := run.absent()),
        "span": [float(times.min()), float(times.max())] if len(steps) and len(attempts) else None,
    }
    return found, damaged, absent
