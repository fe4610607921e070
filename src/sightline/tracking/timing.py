"""Timing a block: in host time, or until a device is done."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from sightline.errors import RecordError
from sightline.recording.scoping import COLLECTED
from sightline.support.decorating import around
from sightline.tracing.perf_tracer import TRACER
from sightline.tracing.spans import AnySpan
from sightline.values.host_values import host_only_error

if TYPE_CHECKING:
    from sightline.jax.waiting import DeviceTime, Moment

F = TypeVar("F", bound=Callable[..., Any])


class Timing:
    """What :meth:`StatsTracker.record_timing` gives: a context manager (for one block) and a decorator.

    Args:
        key: what is timed.
        scope: the active scope of the tracker that records it.
        add: takes the key and the time, when the block has ended.
    """

    __slots__ = ("_add", "_key", "_name", "_scope", "_since", "_span", "_start", "_time", "_until")

    def __init__(
        self, key: str, scope: ContextVar[str], add: Callable[[str, float | DeviceTime], None]
    ) -> None:
        self._key = key
        self._scope = scope
        self._add = add
        self._start: int | None = None
        self._since: list[Moment] = []
        self._until: list[Moment] = []
        self._time: float | DeviceTime = 0.0

    @property
    def seconds(self) -> float:
        """The measured time, once the block has ended; with a device's part in it, NaN until it is known."""
        return self._time if isinstance(self._time, float) else self._time.seconds

    def until(self, values: Any) -> None:
        """The time ends when these values have been computed, or when the block does, if that is later.

        Does not wait: a background thread looks, to 1 % of the time or 2 ms. The values may be donated or
        deleted on the next line. The committed time belongs to the step that it was recorded in. Small values
        are best: a program is compiled for each set of shapes.

        A device works off what it is given. If it is still busy with earlier work when the block begins, the
        time includes the rest of that, unless :meth:`since` leaves it out.

        Args:
            values: an array, or a pytree with arrays; host values are there already.

        Raises:
            RecordError: inside a function that JAX traces.

        Example:
            >>> import jax.numpy as jnp, sightline as sl
            >>> tracker = sl.StatsTracker()
            >>> with tracker.record_timing("update") as timing:
            ...     loss = jnp.ones(100).sum()
            ...     timing.until(loss)
            >>> tracker.export(reduce="local")["time/update_s"] > 0
            True
        """
        self._until.append(self._moment("until", values))

    def since(self, values: Any) -> None:
        """The time begins when these values have been computed, or when the block does, if that is later.

        For a loop that runs ahead of its devices: give it what the block's work has to wait for, such as the
        state that the step before has made. Does not wait.

        Args:
            values: as for :meth:`until`.

        Raises:
            RecordError: as :meth:`until`.

        Example:
            >>> import jax.numpy as jnp, sightline as sl
            >>> tracker = sl.StatsTracker()
            >>> state = jnp.ones(100)
            >>> with tracker.record_timing("update") as timing:
            ...     timing.since(state)
            ...     state = state * 2
            ...     timing.until(state)
            >>> tracker.export(reduce="local")["time/update_s"] >= 0
            True
        """
        self._since.append(self._moment("since", values))

    def flow_out(self) -> int:
        """Begins an arrow on the timeline at this moment of the block, which is a span too.

        Returns:
            Its id, for :meth:`flow_in` where what is made here is used, in any process of the run.

        Raises:
            RecordError: outside of the block.

        Example:
            >>> import sightline as sl
            >>> with sl.record_timing("rollout") as timing:
            ...     made = timing.flow_out()
            >>> with sl.record_timing("update") as timing:
            ...     timing.flow_in(made)
        """
        return self._span_of("flow_out").flow_out()

    def flow_in(self, flow: int) -> None:
        """Ends an arrow here that began where :meth:`flow_out` gave this id; 0, None and NaN are none.

        Raises:
            RecordError: outside of the block, or ``flow`` is something else.
        """
        self._span_of("flow_in").flow_in(flow)

    def _span_of(self, call: str) -> AnySpan:
        if self._start is None:
            raise RecordError(f"record_timing({self._key!r}): {call}() belongs inside the block")
        return self._span

    def _moment(self, call: str, values: Any) -> Moment:
        from sightline.jax.waiting import Moment

        if self._start is None:
            raise RecordError(f"record_timing({self._key!r}): {call}() belongs inside the block")
        return Moment(call, values)

    def __enter__(self) -> Timing:
        path = self._scope.get()
        if path[:1] == COLLECTED:
            raise host_only_error("record_timing", self._key)
        self._name = f"{path}/{self._key}" if path else self._key
        self._span: AnySpan = TRACER.trace_scope(self._name)
        self._span.__enter__()
        self._start = perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end = perf_counter_ns()
        self._span.__exit__(kind, error, trace)
        start, self._start = self._start, None
        assert start is not None  # __enter__ has set it
        self._time = (end - start) / 1e9
        if self._since or self._until:
            from sightline.jax.waiting import DeviceTime

            self._time = DeviceTime(self._name, start, end, self._since, self._until)
            self._since, self._until = [], []
        self._add(self._key, self._time)

    def __call__(self, function: F) -> F:
        return around(function, lambda: Timing(self._key, self._scope, self._add))
