"""One way to put a context manager around any kind of function, shared by scopes and timings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
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
