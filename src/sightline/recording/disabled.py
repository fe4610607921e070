"""What recording calls are when sightline is switched off: nothing, at the price of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Off:
    """What scopes and timings are when sightline is disabled."""

    __slots__ = ()
    seconds = 0.0

    def until(self, values: Any) -> None:
        return None

    def since(self, values: Any) -> None:
        return None

    def flow_out(self) -> int:
        return 0

    def flow_in(self, flow: int) -> None:
        return None

    def __enter__(self) -> Off:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, function: F) -> F:
        return function


_OFF = Off()


def nothing(*_: object, **__: object) -> None:
    """What recording calls are when sightline is disabled."""


def off(*_: object, **__: object) -> Off:
    """What scopes and timings give when sightline is disabled."""
    return _OFF
