"""Spans, instants, counters and flows: what a process does when, on its threads and in its asyncio tasks.

Recording is two readings of the clock and an append. :mod:`sightline.tracing.trace_writer` empties the
buffer, on a thread of its own.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from types import BuiltinFunctionType
from typing import Any, Literal, TypeVar

from sightline.errors import RecordError
from sightline.recording.step import active_step, listeners, process_step
from sightline.support.decorating import around, around_generator, decorated, is_generator
from sightline.tracing.spans import (
    ASYNC,
    COUNTER,
    DISABLED_SPAN,
    FLOW,
    INSTANT,
    OFF_SPAN,
    STEP,
    TASK_SPAN,
    THREAD,
    AnnotatedSpan,
    AnySpan,
    Args,
    Ending,
    Lanes,
    OffSpan,
    OpenSpan,
    Record,
    Span,
    TaskSpan,
    Track,
    checked_flow,
    shared_name,
)

F = TypeVar("F", bound=Callable[..., Any])

_BEFORE = 4096  # records that are kept while nobody writes
_LATE_NS = 1_000_000_000
_NAMES = 1000  # span objects that a thread keeps
_FREE = 256  # numbers of threads that have gone, beyond which the oldest goes to any other thread
_MAIN = 1  # the number of the main thread
_ON, _OFF, _ANNOTATING = 0, 1, 2
# In the place of asyncio's own function, until it is loaded: gives None, as quickly as can be, and from then
# on a module. Asyncio loads this one when those that loops need are whole.
_WITHOUT_ASYNCIO = partial(sys.modules.get, "asyncio.runners")
_PROCESS = 0  # in the place of a thread: whatever thread has no step of its own


class PerfTracer:
    """Records what a process does when. ``sl.trace_scope`` and its like act on the process's own.

    Until a run is started the last 4,096 records are kept, so that what a program does before that is in its
    trace. When records come faster than they can be written, for long, a recording thread lets the one that
    writes go first; when even so 260,000 wait, new ones are dropped, and the trace says how many.

    Args:
        enabled: False makes every call do nothing. Default: unless ``SIGHTLINE_DISABLED=1`` is set.

    Example:
        >>> tracer = PerfTracer()
        >>> with tracer.trace_scope("rollout", category="compute", prompts=8) as span:
        ...     with tracer.trace_scope("generate"):
        ...         tracer.current_span()
        ...     span.set(tokens=512)
        'generate'
    """

    def __init__(self, *, enabled: bool | None = None) -> None:
        self.enabled: bool = os.environ.get("SIGHTLINE_DISABLED") != "1" if enabled is None else enabled
        self._mode = _ON if self.enabled else _OFF
        self._before: deque[Record] = deque(maxlen=_BEFORE)
        self._buffer: list[Record] = []
        self._append: Callable[[Record], object] = self._before.append
        self._drops = itertools.count()
        self._dropped = 0
        self._lock = threading.RLock()
        self._tracks: weakref.WeakSet[Track] = weakref.WeakSet()
        self._tids = itertools.count(_MAIN + 1)
        self._free: list[tuple[str, int]] = []  # numbers of threads that have gone
        self._lanes = Lanes()
        self._open_tasks: dict[TaskSpan, None] = {}
        self._flows = _flow_ids()
        self._nowhere = Track(0, self._before.append)
        self._writers = 0
        self._running: Callable[[], object] = _WITHOUT_ASYNCIO
        self._task_of: Callable[[Any], object] = _no_task
        self._annotation: Any = None
        self._ready = threading.local()  # read faster than one of a class of its own
        self._local = _Local(self)
        self.trace_scope, self._switch = _trace_scope_of(self)
        _tracers.add(self)

    # --- recording -----------------------------------------------------------------------------------------

    def instant(self, name: str, /, *, category: str | None = None, **args: Any) -> None:
        """Marks a moment on this thread.

        Args:
            name: what has happened.
            category: as for ``trace_scope``.
            args: whatever helps to read it.

        Example:
            >>> import sightline as sl
            >>> sl.instant("weights are there", version=7)
        """
        if self._mode != _OFF:
            _checked(name, "instant")
            if category is not None:
                args["category"] = category
            track = self._local.track
            track.append((INSTANT, (name, track.tid, perf_counter_ns(), args)))

    def counter(self, name: str, value: float | None = None, /, **series: float) -> None:
        """Records the value of something that changes, to be drawn as a curve.

        Args:
            name: of the curve.
            value: its value now, a number of Python, NumPy or JAX, which is not waited for; or
            series: several that are drawn in one place.

        What is no finite number (or an int of more than 64 bits) is not drawn, and is counted in the file
        among the events that were dropped.

        Example:
            >>> import sightline as sl
            >>> sl.counter("free pages", 4096)
            >>> sl.counter("queue", waiting=3, running=8)
        """
        if self._mode != _OFF:
            _checked(name, "counter")
            if value is not None:
                series["value"] = value
            self._local.track.append((COUNTER, (name, perf_counter_ns(), series)))

    def add_span(
        self, name: str, start: int, end: int, *, lane: bool = False, step: int | None = None, **args: Any
    ) -> None:
        """Records a span that somebody else has timed.

        Args:
            name: what it was.
            start, end: on ``time.perf_counter_ns``.
            lane: it may overlap other spans of this thread, so that it needs a place of its own.
            step: in a lane, the step that it belongs to; None: the active one.
            args: as for ``trace_scope``.
        """
        if self._mode == _OFF:
            return
        track = self._local.track
        if lane:
            step = active_step() if step is None else step
            track.append((ASYNC, (name, None, track.tid, start, end, args or None, step)))
        else:
            track.append((name, track.tid, start, end, args or None))

    def current_span(self) -> str | None:
        """The name of the innermost open span here, of this thread or task; None if there is none.

        On a thread that an asyncio task has given work with its context, as ``asyncio.to_thread`` does, and
        in a task that runs within a block of its thread, that is the span around, until there is one inside.
        """
        task_span = TASK_SPAN.get()
        while task_span is not None and task_span.lane < 0:  # it has ended: what was made in it may go on
            task_span = task_span.parent
        on_thread = self._local.track.current
        here, around = (task_span, on_thread) if self._is_in_loop() else (on_thread, task_span)
        found = around if here is None else here
        return None if found is None else found.name

    def _note_step(self, number: int | None) -> None:
        """A step begins on this thread or in this task, or, with None, goes back to what it is elsewhere."""
        if self._mode == _OFF:
            return
        track, now = self._local.track, perf_counter_ns()
        everywhere = process_step()
        if not self._is_in_loop():
            track.append((STEP, (track.tid, now, number)))
            if everywhere in (number, None):  # which is said by this, too
                return
        # Spans of tasks know theirs. Threads without a step of their own go by the process's.
        track.append((STEP, (_PROCESS, now, everywhere)))

    # --- for those who write, and look ---------------------------------------------------------------------

    def _begin_writing(self) -> None:
        """From now on nothing is left out: somebody calls :meth:`_take`, several times a second."""
        self._writers += 1
        self._use(self._buffer.append)
        for track in list(self._tracks):
            self._introduce(track)  # again: what came before may have pushed it out

    def _end_writing(self) -> None:
        """One does not any more. If it was the last, what comes is kept for whoever begins again."""
        self._writers = max(self._writers - 1, 0)
        if not self._writers:
            self._use(self._before.append)

    def _take(self, limit: int = 1 << 20) -> list[Record]:
        """Records in the order in which they were made, ``limit`` at most."""
        taken: list[Record] = []
        while self._before:
            taken.append(self._before.popleft())
        new = self._buffer[:limit]
        del self._buffer[: len(new)]
        return taken + new if taken else new

    def _waiting(self) -> int:
        """How many records wait."""
        return len(self._buffer) + len(self._before)

    def _hold_back(self, how: Literal["no", "yield", "drop"]) -> None:
        """What becomes of new records while many wait: nothing, the thread lets the one that writes go first,
        or they are dropped."""
        self._use({"no": self._buffer.append, "yield": self._yield, "drop": self._drop}[how])

    def _take_dropped(self) -> int:
        """How many records have been dropped since the last call."""
        so_far = next(self._drops)  # counts this call too
        dropped, self._dropped = so_far - self._dropped, so_far + 1
        return dropped

    def _open_spans(
        self, native_id: int | None = None, *, tasks: tuple[int, int] = (0, 1 << 63)
    ) -> list[OpenSpan]:
        """The spans that have not ended, the outer ones of a thread first. From any thread.

        Args:
            native_id: only those of this thread and its tasks (``threading.Thread.native_id``); None: all.
            tasks: of asynchronous ones, which may be many, those that began from the one moment to before the
                other, on ``perf_counter_ns``; some that began earlier may be among them.
        """
        found: list[OpenSpan] = []
        with self._lock:
            tracks = [each for each in self._tracks if native_id in (None, each.native_id)]
        for track in tracks:
            chain: list[OpenSpan] = []
            span = track.current
            while span is not None and len(chain) < 1000:
                start = span.start if span.start > 0 else perf_counter_ns()  # it is just being entered
                chain.append(OpenSpan(track.tid, None, span.name, start, span.args))
                span = span.parent
            found += reversed(chain)
        since, before = tasks
        in_lanes: list[OpenSpan] = []
        for each in reversed(list(self._open_tasks)):  # the latest first
            began: int | None = getattr(each, "start", None)
            if began is None or began >= before:  # None: it is just being entered
                continue
            # A thread may have been interrupted between taking its place here and reading the clock.
            if began < since - _LATE_NS:
                break
            if native_id is None or each.track in tracks:
                args = each.args if each.step is None else {"step": each.step, **(each.args or {})}
                in_lanes.append(OpenSpan(None, each.lane, each.name, began, args))
        return found + in_lanes[::-1]

    def _turn(self, on: bool) -> None:
        """Switches recording on or off; not off while a run of this process is traced."""
        if not on and self._writers:
            return
        self._set_mode(_ON if on and self.enabled else _OFF)
        if not on:
            self._before.clear()
            self._buffer.clear()

    def _annotate(self, annotation: Any) -> None:
        """While a profile runs: every span is an annotation of the profiler's too.

        Args:
            annotation: makes a context manager of a name, as ``jax.profiler.TraceAnnotation``; None ends it.
        """
        self._annotation = annotation
        if self._mode != _OFF:
            self._set_mode(_ON if annotation is None else _ANNOTATING)

    # --- inside --------------------------------------------------------------------------------------------

    def _set_mode(self, mode: int) -> None:
        self._mode = mode
        self._switch(mode, self._running)

    def _annotated(self, name: str, args: Args) -> AnySpan:
        """While a profile runs."""
        loop = self._running()
        if loop is not None:
            return self._of_task(name, args, loop)
        span = AnnotatedSpan(_checked(name), self._local.track, self, self._annotation)
        span.args = args or None
        return span

    def _of_task(self, name: str, args: Args, loop: object) -> AnySpan:
        if self._running is _WITHOUT_ASYNCIO:  # it has just been loaded, and may run elsewhere
            self._notice_asyncio()
            made: AnySpan = self.trace_scope(name, **args)
            return made
        return TaskSpan(
            name if name.__class__ is str else _checked(name), args, self, loop, self._local.track
        )

    def _around(self, function: F, name: str, args: Args) -> F:
        """A function with a span around each call; around the life of what a generator function gives."""
        if not self.enabled:
            return function

        def wrap(plain: Callable[..., Any]) -> Callable[..., Any]:
            if is_generator(plain):
                return around_generator(plain, lambda *_: self._life(name, args), lambda _: plain)
            return around(plain, lambda: self.trace_scope(name, **args))

        return decorated(function, wrap)

    def _life(self, name: str, args: Args) -> TaskSpan | OffSpan:
        return OFF_SPAN if self._mode == _OFF else TaskSpan.alone(name, args, self)

    def _flow_out(self, lane: int | None = None) -> int:
        flow = next(self._flows)
        self._flow("s", flow, lane)
        return flow

    def _flow_in(self, flow: int, lane: int | None = None) -> None:
        if found := checked_flow(flow):  # 0 comes from where tracing is off
            self._flow("f", found, lane)

    def _flow(self, phase: str, flow: int, lane: int | None) -> None:
        track = self._local.track
        track.append((FLOW, (phase, flow, track.tid, lane, perf_counter_ns())))

    def _new_track(self) -> Track:
        with self._lock:
            track = Track(self._number(), self._append)
            self._tracks.add(track)
        if self._mode != _OFF:
            self._introduce(track)
        return track

    def _number(self) -> int:
        """A number for this thread: its own, or that of one that has gone and was called alike."""
        thread = threading.current_thread()
        if thread is threading.main_thread():
            return _MAIN
        found = 0 if len(self._free) > _FREE else None
        for place, (name, _) in enumerate(self._free):
            if name == thread.name:
                found = place
                break
            if not found and shared_name(name, thread.name) is not None:
                found = place
        return next(self._tids) if found is None else self._free.pop(found)[1]

    def _introduce(self, track: Track) -> None:
        track.append((THREAD, (track.tid, track.name, track.native_id)))

    def _use(self, append: Callable[[Record], object]) -> None:
        with self._lock:
            self._append = append
            for track in list(self._tracks):
                track.append = append

    def _yield(self, record: Record) -> None:
        self._buffer.append(record)
        time.sleep(0)  # hands over the interpreter's lock

    def _drop(self, record: Record) -> None:
        if record[0] is THREAD or record[0] is STEP:
            self._buffer.append(record)
        else:
            next(self._drops)

    def _is_in_loop(self) -> bool:
        """Whether an event loop runs on this thread."""
        if self._running() is None:
            return False
        if self._running is _WITHOUT_ASYNCIO:
            self._notice_asyncio()
        return self._running() is not None

    def _notice_asyncio(self) -> None:
        if _WITHOUT_ASYNCIO() is not None:
            current = sys.modules["asyncio.tasks"].current_task
            if not isinstance(current, BuiltinFunctionType):  # up to Python 3.11, where a dict is quicker
                current = sys.modules["asyncio.tasks"]._current_tasks.get
            self._task_of = current
            self._running = sys.modules["asyncio.events"]._get_running_loop
            self._switch(self._mode, self._running)

    def _forget_all(self) -> None:
        """In a forked child: the trace is the parent's; a run of the child's own switches it on again."""
        self._lock = threading.RLock()
        self._writers = 0
        self._turn(False)
        self._append = self._before.append
        self._tracks = weakref.WeakSet()
        self._free = []
        self._lanes = Lanes()
        self._open_tasks.clear()
        self._flows = _flow_ids()
        self._local.renew(self)


class _Local(threading.local):
    """What belongs to a thread."""

    def __init__(self, tracer: PerfTracer) -> None:
        self.renew(tracer)

    def renew(self, tracer: PerfTracer) -> None:
        self.track = tracer._new_track()
        self.ending = Ending(self.track, tracer._free)
        tracer._ready.spans = self.track.spans
        # Spans that were entered again, what takes part for them, and in which task.
        self.again: list[tuple[Span, AnySpan, object]] = []


def _trace_scope_of(tracer: PerfTracer) -> tuple[Callable[..., Any], Callable[[int, Any], None]]:
    """The tracer's call, and what tells it the tracer's mode and how to ask for an event loop: the variables
    of a closure are read faster than attributes."""
    local, ready = tracer._local, tracer._ready
    mode, running = tracer._mode, tracer._running
    off = OFF_SPAN if tracer.enabled else DISABLED_SPAN

    def switch(new_mode: int, new_running: Callable[[], object]) -> None:
        nonlocal mode, running
        mode, running = new_mode, new_running

    def trace_scope(name: str, /, **args: Any) -> AnySpan:
        """A span: a block, or a function, as it is drawn in the trace.

        A context manager (``with`` and ``async with``, for one block) and a decorator for functions,
        coroutines, generators and async generators; a generator is one span from its first item to its end.
        An exception is noted. Step, process and thread are known without being said.

        Args:
            name: what is done, one of few.
            category: of which kind it is: ``"compute"``, ``"comm"``, ``"io"``, ``"sync"``, ``"data"``, …
            args: what helps to read it: numbers, strings, small containers. They are turned into text later
                on, so what they hold must not change. Of arrays shape and dtype are shown.

        Returns:
            The span; in the block it may ``set(tokens=…)`` more arguments, and draw arrows with
            ``flow_out()`` and ``flow_in(id)``. After it the object may be another block's.

        Example:
            >>> import sightline as sl
            >>> with sl.trace_scope("rollout", category="compute", prompts=8) as span:
            ...     span.set(tokens=512)
        """
        if mode:
            return off if mode == _OFF else tracer._annotated(name, args)
        loop = running()
        if loop is not None:
            return tracer._of_task(name, args, loop)
        try:
            span: Span = ready.spans[name]
            if span.start:
                span = _new_span(name, local.track, tracer)
        except (AttributeError, KeyError, TypeError):  # a new thread; none of this name yet; no name
            span = _new_span(name, local.track, tracer)
        span.start = -1
        span.args = args or None
        return span

    return trace_scope, switch


def _new_span(name: str, track: Track, tracer: PerfTracer) -> Span:
    if len(track.spans) >= _NAMES:
        track.spans.clear()
    span = track.spans[name] = Span(_checked(name), track, tracer)
    return span


def _checked(name: Any, call: str = "trace_scope") -> str:
    if not isinstance(name, str):
        raise RecordError(f"{call}({name!r}): expected a name, got {type(name).__name__}")
    return name


def _no_task(loop: object) -> None:
    return None


def _flow_ids() -> itertools.count[int]:
    return itertools.count(int.from_bytes(os.urandom(4), "big") << 20)


_tracers: weakref.WeakSet[PerfTracer] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for tracer in list(_tracers):
        tracer._forget_all()


os.register_at_fork(after_in_child=_after_fork_in_child)

#: The process's own.
TRACER = PerfTracer()
listeners.append(TRACER._note_step)
