"""Scopes and timings as decorators: around the body of any kind of function, while it runs and only then."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from functools import cached_property, partial
from typing import Any

import pytest

import sightline as sl
from sightline.support.decorating import around, around_life
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.session_tracer import SessionTracer


class Inside:
    """A context manager that knows whether something is inside it, and how often it was entered."""

    def __init__(self) -> None:
        self.depth = self.entered = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.depth += 1
        self.entered += 1
        try:
            yield
        finally:
            self.depth -= 1


@pytest.fixture
def inside() -> Inside:
    return Inside()


def test_a_function_keeps_its_face(inside: Inside) -> None:
    """Name, docs, signature and kind are those of the function."""

    def plain(a: int, *, b: str = "x") -> str:
        """Docs."""
        return f"{a}{b}{inside.depth}"

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    decorated = around(plain, inside)
    assert decorated(1, b="y") == "1y1"
    assert (decorated.__name__, decorated.__doc__) == ("plain", "Docs.")
    assert inspect.signature(decorated) == inspect.signature(plain)
    assert inspect.iscoroutinefunction(around(coroutine, inside))
    assert inspect.isgeneratorfunction(around(generator, inside))
    assert inspect.isasyncgenfunction(around(async_generator, inside))


def test_a_methods_self_arrives(inside: Inside) -> None:
    class Actor:
        def method(self) -> object:
            return self, inside.depth

        method = around(method, inside)

    actor = Actor()
    assert actor.method() == (actor, 1)


def decorators() -> list[Any]:
    """One of each kind, recording where it does not disturb."""
    tracker, spans, sessions = sl.StatsTracker(), PerfTracer(enabled=True), SessionTracer(enabled=True)
    return [
        tracker.scope("scope"),
        tracker.record_timing("timing"),
        spans.trace_scope("span"),
        sessions.session(task="task", otherwise="accepted"),
        sessions.session_phase("phase"),
    ]


@pytest.mark.parametrize("decorator", decorators(), ids=lambda each: type(each).__name__)
def test_above_classmethod_and_staticmethod_it_is_as_good_as_below(decorator: Any) -> None:
    """Functions, coroutines and generators; called on the class, on an instance and on a subclass."""

    class Actor:
        @decorator
        @classmethod
        def of_class(cls, n: int = 1) -> Any:
            """Docs."""
            return cls.__name__, n

        @decorator
        @staticmethod
        def static(n: int) -> int:
            return n

        @decorator
        @classmethod
        async def coroutine(cls) -> str:
            await asyncio.sleep(0)
            return cls.__name__

        @decorator
        @staticmethod
        def generator() -> Iterator[int]:
            yield from range(3)

    class Child(Actor):
        pass

    assert Actor.of_class() == ("Actor", 1)
    assert Child().of_class(n=2) == ("Child", 2)
    assert (Actor.static(3), Child().static(4)) == (3, 4)
    assert asyncio.run(Child.coroutine()) == "Child"
    assert list(Actor().generator()) == [0, 1, 2]
    assert Actor.of_class.__doc__ == "Docs."
    assert isinstance(vars(Actor)["of_class"], classmethod)


class Coroutine:
    """An object whose calls give a coroutine."""

    async def __call__(self, inside: Callable[[], bool]) -> bool:
        await asyncio.sleep(0)
        return inside()


class Generates:
    """An object whose calls give a generator."""

    def __call__(self, inside: Callable[[], bool]) -> Iterator[bool]:
        yield inside()


class GeneratesAsync:
    """An object whose calls give an async generator."""

    async def __call__(self, inside: Callable[[], bool]) -> AsyncIterator[bool]:
        await asyncio.sleep(0)
        yield inside()


class Calls:
    """An object whose calls go to another object that can be called."""

    __call__ = Coroutine()


async def coroutine_function(inside: Callable[[], bool]) -> bool:
    return inside()


@pytest.mark.parametrize(
    "function",
    [
        Coroutine(), Generates(), GeneratesAsync(), Calls(), Coroutine().__call__, partial(Coroutine()),
        partial(partial(coroutine_function)), partial(GeneratesAsync().__call__), partial(Generates()),
    ],
    ids=["coroutine", "generator", "async generator", "calls another", "bound method", "partial",
         "partial of a partial", "partial of a bound method", "partial of a generator"],
)  # fmt: skip
@pytest.mark.parametrize("what", ["scope", "timing", "span", "session", "phase"])
def test_objects_and_partials_that_give_coroutines_are_inside_while_those_run(
    what: str, function: Callable[..., Any]
) -> None:
    """As functions of their kind are, and not only while they are made."""
    tracker, tracer, sessions = sl.StatsTracker(), PerfTracer(enabled=True), SessionTracer(enabled=True)
    tracer._notice_asyncio()
    spans: list[str] = []

    def is_inside() -> bool:
        if what == "scope":
            tracker.scalar(seen=1)
            return "it/seen" in tracker.export(reduce="local")
        if what == "timing":
            return not tracker.export(reduce="local")  # it has not ended
        if what == "span":
            spans.extend(span.name for span in tracer._open_spans())
            return spans == ["it"]
        session = sessions.current_session()
        if what == "session":
            return session is not None and session.status == "pending"
        return session is not None and [phase.end for phase in session.phases] == [0]

    decorator: Any = {
        "scope": tracker.scope("it"),
        "timing": tracker.record_timing("it"),
        "span": tracer.trace_scope("it"),
        "session": sessions.session(otherwise="accepted"),
        "phase": sessions.session_phase("it"),
    }[what]
    decorated = decorator(function)

    async def main() -> list[bool]:
        with sessions.session(otherwise="accepted"):
            made = decorated(is_inside)
            if hasattr(made, "__await__"):
                return [await made]
            return list(made) if hasattr(made, "__next__") else [item async for item in made]

    assert asyncio.run(main()) == [True]


def test_a_span_around_a_classmethod_is_recorded() -> None:
    spans = PerfTracer(enabled=True)
    spans._begin_writing()

    class Actor:
        @spans.trace_scope("act")
        @classmethod
        def act(cls) -> str | None:
            return spans.current_span()

    assert Actor.act() == "act"
    assert [record[0] for record in spans._take() if len(record) == 5] == ["act"]


@pytest.mark.parametrize("decorator", decorators(), ids=lambda each: type(each).__name__)
@pytest.mark.parametrize(
    ("what", "says"),
    [
        (property(lambda self: 1), "got property; put it on the function itself, below @property"),
        (cached_property(lambda self: 1), "below @cached_property"),
        (3, "a decorator on 3: expected a function, a classmethod or a staticmethod, got int$"),
        (int, "a decorator on class int: .* put it on int.__init__"),
    ],
    ids=["property", "cached property", "number", "class"],
)
def test_what_cannot_be_decorated_is_said_where_it_is(decorator: Any, what: Any, says: str) -> None:
    """Not at the first call, which may be hours later."""
    with pytest.raises(sl.RecordError, match=says):
        decorator(what)


def test_a_coroutine_is_inside_while_it_runs(inside: Inside) -> None:
    """From its first line to its last, over awaits, and not when it is only made."""

    @lambda function: around(function, inside)
    async def body() -> int:
        assert inside.depth == 1
        await asyncio.sleep(0)
        assert inside.depth == 1
        return 7

    coroutine = body()
    assert inside.depth == 0
    assert asyncio.run(coroutine) == 7
    assert inside.depth == 0


def test_a_cancelled_coroutine_leaves(inside: Inside) -> None:
    """With its own clean-up inside."""
    seen = []

    @lambda function: around(function, inside)
    async def body() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(inside.depth)

    async def main() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (seen, inside.depth) == ([1], 0)


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator", "async generator"])
def test_an_exception_goes_on_and_the_block_ends(inside: Inside, kind: str) -> None:
    """In every kind of function."""

    def function() -> None:
        raise KeyError(kind)

    async def coroutine() -> None:
        raise KeyError(kind)

    def generator() -> Iterator[int]:
        yield 1
        raise KeyError(kind)

    async def async_generator() -> AsyncIterator[int]:
        yield 1
        raise KeyError(kind)

    async def consume() -> None:
        async for _ in around(async_generator, inside)():
            assert inside.depth == 0

    runs: dict[str, Callable[[], object]] = {
        "function": around(function, inside),
        "coroutine": lambda: asyncio.run(around(coroutine, inside)()),
        "generator": lambda: list(around(generator, inside)()),
        "async generator": lambda: asyncio.run(consume()),
    }
    with pytest.raises(KeyError, match=kind):
        runs[kind]()
    assert inside.depth == 0
    assert inside.entered


def echo(inside: Inside, log: list[object]) -> Iterator[Any]:
    """Yields what it is sent, notes what is thrown in, and returns its last word."""
    got: Any = "first"
    try:
        while got != "stop":
            assert inside.depth == 1
            try:
                got = yield got
            except ValueError as error:
                got = f"caught {error}"
    finally:
        log.append(("closing", inside.depth))
    return "returned"


def test_a_generator_is_inside_only_while_it_runs(inside: Inside) -> None:
    """Sending, throwing and the return value pass through; its consumer is outside."""
    log: list[object] = []
    generator = around(echo, inside)(inside, log)
    assert inside.entered == 0
    assert next(generator) == "first"
    assert inside.depth == 0
    assert generator.send("second") == "second"
    assert generator.throw(ValueError("third")) == "caught third"
    with pytest.raises(StopIteration) as stopped:
        generator.send("stop")
    assert stopped.value.value == "returned"
    assert (log, inside.depth, inside.entered) == ([("closing", 1)], 0, 4)


def test_a_generator_that_is_left_early_cleans_up_inside(inside: Inside) -> None:
    """By close, by a break, and by what it does not catch."""
    log: list[object] = []
    generator = around(echo, inside)(inside, log)
    next(generator)
    generator.close()
    for _ in around(echo, inside)(inside, log):
        break
    generator = around(echo, inside)(inside, log)
    next(generator)
    with pytest.raises(KeyError):
        generator.throw(KeyError())
    unstarted = around(echo, inside)(inside, log)
    unstarted.close()
    assert (log, inside.depth) == ([("closing", 1)] * 3, 0)


def test_yield_from_sees_through(inside: Inside) -> None:
    """A decorated generator in an undecorated one."""

    @lambda function: around(function, inside)
    def inner() -> Iterator[Any]:
        got = yield 1
        return got

    def outer() -> Iterator[Any]:
        result = yield from inner()
        yield result

    generator: Any = outer()
    assert next(generator) == 1
    assert generator.send("x") == "x"


async def async_echo(inside: Inside, log: list[object]) -> AsyncIterator[Any]:
    """As :func:`echo`, with awaits between."""
    got: Any = "first"
    try:
        while got != "stop":
            await asyncio.sleep(0)
            assert inside.depth == 1
            try:
                got = yield got
            except ValueError as error:
                got = f"caught {error}"
    finally:
        await asyncio.sleep(0)
        log.append(("closing", inside.depth))


def test_an_async_generator_is_inside_only_while_it_runs(inside: Inside) -> None:
    """asend, athrow, the end, aclose and a break."""

    async def main() -> None:
        log: list[object] = []
        generator: Any = around(async_echo, inside)(inside, log)
        assert await anext(generator) == "first"
        assert inside.depth == 0
        assert await generator.asend("second") == "second"
        assert await generator.athrow(ValueError("third")) == "caught third"
        with pytest.raises(StopAsyncIteration):
            await generator.asend("stop")
        assert log == [("closing", 1)]

        async with aclosing(around(async_echo, inside)(inside, log)) as closing:
            async for _ in closing:
                break
        generator = around(async_echo, inside)(inside, log)
        await anext(generator)
        with pytest.raises(KeyError):
            await generator.athrow(KeyError())
        assert log == [("closing", 1)] * 3
        assert inside.depth == 0

    asyncio.run(main())


def test_scopes_and_timings_are_decorators() -> None:
    """Of every kind of function, and more than once."""
    tracker = sl.StatsTracker()

    @tracker.scope("train")
    @tracker.record_timing("update")
    def update() -> None:
        tracker.scalar(loss=1.0)

    @tracker.scope("rollout")
    async def rollout() -> None:
        await asyncio.sleep(0)
        tracker.scalar(reward=1.0)

    @tracker.scope("data")
    @tracker.record_timing("next")
    def batches() -> Iterator[int]:
        for i in range(2):
            tracker.scalar(size=1.0)
            yield i

    @tracker.scope("stream")
    async def stream() -> AsyncIterator[int]:
        tracker.scalar(length=1.0)
        yield 1

    async def main() -> None:
        await asyncio.gather(rollout(), rollout())
        async for _ in stream():
            tracker.scalar(outside=1.0)

    update()
    update()
    for _ in batches():
        tracker.scalar(outside=1.0)
    asyncio.run(main())
    stats = tracker.export(reduce="local")
    counts = {key.removesuffix("__count"): value for key, value in stats.items() if key.endswith("__count")}
    assert counts == {
        "train/loss": 2, "rollout/reward": 2, "data/size": 2, "stream/length": 1, "outside": 3,
    }  # fmt: skip
    assert stats["time/train/update_s"] > 0
    assert stats["time/data/next_s"] > 0


def test_a_recursive_function_is_timed_at_every_level() -> None:
    """Each call has a clock of its own."""
    tracker = sl.StatsTracker()

    @tracker.record_timing("down")
    def down(n: int) -> int:
        return down(n - 1) + 1 if n else 0

    assert down(5) == 5
    assert tracker.export(reduce="local")["time/down_s"] > 0


# --- around the life of what a call gives ------------------------------------------------------------------


class Life:
    """Knows how many lives are open, how each ended, and whether its body runs."""

    def __init__(self) -> None:
        self.open = 0
        self.ends: list[str] = []
        self.body = Inside()

    @contextmanager
    def __call__(self, args: Any, kwargs: Any) -> Iterator[Callable[[], Any]]:
        self.open += 1
        try:
            yield self.body
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        else:
            self.ends.append("returned")
        finally:
            self.open -= 1


@pytest.fixture
def life() -> Life:
    return Life()


def test_a_generators_life_has_its_consumer_in_it_and_its_body_has_not(life: Life) -> None:
    """What is sent and thrown in arrives, and what it returns comes out."""

    def body() -> Generator[Any, Any, str]:
        got = yield life.body.depth
        try:
            yield got
        except ValueError as error:
            yield str(error)
        return "end"

    generator = around_life(body, life)()
    assert (next(generator), life.open, life.body.depth) == (1, 1, 0)
    assert generator.send(7) == 7
    assert generator.throw(ValueError("thrown")) == "thrown"
    with pytest.raises(StopIteration, match="end"):
        next(generator)
    assert (life.open, life.ends) == (0, ["returned"])


def test_an_async_generators_life_likewise(life: Life) -> None:
    """Also when its consumer stops early, or throws what it does not catch."""

    async def body() -> AsyncGenerator[Any, Any]:
        got = yield life.body.depth
        try:
            yield got
        except ValueError as error:
            yield str(error)

    decorated = around_life(body, life)

    async def main() -> None:
        generator = decorated()
        assert (await anext(generator), life.open, life.body.depth) == (1, 1, 0)
        assert await generator.asend(7) == 7
        assert await generator.athrow(ValueError("thrown")) == "thrown"
        assert [item async for item in generator] == []
        async with aclosing(decorated()) as early:
            await anext(early)
        failing = decorated()
        await anext(failing)
        with pytest.raises(KeyError):
            await failing.athrow(KeyError("x"))

    asyncio.run(main())
    assert (life.open, life.ends) == (0, ["returned", "GeneratorExit", "KeyError"])


def test_a_call_is_its_own_life(life: Life) -> None:
    """Of functions and coroutines, with their exceptions."""

    def plain(fails: bool) -> int:
        if fails:
            raise ValueError("no")
        return life.open + life.body.depth

    async def coroutine() -> int:
        await asyncio.sleep(0)
        return life.open + life.body.depth

    assert around_life(plain, life)(False) == 2
    with pytest.raises(ValueError, match="no"):
        around_life(plain, life)(True)
    assert asyncio.run(around_life(coroutine, life)()) == 2
    assert (life.open, life.body.depth, life.ends) == (0, 0, ["returned", "ValueError", "returned"])
