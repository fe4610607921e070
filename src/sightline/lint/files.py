"""Which files are checked: those that are named, and the Python files under directories that are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

#: What is left out of directories: what others wrote, and what was built.
EXCLUDED = (
    ".git",
    ".hg",
    ".svn",
    ".venv*",
    ".tox",
    ".nox",
    ".eggs",
    ".direnv",
    ".*_cache",
    ".ipynb_checkpoints",
    "__pycache__",
    "__pypackages__",
    "_build",
    "build",
    "buck-out",
    "dist",
    "node_modules",
    "site-packages",
    "venv",
    "*.egg-info",
)


def python_files(
    paths: Iterable[str], exclude: Iterable[str] = (), on_error: Callable[[OSError], None] | None = None
) -> Iterator[str]:
    """The files to check, each once, those of a directory in sorted order.

    A file that is named is checked whatever its suffix. Links to directories are followed where they are
    named, and not where they are found; links to nothing are passed over.

    Args:
        paths: files and directories.
        exclude: globs, for names (``"*_pb2.py"``) and for paths (``"vendor/*"``), beside :data:`EXCLUDED`.
            Files that are named are left out by these alone.
        on_error: called for a directory that cannot be listed.
    """
    chosen = [pattern.removeprefix("./").rstrip("/") for pattern in exclude]
    seen: set[str] = set()
    for path in paths:
        files = _under(path, chosen, on_error) if os.path.isdir(path) else [_tidy(path)]
        for file in files:
            real = os.path.realpath(file)
            if real not in seen and not _matches(file, chosen):
                seen.add(real)
                yield file


def _under(top: str, chosen: list[str], on_error: Callable[[OSError], None] | None) -> Iterator[str]:
    for directory, directories, names in os.walk(top, onerror=on_error):
        directories[:] = sorted(
            name
            for name in directories
            if not _matches(name, EXCLUDED) and not _matches(_tidy(os.path.join(directory, name)), chosen)
        )
        for name in sorted(names):
            file = os.path.join(directory, name)
            if name.endswith(".py") and os.path.isfile(file):
                yield _tidy(file)


def _tidy(path: str) -> str:
    """``./a//b.py`` as ``a/b.py``."""
    return os.path.normpath(path).replace(os.sep, "/")


def _matches(path: str, patterns: Iterable[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in patterns)
