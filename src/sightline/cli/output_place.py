"""Where a command may write a file: never over a run's own, over others only on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from sightline.errors import ConfigurationError
from sightline.runs.run_directory import JOURNAL

_FILES = (JOURNAL, "run.json", "rows.jsonl", ".lock", ".collect.lock")
_FOLDERS = (
    "cursors", "logs", "mlflow", "profiles", "samples", "sessions", "swanlab", "tensorboard", "trackio",
    "traces", "wandb",
)  # fmt: skip


def check_place(
    to: Path,
    run_dirs: Iterable[Path],
    *,
    is_ours: Callable[[Path], bool] = lambda path: False,
    force: bool = False,
    makes_folders: bool = False,
) -> None:
    """Refuses a file that must not be written.

    Args:
        to: the file.
        run_dirs: what the command reads; other run directories are known by their files.
        is_ours: whether a file that is there is an earlier one of the command's own.
        force: replace what is there, whatever it is; but for a run's own files.
        makes_folders: the command makes those that are not there.

    Raises:
        ConfigurationError: it is a file of a run, something else that is not to be replaced, or where nothing
            can be written.
    """
    place = to.resolve()
    run_dirs = list(run_dirs)
    runs = {each.resolve() for each in run_dirs}
    for folder in place.parents:
        inside = place.relative_to(folder).parts
        own = inside[0] in (_FILES if len(inside) == 1 else _FOLDERS)
        if own and (folder in runs or any((folder / name).exists() for name in _FILES[:2])):
            raise ConfigurationError(f"{to} is a file of the run itself: choose another name after -o")
    if to.parent in run_dirs and not to.parent.is_dir():
        return  # which whoever reads it says
    folder = to.parent
    while makes_folders and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{to} cannot be written: expected a file in a directory of yours after -o")
    if not os.path.lexists(to):
        return
    if to.exists() and not to.is_file():
        raise ConfigurationError(f"{to} is no file that can be replaced: choose another name after -o")
    if not force and not is_ours(to):
        raise ConfigurationError(
            f"{to} is there already: choose another name after -o, or give --force to replace it"
        )
