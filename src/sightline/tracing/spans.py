"""Spans, as they are recorded on threads and in asyncio tasks: two readings of the clock and an append.

A :class:`Span` is a block on a thread. Objects are used again: one lies ready for each name and thread, is
taken by ``trace_scope`` and free again when its block ends, since making an object would be most of the cost.
Inside an event loop, where blocks of several tasks interleave on one thread, each is a :class:`TaskSpan` of
its own, and knows its task. What they need of the tracer that has made them is a :class:`Recorder`.
"""

from __future__ import annotations

import heapq
import itertools
import re
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import lru_cache
from time import perf_counter_ns
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

from sightline.errors import RecordError
from sightline.recording.step import ACTIVE, active_step, process_step
from sightline.support.async_with import AsyncWith
from sightline.support.given_numbers import NOT_YET, is_missing, whole

F = TypeVar("F", bound=Callable[..., Any])
Args = dict[str, Any]

_DEEPEST = 1000  # open spans within each other that are looked through
_NUMBERS = re.compile("[0-9*]+")
BASE_NS = perf_counter_ns()  #: where the times of this process's traces begin

# What stands in the buffer: five fields for a span on a thread, two (what, and of what) for all else.
ASYNC, COUNTER, FLOW, INSTANT, STEP, THREAD = range(6)
Record = tuple[Any, ...]


class OpenSpan(NamedTuple):
    """A span that has not ended.

    Attributes:
        tid: its thread; None if it is in a lane.
        lane: its lane among the asynchronous ones; None if it is on a thread.
        name: as it was given.
        start: on ``perf_counter_ns``.
        args: its arguments so far; in a lane with the step that it began in.
    """

    tid: int | None
    lane: int | None
    name: str
    start: int
    args: Args | None


class Track:
    """A thread, as the tracer sees it."""

    __slots__ = ("__weakref__", "append", "current", "name", "native_id", "spans", "tid")

    def __init__(self, tid: int, append: Callable[[Record], object]) -> None:
        self.tid = tid
        self.name = threading.current_thread().name
        self.native_id = threading.get_native_id()
        self.append = append
        self.current: Span | None = None  # the innermost open one
        self.spans: dict[str, Span] = {}  # the last one of each name, to be used again


class Ending:
    """Goes when its thread does, and leaves the thread's number to the next one.

    A viewer has a row for each number, for ever: a pool that is made anew in each step would have thousands.

    Args:
        track: of the thread.
        free: numbers of threads that have gone, with how they were called.
    """

    __slots__ = ("_free", "_name", "_track")

    def __init__(self, track: Track, free: list[tuple[str, int]]) -> None:
        self._track = track
        self._name = track.name
        self._free = free

    def __del__(self) -> None:
        track = self._track
        if track.current is None:  # else its span stands open, and others would lie in it
            track.spans.clear()  # which know the track
            self._free.append((self._name, track.tid))


def shared_name(one: str, other: str) -> str | None:
    """What two threads are called together; None if nothing but their names says that they belong together.

    Example:
        >>> shared_name("pool-1_0", "pool-12_3"), shared_name("pool-*_*", "pool-2_2")
        ('pool-*_*', 'pool-*_*')
        >>> shared_name("loader", "loader"), shared_name("loader", "saver")
        ('loader', None)
    """
    if one == other:
        return one
    pattern = _pattern(one)
    return pattern if pattern == _pattern(other) else None


@lru_cache(1024)
def _pattern(name: str) -> str:
    return _NUMBERS.sub("*", name)


class Local(Protocol):
    """What a tracer keeps for each thread.

    Attributes:
        track: of the thread.
        again: spans that were entered again, what takes part for them, and in which task.
    """

    track: Track
    again: list[tuple[Span, AnySpan, object]]


class Recorder(Protocol):
    """What spans need of the tracer that has made them."""

    trace_scope: Callable[..., Any]

    @property
    def _local(self) -> Local: ...
    @property
    def _nowhere(self) -> Track: ...
    @property
    def _lanes(self) -> Lanes: ...
    @property
    def _open_tasks(self) -> dict[TaskSpan, None]: ...
    @property
    def _running(self) -> Callable[[], Any]: ...
    @property
    def _task_of(self) -> Callable[[Any], object]: ...
    def _flow_out(self, lane: int | None = None) -> int: ...
    def _flow_in(self, flow: int, lane: int | None = None) -> None: ...
    def _around(self, function: F, name: str, args: Args) -> F: ...


