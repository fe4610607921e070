"""A run as the report finds it: its journal, and the directories that hold files of its processes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sightline.errors import RunDirectoryError
from sightline.run_logs.files import Damage, RunFiles, missing
from sightline.runs.run_directory import JOURNAL
from sightline.sinks.syncing import facts_of
from sightline.views.history import History

_HEAD = 4096


class RunData:
    """One run.

    Args:
        run_dir: where its journal is.

    Attributes:
        dirs: all directories of it: this one first, then those of other hosts.

    Raises:
        RunDirectoryError: there is no journal.
    """

    def __init__(self, run_dir: Path) -> None:
        self.dirs = [run_dir]
        self._history: History | None = History(run_dir)

    @property
    def history(self) -> History:
        """What its journal says, as far as it has been read."""
        if self._history is None:
            self._history = History(self.dirs[0])
        return self._history

    def release(self) -> None:
        """Lets go of what was read."""
        self._history = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.dirs[0].resolve().name

    @property
    def run_id(self) -> str | None:
        """Its identity, by the journal's first line; None where there is none yet."""
        with open(self.dirs[0] / JOURNAL, "rb") as file:
            return _named(file.read(_HEAD))

    def facts(self) -> dict[str, Any]:
        """What its ``run.json`` says."""
        return facts_of(self.dirs[0])

    def absent(self) -> dict[int, tuple[list[int], int]]:
        """By attempt the processes of which no file is here, though others have some, and how many there are.

        Raises:
            RunDirectoryError: one of the directories is of another run.
        """
        here = RunFiles(self.dirs, Damage()).present()
        attempts = {attempt for attempt, _ in here}
        sizes: dict[Any, Any] = {run.get("attempt"): run.get("processes") for run in self.history.runs}
        told = [
            {"attempt": attempt, "processes": size} for attempt, size in sizes.items() if attempt in attempts
        ]
        return {attempt: (gone, sizes[attempt]) for attempt, gone in missing(told, here).items()}


def find_runs(run_dirs: Iterable[Path]) -> list[RunData]:
    """The runs of some directories; one without a journal belongs to the run whose files it has.

    Raises:
        RunDirectoryError: a directory that is none of a run, is given twice, or belongs to none of the runs.
    """
    runs: list[RunData] = []
    others: list[Path] = []
    seen: set[Path] = set()
    for run_dir in run_dirs:
        if run_dir.resolve() in seen:
            raise RunDirectoryError(f"{run_dir} is given twice")
        seen.add(run_dir.resolve())
        if not (run_dir / JOURNAL).exists() and any(run_dir.glob("*/p[0-9]*.a[0-9]*")):
            others.append(run_dir)
        else:
            runs.append(RunData(run_dir))
    for run_dir in others:
        identity = _run_id(run_dir)
        owner = next((run for run in runs if identity is not None and run.run_id == identity), None)
        if owner is None:
            raise RunDirectoryError(
                f"{run_dir} has files of processes of run {identity}, and no {JOURNAL}: give the directory "
                f"of its root too"
            )
        owner.dirs.append(run_dir)
    return runs


def _run_id(run_dir: Path) -> str | None:
    for path in sorted(run_dir.glob("*/p[0-9]*.a[0-9]*.json*")):
        with open(path, "rb") as file:
            found = _named(file.read(_HEAD))
        if found is not None:
            return found
    return None


def _named(head: bytes) -> str | None:
    match = re.search(rb'"run_id"\s*:\s*"([^"\\]{1,200})"', head)
    return match[1].decode(errors="replace") if match else None


def shortened(paths: Sequence[Path]) -> list[str]:
    """Names that tell directories apart: the last part, with more where that is not enough."""
    resolved = [path.resolve() for path in paths]
    for length in range(1, 1 + max(len(path.parts) for path in resolved)):
        names = [os.sep.join(path.parts[-length:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]
