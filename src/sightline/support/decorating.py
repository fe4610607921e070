"""One way to put a context manager around any kind of function, for scopes, timings, spans, sessions."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar, cast

from sightline.errors import RecordError

F = TypeVar("F", bound=Callable[..., Any])
Enter = Callable[[], AbstractContextManager[Any]]
Kind = Literal["function", "coroutine", "generator", "async generator"]

_DEEPEST = 100  # callables within each other that are looked through


def decorated(function: F, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> F:
    """``wrap(function)``; of a classmethod or staticmethod the function inside is wrapped.

    Raises:
        RecordError: it is something else that cannot be called, or a class.

    Example:
        >>> class Reward:
        ...     @lambda method: decorated(method, lambda function: lambda cls: f"<{function(cls)}>")
        ...     @classmethod
        ...     def name(cls):
        ...         return cls.__name__
        >>> Reward.name()
        '<Reward>'
    """
    if isinstance(function, (classmethod, staticmethod)):
        return cast(F, type(function)(decorated(function.__func__, wrap)))
    if isinstance(function, type):
        raise RecordError(
            f"a decorator on class {function.__name__}: expected a function or a method, since what it makes "
            f"of a class is none any more; put it on {function.__name__}.__init__, or on what is called"
        )
    if not callable(function):
        kind = type(function).__name__
        fix = f"; put it on the function itself, below @{kind}" if hasattr(function, "__get__") else ""
        raise RecordError(
            f"a decorator on {function!r:.200}: expected a function, a classmethod or a staticmethod, got "
            f"{kind}{fix}"
        )
    return cast(F, functools.update_wrapper(wrap(function), function))


def around(function: F, enter: Enter) -> F:
    """``function`` with ``with enter():`` around its body.

    Coroutines are inside while they run. Generators and async generators are inside from each resumption to
    the next ``yield`` (and while they are closed), and outside while their consumer runs.

    Raises:
        RecordError: as :func:`decorated`.
    """
    return decorated(function, lambda plain: _around(plain, enter))


def _around(function: Callable[..., Any], enter: Enter) -> Callable[..., Any]:
    wrapper: Callable[..., Any]
    kind = kind_of(function)
    if kind == "coroutine":

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter():
                return await function(*args, **kwargs)

    elif kind == "async generator":

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

    elif kind == "generator":

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

    return wrapper


def around_life(function: F, enter: Callable[[Any, Any], AbstractContextManager[Enter]]) -> F:
    """``function`` with ``with enter(args, kwargs) as inside:`` around the life of each call.

    For a generator that is from its first item to its end, its consumer's time included, and ``with
    inside():`` stands around each resumption, as with :func:`around`.

    Raises:
        RecordError: as :func:`decorated`.
    """
    return decorated(function, lambda plain: _around_life(plain, enter))


def _around_life(
    function: Callable[..., Any], enter: Callable[[Any, Any], AbstractContextManager[Enter]]
) -> Callable[..., Any]:
    wrapper: Callable[..., Any]
    if is_generator(function):
        return around_generator(function, enter, lambda inside: around(function, inside))
    if kind_of(function) == "coroutine":

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter(args, kwargs) as inside, inside():
                return await function(*args, **kwargs)

    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter(args, kwargs) as inside, inside():
                return function(*args, **kwargs)

    return wrapper


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether calls give a generator, of either kind."""
    return kind_of(function) in ("generator", "async generator")


def kind_of(function: Callable[..., Any]) -> Kind:
    """What calls give: of callable objects their ``__call__`` says it, of partials what they are made of.

    Example:
        >>> class Reward:
        ...     async def __call__(self, text):
        ...         return len(text)
        >>> kind_of(Reward()), kind_of(functools.partial(Reward(), "text")), kind_of(len)
        ('coroutine', 'coroutine', 'function')
    """
    for _ in range(_DEEPEST):
        if inspect.iscoroutinefunction(function):
            return "coroutine"
        if inspect.isasyncgenfunction(function):
            return "async generator"
        if inspect.isgeneratorfunction(function):
            return "generator"
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif isinstance(function, (type, types.FunctionType)):
            break
        else:
            call = getattr(type(function), "__call__", None)  # noqa: B004 - not whether, but which
            if call is None or isinstance(call, types.WrapperDescriptorType):  # written in C
                break
            function = call
    return "function"


def around_generator(
    function: Callable[..., Any],
    enter: Callable[[Any, Any], AbstractContextManager[Any]],
    body: Callable[[Any], Callable[..., Any]],
) -> Callable[..., Any]:
    """A generator function with ``with enter(args, kwargs) as entered:`` around each generator's life.

    Args:
        function: of either kind.
        enter: a context manager of the call's arguments.
        body: which function makes the generator, by what was entered; of the kind that ``function`` is.
    """
    wrapper: Callable[..., Any]
    if kind_of(function) == "generator":

        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with enter(args, kwargs) as entered:
                return (yield from body(entered)(*args, **kwargs))

    else:

        async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with enter(args, kwargs) as entered:
                generator = body(entered)(*args, **kwargs)
                resume, value = generator.asend, None
                try:
                    while True:
                        try:
                            item = await resume(value)
                        except StopAsyncIteration:
                            return
                        try:
                            resume, value = generator.asend, (yield item)
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # noqa: BLE001 - thrown in by the consumer
                            resume, value = generator.athrow, error
                finally:
                    await generator.aclose()

    return wrapper
