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
from sightline.support.wording import files_missing, processes
from sightline.views.history import History

_HEAD = 4096
_OF_EACH = ("logs", "traces")  # every process has them, if any has


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

    def absent(self) -> list[str]:
        """What is not here of which processes, though others' is, a line each. The journal is the root's.

        Raises:
            RunDirectoryError: one of the directories is of another run.
        """
        kinds = RunFiles(self.dirs, Damage()).kinds()
        here = set().union(*kinds.values())
        sizes: dict[Any, Any] = {run.get("attempt"): run.get("processes") for run in self.history.runs}
        said = []
        for attempt in sorted({attempt for attempt, _ in here} & sizes.keys()):
            known = {process for of, process in here if of == attempt} | {0}
            told = [{"attempt": attempt, "processes": sizes[attempt]}]
            gone = missing(told, [(attempt, process) for process in known]).get(attempt, [])
            which = attempt if len(sizes) > 1 else None
            said += files_missing(self.dirs[0], sizes[attempt], gone, attempt=which)
            lacking: dict[tuple[int, ...], list[str]] = {}
            for kind in _OF_EACH:
                of_kind = {process for of, process in kinds[kind] if of == attempt}
                if of_kind and (without := tuple(sorted(known - of_kind))):
                    lacking.setdefault(without, []).append(kind)
            of = "" if which is None else f" (attempt {which})"
            said += [
                f"{self.dirs[0]}: {' and '.join(names)} of {processes(without)} are not here{of}"
                for without, names in lacking.items()
            ]
        return said


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
