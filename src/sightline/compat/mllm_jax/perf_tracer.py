"""How long named parts of a step take, over ``record_timing``: sums for each step, and no timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sightline.tracking import stats_tracker
from sightline.tracking.timing import Timing
from sightline.values.snapshot import Value

F = TypeVar("F", bound=Callable[..., Any])


class PerfTracer:
    """Times blocks and functions in host time; ``export`` gives ``timeperf/<name>`` for a ``commit``.

    Exported are the sum since the last export in each process, its mean over the processes, and beside it
    ``timeperf/<name>_max`` and ``timeperf/<name>_slowest`` (which process).

    Args:
        enabled: False makes all of it do nothing; decorators return the function itself.

    Example:
        >>> tracer = PerfTracer()
        >>> with tracer.trace_scope("rollout"):
        ...     _ = sum(range(1000))
        >>> sorted(tracer.export(reduce=False))
        ['timeperf/rollout', 'timeperf/rollout_max', 'timeperf/rollout_slowest']
    """

    def __init__(self, *, enabled: bool | None = None) -> None:
        self._tracker = stats_tracker.StatsTracker(
            "mllm_jax_perf", timing_key="timeperf/{key}", enabled=enabled
        )

    def trace_scope(self, name: str) -> Timing:
        """Times a block: ``with tracer.trace_scope("rollout"):``."""
        return self._tracker.record_timing(name)

    def trace_perf(self, name: str) -> Callable[[F], F]:
        """Times a function, coroutine or generator: ``@tracer.trace_perf("rollout")``."""
        return self._tracker.record_timing(name)

    def export(self, *, reduce: bool = True) -> dict[str, Value | str]:
        """The timings since the last export; ``reduce`` as in :meth:`StatsTracker.export`."""
        return self._tracker.export(reduce="process" if reduce else "local")


#: The tracer behind the functions below.
default = PerfTracer()


def trace_scope(name: str) -> Timing:
    """Times a block for the default tracer."""
    return default.trace_scope(name)


def trace_perf(name: str) -> Callable[[F], F]:
    """Times a function for the default tracer."""
    return default.trace_perf(name)