class _Block(AsyncWith):
    """What spans on threads and in tasks have in common."""

    __slots__ = ("args", "name", "tracer")

    args: Args | None
    name: str
    tracer: Recorder

    def set(self, /, **args: Any) -> None:
        """Adds arguments, as a count that is known at the block's end.

        Within the block only: after it the object may be that of the next block of its name on this thread,
        which would have them.
        """
        self.args = {**(self.args or {}), **args}

    def __call__(self, function: F) -> F:
        return self.tracer._around(function, self.name, self.args or {})


class Span(_Block):
    """A block on one thread; what ``trace_scope`` gives outside of event loops.

    It is for one block. One that is kept and entered again, or by another thread, lets a new one take part.
    """

    __slots__ = ("parent", "start", "track")

    def __init__(self, name: str, track: Track, tracer: Recorder) -> None:
        self.name = name
        self.track = track
        self.tracer = tracer
        self.args: Args | None = None
        self.parent: Span | None = None
        # When its block began; -1: not yet, 0: it has ended, and the object may be used again. One field and
        # numbers, since each access would be seen in what a span costs.
        self.start = -1

    def __enter__(self) -> AnySpan:
        if self.start != -1:
            return self._enter_again()
        track = self.track
        self.parent = track.current
        track.current = self
        self.start = perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end = perf_counter_ns()
        track = self.track
        if track.current is self and kind is None:
            track.current = self.parent
            track.append((self.name, track.tid, self.start, end, self.args))
            self.start = 0
        else:
            self._leave(end, kind, error)

    def _enter_again(self) -> AnySpan:
        tracer = self.tracer
        if self.track.spans.get(self.name) is self:
            del self.track.spans[self.name]  # it is kept, so that nobody else may have it
        self.track = tracer._nowhere  # whoever is in it already finds it by its own thread
        stand_in: AnySpan = tracer.trace_scope(self.name, **(self.args or {}))
        tracer._local.again.append((self, stand_in, _current_task()))
        return stand_in.__enter__()

    def _leave(self, end: int, kind: type[BaseException] | None, error: BaseException | None) -> None:
        """Ends by an exception, or while a span that began later is open, or is not entered at all."""
        local = self.tracer._local
        for i in reversed(range(len(local.again))):
            entered, stand_in, task = local.again[i]
            if entered is self and task is _current_task():
                del local.again[i]
                return stand_in.__exit__(kind, error, None)
        if kind is not None and kind is not GeneratorExit:
            self.set(exception=described(kind, error))
        for track in (local.track, self.track):
            if track.current is self:
                track.current = self.parent
                track.append((self.name, track.tid, self.start, end, self.args))
                return None
            later = track.current
            for _ in range(_DEEPEST):
                if later is None or later.parent is self:
                    break
                later = later.parent
            if later is not None and later.parent is self:
                later.parent = self.parent
                # Blocks that overlap cannot be drawn on one thread.
                lane = (self.name, None, track.tid, self.start, end, self.args, active_step())
                track.append((ASYNC, lane))
                return None
        return None

    def flow_out(self) -> int:
        """Begins an arrow at this moment of the block; returns its id, to be carried to where it ends."""
        return self.tracer._flow_out()

    def flow_in(self, flow: int) -> None:
        """Ends an arrow here that began where :meth:`flow_out` gave this id, in any process of the run.

        Args:
            flow: the id, also as NumPy, a table or JAX makes it of one; 0, None and NaN are none.

        Raises:
            RecordError: it is something else; also while tracing is off.
        """
        self.tracer._flow_in(flow)


