"""One way to put a context manager around any kind of function, shared by scopes and timings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def around(function: F, enter: Callable[[], AbstractContextManager[Any]]) -> F:
    """``function`` with ``with enter():`` around its body.

    Coroutines are inside while they run. Generators and async generators are inside from each resumption to
    the next ``yield`` (and while they are closed), and outside while their consumer runs.
    """
    wrapper: Callable[..., Any]
    if inspect.iscoroutinefunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter():
                return await function(*args, **kwargs)

    elif inspect.isasyncgenfunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            body = function(*args, **kwargs)
            resume, value = body.asend, None
            while True:
                try:
                    with enter():
                        item = await resume(value)
                except StopAsyncIteration:
                    return
                try:
                    resume, value = body.asend, (yield item)
                except GeneratorExit:
                    with enter():
                        await body.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, whatever it is
                    resume, value = body.athrow, error

    elif inspect.isgeneratorfunction(function):

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            body = function(*args, **kwargs)
            resume, value = body.send, None
            while True:
                try:
                    with enter():
                        item = resume(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    resume, value = body.send, (yield item)
                except GeneratorExit:
                    with enter():
                        body.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, whatever it is
                    resume, value = body.throw, error

    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter():
                return function(*args, **kwargs)

    return cast(F, functools.update_wrapper(wrapper, function))


Enter = Callable[[], AbstractContextManager[Any]]


def around_life(function: F, enter: Callable[[Any, Any], AbstractContextManager[Enter]]) -> F:
    """``function`` with ``with enter(args, kwargs) as inside:`` around the life of each call.

    For a generator that is from its first item to its end, its consumer's time included, and ``with
    inside():`` stands around each resumption, as with :func:`around`.
    """
    wrapper: Callable[..., Any]
    if inspect.iscoroutinefunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter(args, kwargs) as inside, inside():
                return await function(*args, **kwargs)

    elif inspect.isasyncgenfunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with enter(args, kwargs) as inside:
                body = around(function, inside)(*args, **kwargs)
                resume, value = body.asend, None
                try:
                    while True:
                        try:
                            item = await resume(value)
                        except StopAsyncIteration:
                            return
                        try:
                            resume, value = body.asend, (yield item)
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # noqa: BLE001 - thrown in by the consumer
                            resume, value = body.athrow, error
                finally:
                    await body.aclose()

    elif inspect.isgeneratorfunction(function):

        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with enter(args, kwargs) as inside:
                return (yield from around(function, inside)(*args, **kwargs))

    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter(args, kwargs) as inside, inside():
                return function(*args, **kwargs)

    return cast(F, functools.update_wrapper(wrapper, function))
