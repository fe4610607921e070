"""That files of a run which nobody writes any more end within a line: said alike by all commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sightline.errors import SightlineError
from sightline.files.file_lines import cut_said
from sightline.runs.run_directory import JOURNAL


def cut_journals(run_dirs: Iterable[Path]) -> dict[Path, int]:
    """Of each journal that ends so, by its path, bytes of that line.

    While a run is being written that is as it should be, and none of these.
    """
    from sightline.runs.run_state import state_of

    found = {}
    for run_dir in run_dirs:
        try:
            cut = state_of(run_dir).cut_bytes
        except (SightlineError, OSError):
            continue
        if cut:
            found[run_dir / JOURNAL] = cut
    return found


def is_written(run_dirs: Iterable[Path]) -> bool:
    """Whether somebody is at the run that these directories are of, so that last lines of its files may be
    on their way."""
    from sightline.runs.run_state import state_of

    for run_dir in run_dirs:
        try:
            if state_of(run_dir).is_live:
                return True
        except (SightlineError, OSError):
            continue
    return False


def cut_notes(cut: Mapping[Path, int]) -> list[str]:
    """What is said of each of :func:`cut_journals`."""
    return [f"{path}: {cut_said(size)}" for path, size in cut.items()]
