"""The active scope of each tracker: a path of names, kept for each thread and asyncio task.

A path that begins with a NUL stands inside a function under :func:`sightline.collect`: what is recorded there
goes to that function's collector. No key can begin so, which lets the hottest code find out for nothing.
"""

from __future__ import annotations

import itertools
import threading
from contextvars import ContextVar

COLLECTED = "\0"  #: how a path inside a collector begins; its number follows

_paths: dict[int, ContextVar[str]] = {}
_number = itertools.count()
_lock = threading.Lock()


def new_scope(name: str) -> ContextVar[str]:
    """A tracker's own path. Lives as long as the process, as context variables do."""
    path: ContextVar[str] = ContextVar(f"sightline_scope_{name}", default="")
    for other in all_scopes():
        if other.get().startswith(COLLECTED):  # made inside a function that is being traced
            path.set(other.get().partition("/")[0])
            break
    with _lock:
        _paths[next(_number)] = path
    return path


def all_scopes() -> list[ContextVar[str]]:
    """The paths of all trackers that there are."""
    with _lock:
        return list(_paths.values())
