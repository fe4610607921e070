"""The active scope of each tracker: a path of names, kept for each thread and asyncio task.

A path that begins with a NUL stands inside a function under :func:`sightline.collect`: what is recorded there
goes to that function's collector. No key can begin so, which lets the hottest code find out for nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

from sightline.support.decorating import around

F = TypeVar("F", bound=Callable[..., Any])

COLLECTED = "\0"  #: how a path inside a collector begins; its number follows

# No lock: a signal handler may come in the middle, and a child inherits it. Each access is one step.
_paths: dict[int, ContextVar[str]] = {}
_number = itertools.count()


def new_scope(name: str) -> ContextVar[str]:
    """A tracker's own path. Lives as long as the process, as context variables do."""
    path: ContextVar[str] = ContextVar(f"sightline_scope_{name}", default="")
    for other in all_scopes():
        if other.get().startswith(COLLECTED):  # made inside a function that is being traced
            path.set(other.get().partition("/")[0])
            break
    _paths[next(_number)] = path
    return path


def all_scopes() -> list[ContextVar[str]]:
    """The paths of all trackers that there are."""
    return list(_paths.values())


class Scope:
    """What :meth:`StatsTracker.scope` gives: a context manager and a decorator, to be used freely."""

    __slots__ = ("_name", "_var")

    def __init__(self, var: ContextVar[str], name: str) -> None:
        self._var = var
        self._name = name

    def __enter__(self) -> None:
        path = self._var.get()
        self._var.set(f"{path}/{self._name}" if path else self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The innermost of this name. A block that is left out of order (in a generator, say) takes only its
        # own part of the path away; one left in another task than it was entered in finds nothing to take.
        path = f"/{self._var.get()}/"
        at = path.rfind(f"/{self._name}/")
        if at >= 0:
            self._var.set((path[:at] + path[at + len(self._name) + 1 :]).strip("/"))

    def __call__(self, function: F) -> F:
        return around(function, lambda: self)