class TaskSpan(_Block):
    """A block that shares its thread with others: in an asyncio task, or a generator's life.

    Drawn in a lane: spans of one task are nested in it, and one that has a lane of its own gives it back. A
    context may hold one that has ended, and then means the innermost one around that has not: so one context
    variable is set for each block, and none set back.
    """

    __slots__ = (
        "_loop", "_owns_lane", "lane", "parent", "start", "step", "task", "track",
    )  # fmt: skip

    def __init__(self, name: str, args: Args, tracer: Recorder, loop: object, track: Track) -> None:
        self.name = name
        self.args: Args | None = args or None
        self.tracer = tracer
        self._loop = loop
        self.track = track
        self.lane = -1  # while it is not open
        self.task: object = None
        self.parent: TaskSpan | None = None

    @classmethod
    def alone(cls, name: str, args: Args, tracer: Recorder) -> TaskSpan:
        """One that is in no task, and has none within it."""
        made = cls(name, args, tracer, None, tracer._nowhere)
        made.task = made
        return made

    def __enter__(self) -> TaskSpan:
        if self.lane >= 0:
            raise RecordError(f"trace_scope({self.name!r}) is entered already; make one for each block")
        tracer = self.tracer
        track = tracer._local.track
        self._owns_lane = True
        if self.task is not self:
            # Asking for the loop costs a system call on Python 3.11.
            loop = self._loop if track is self.track else tracer._running()
            self.task = task = None if loop is None else tracer._task_of(loop)
            parent = TASK_SPAN.get()
            while parent is not None and parent.lane < 0:
                parent = parent.parent
            TASK_SPAN.set(self)
            self.parent = parent
            if parent is not None and parent.task is task:
                self._owns_lane = False
                self.lane = parent.lane
        if self._owns_lane:
            self.lane = tracer._lanes.take()
        step = ACTIVE.get()
        self.step = process_step() if step is None else step
        self.track = track
        tracer._open_tasks[self] = None
        self.start = perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end = perf_counter_ns()
        lane = self.lane
        if lane < 0:  # it has been left before
            return
        if kind is not None and kind is not GeneratorExit:
            self.set(exception=described(kind, error))
        tracer, track = self.tracer, self.track
        tracer._open_tasks.pop(self, None)
        track.append((ASYNC, (self.name, lane, track.tid, self.start, end, self.args, self.step)))
        self.lane = -1
        self.task = None
        parent = self.parent
        while parent is not None and parent.lane < 0:  # so that no chain of those that have ended grows
            parent = parent.parent
        self.parent = parent
        if self._owns_lane:
            tracer._lanes.give_back(lane)

    def flow_out(self) -> int:
        """As :meth:`Span.flow_out`."""
        return self.tracer._flow_out(self.lane)

    def flow_in(self, flow: int) -> None:
        """As :meth:`Span.flow_in`."""
        self.tracer._flow_in(flow, self.lane)


class AnnotatedSpan(Span):
    """A span that stands in the profiler's trace too."""

    __slots__ = ("_annotation",)

    def __init__(
        self,
        name: str,
        track: Track,
        tracer: Recorder,
        annotation: Callable[[str], AbstractContextManager[Any]],
    ) -> None:
        super().__init__(name, track, tracer)
        self._annotation: AbstractContextManager[Any] = annotation(name)

    def __enter__(self) -> AnySpan:
        self._annotation.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._annotation.__exit__(kind, error, trace)


class OffSpan:
    """What ``trace_scope`` gives when tracing is off; one object for all."""

    __slots__ = ()

    def __enter__(self) -> OffSpan:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    async def __aenter__(self) -> OffSpan:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def set(self, /, **_: Any) -> None:
        return None

    def flow_out(self) -> int:
        return 0

    def flow_in(self, flow: int) -> None:
        checked_flow(flow)  # what is an error is one also where nothing is recorded

    def __call__(self, function: F) -> F:
        return function


class DisabledSpan(OffSpan):
    """What it gives under ``SIGHTLINE_DISABLED=1``, where no call of this package does anything."""

    __slots__ = ()

    def flow_in(self, flow: int) -> None:
        return None


OFF_SPAN = OffSpan()
DISABLED_SPAN = DisabledSpan()
AnySpan = Span | TaskSpan | OffSpan


class Lanes:
    """Numbers of lanes, the lowest free one first. Each step is one of C's, so no lock is needed."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._next = itertools.count(1)

    def take(self) -> int:
        try:
            return heapq.heappop(self._free) if self._free else next(self._next)
        except IndexError:  # another thread has taken the last one
            return next(self._next)

    def give_back(self, lane: int) -> None:
        heapq.heappush(self._free, lane)


def checked_flow(flow: Any) -> int:
    """The id of an arrow; 0 if there is none to draw, or its device has yet to compute it.

    Raises:
        RecordError: ``flow_out`` has never given that.
    """
    if is_missing(flow):
        return 0
    found = whole(flow)
    if found is NOT_YET:
        return 0
    if found is None or not 0 <= found < 2**63:
        raise RecordError(f"flow_in({flow!r:.200}): expected what flow_out() gave")
    return int(found)


def described(kind: type[BaseException], error: BaseException | None) -> str:
    """An exception in one line."""
    try:
        return f"{kind.__name__}: {error}"[:1000]
    except Exception:  # noqa: BLE001 - its __str__ is a user's
        return kind.__name__


def _current_task() -> object:
    """The asyncio task that runs here, for comparing; None if none does."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


#: The innermost span of a task, also where its context was taken along; it may have ended (see above).
TASK_SPAN: ContextVar[TaskSpan | None] = ContextVar("sightline_span", default=None)
