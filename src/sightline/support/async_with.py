"""``async with`` for what is a block of ``with``: it enters and leaves at once, and nothing is awaited."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class _Block(Protocol[T_co]):
    def __enter__(self) -> T_co: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class AsyncWith:
    """A context manager's other half.

    Example:
        >>> import asyncio
        >>> class Block(AsyncWith):
        ...     def __enter__(self):
        ...         return "inside"
        ...     def __exit__(self, kind, error, trace):
        ...         print("left by", kind)
        >>> async def main():
        ...     async with Block() as inside:
        ...         print(inside)
        >>> asyncio.run(main())
        inside
        left by None
    """

    __slots__ = ()

    async def __aenter__(self: _Block[T_co]) -> T_co:
        return self.__enter__()

    async def __aexit__(
        self: _Block[Any],
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)
