"""What JAX says of itself while it runs: compilations, its persistent compilation cache, device memory.

JAX calls its listeners on the thread that compiles, in the middle of ``jit``. So a listener here appends one
tuple to a deque, which takes no lock, and all the rest is done at the next commit.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from sightline.errors import ConfigurationError
from sightline.jax.memory import watch_memory
from sightline.recording.monitors import Monitor
from sightline.recording.sampling import Recorder, add_sampler
from sightline.recording.step import active_step

log = logging.getLogger("sightline")

_COMPILED = "/jax/core/compile/backend_compile_duration"
_STAGES = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    _COMPILED,
)
_CACHE_ASKED = "/jax/compilation_cache/compile_requests_use_cache"
_CACHE_HIT = "/jax/compilation_cache/cache_hits"
_OURS = "sightline_"  # how the functions that sightline itself compiles are named
_AT_MOST = 1 << 16  # events between two commits; a process that never commits keeps the latest


class _Stage(NamedTuple):
    """A function has been traced, lowered or compiled."""

    event: str
    function: str
    start: float  # perf_counter
    end: float
    step: int | None


class JaxMonitor(Monitor):
    """Listens to JAX from :func:`monitor` on until it is stopped; a context manager.

    Args:
        tracker: who records; None: the tracker that is being committed.
        warmup_steps: commits after which a function that is compiled again is reported.
    """

    def __init__(self, tracker: Recorder | None, warmup_steps: int) -> None:
        super().__init__(tracker)
        self._warmup_steps = warmup_steps
        self._stages: deque[_Stage] = deque(maxlen=_AT_MOST)
        self._cache_events: deque[str] = deque(maxlen=_AT_MOST)
        self._trouble: Exception | None = None
        self._commits = 0
        self._again: dict[str, int] = {}  # of each function compiled so far: how often again after warm-up

    def _start(self) -> list[Callable[[], None]]:
        try:
            from jax import monitoring
        except ImportError as error:
            raise ConfigurationError(
                f"sl.jax.monitor() needs JAX ({error}): pip install 'sightline[jax]'"
            ) from None
        monitoring.register_event_duration_secs_listener(self._on_duration)
        monitoring.register_event_listener(self._on_event)
        return [
            partial(_unregister, monitoring.unregister_event_duration_listener, self._on_duration),
            partial(_unregister, monitoring.unregister_event_listener, self._on_event),
            add_sampler(self._sample_compilations, in_children=True),
            watch_memory(self._tracker),
        ]

    def _renew(self) -> None:
        self._stages.clear()
        self._cache_events.clear()

    # --- inside jit ----------------------------------------------------------------------------------------

    def _on_duration(self, event: str, duration_secs: float, **said: Any) -> None:
        try:
            if event in _STAGES:
                end = time.perf_counter()
                function = str(said.get("fun_name", "a function"))
                self._stages.append(_Stage(event, function, end - duration_secs, end, active_step()))
        except Exception as error:  # noqa: BLE001 - it would go into the user's jit
            self._trouble = error

    def _on_event(self, event: str, **said: Any) -> None:
        try:
            if event in (_CACHE_ASKED, _CACHE_HIT):
                self._cache_events.append(event)
        except Exception as error:  # noqa: BLE001 - the same
            self._trouble = error

    # --- at a commit ---------------------------------------------------------------------------------------

    def _sample_compilations(self, committed: Recorder) -> None:
        import jax

        settings: Any = jax.config
        warm = self._commits >= self._warmup_steps
        self._commits += 1
        stages = _taken(self._stages)
        cache_events = _taken(self._cache_events)
        compiled = recompiled = 0
        seconds: dict[str, float] = {}  # of each function, over its stages
        for stage in stages:
            function = _plain_name(stage.function)
            seconds[function] = seconds.get(function, 0.0) + stage.end - stage.start
            if stage.event == _COMPILED:
                compiled += 1
                recompiled += self._note(function, seconds.pop(function), stage.step, warm)
        tracker = self._tracker or committed
        if tracker.enabled:
            # Sums over the stages would count some time twice: what a function calls is traced within its
            # own trace, and threads compile side by side.
            tracker._add_timing("jax/compile", covered((stage.start, stage.end) for stage in stages))
            tracker.total("jax/compile/count", compiled)
            tracker.total("jax/compile/recompiles", recompiled)
            # JAX asks its cache, in vain, without a directory too. Its own event for misses comes only where
            # an entry is written: on process 0, for what took long to compile.
            if settings.jax_compilation_cache_dir:
                hits = cache_events.count(_CACHE_HIT)
                tracker.total("jax/cache/hits", hits)
                tracker.total("jax/cache/misses", max(0, cache_events.count(_CACHE_ASKED) - hits))
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble  # now that nobody's jit is in the way

    def _note(self, function: str, seconds: float, step: int | None, warm: bool) -> bool:
        """Keeps count of a function's compilations, and says what should not happen after warm-up."""
        if function.startswith(_OURS):
            return False
        known = function in self._again
        times = self._again.setdefault(function, 0) + 1
        if not warm:
            return False
        when = f"after {self._commits - 1} commits" if step is None else f"in step {step}"
        if not known:
            log.info("sightline: %s was compiled for the first time %s (%.2f s)", function, when, seconds)
            return False
        self._again[function] = times
        if times & (times - 1) == 0:  # at the 1st, 2nd, 4th, 8th … time
            log.warning(
                "sightline: %s was compiled again %s (%.2f s; time %d after warm-up): its inputs changed in "
                "shape, dtype, sharding or static arguments, or jit was applied to it anew. "
                "JAX_EXPLAIN_CACHE_MISSES=1 says which",
                function, when, seconds, times,
            )  # fmt: skip
        return True


def monitor(tracker: Recorder | None = None, *, warmup_steps: int = 3) -> JaxMonitor:
    """Has each commit say what JAX compiled since the last, and how much memory the devices use.

    Call it on every process, before the first compilation. A process has one monitor: another call gives the
    one that runs, with the settings it has. No back end is started. At every commit it records, outside all
    scopes:

    - ``time/jax/compile_s`` (with ``_max`` and ``_slowest``, as for any timing): seconds in which the process
      traced, lowered or compiled something, or loaded it from the persistent cache.
    - ``jax/compile/count``: programs compiled or loaded, over all processes.
    - ``jax/compile/recompiles``: those of them, after warm-up, whose function had been compiled before. Such
      a function is named in a warning, at its 1st, 2nd, 4th, 8th … recompilation; a function that is new
      after warm-up is logged with level INFO. Functions go by name, so all lambdas are one.
    - ``jax/cache/hits``, ``jax/cache/misses``: programs that JAX's persistent compilation cache had, or had
      not, over all processes. Left out where no directory is set for it.
    - ``jax/memory/in_use_bytes``, ``jax/memory/peak_bytes``, ``jax/memory/limit_bytes``: ``/mean`` and
      ``/max`` over all devices of all processes; the peak is the device's since the process began.
      ``jax/memory/process_in_use_bytes`` and so on are of the fullest device of each process: their mean, and
      in the journal's ``process_values`` each. Left out where the back end does not say, as on CPUs.

    What sightline itself compiles is in the seconds and the count, and never a recompile.

    Args:
        tracker: who records; None: the tracker that is being committed, which is the default one unless a
            ``StatsLogger`` was given its own.
        warmup_steps: so many commits pass before a recompilation counts as one.

    Returns:
        The monitor: a context manager, with :meth:`~sightline.recording.monitors.Monitor.stop`. It is left
        off where ``SIGHTLINE_DISABLED=1``.

    Raises:
        ConfigurationError: JAX is not installed; ``warmup_steps`` is no int of at least 0.

    Example:
        >>> import sightline as sl
        >>> with sl.jax.monitor(warmup_steps=10) as monitor:
        ...     monitor.running
        True
    """
    if not isinstance(warmup_steps, int) or isinstance(warmup_steps, bool) or warmup_steps < 0:
        raise ConfigurationError(f"monitor(warmup_steps={warmup_steps!r}): expected an int of at least 0")
    made = JaxMonitor(tracker, warmup_steps)
    return made if os.environ.get("SIGHTLINE_DISABLED") == "1" else made.begin()


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the spans (start, end) lasted; they may nest and overlap.

    Example:
        >>> covered([(1.0, 2.0), (0.0, 3.0), (2.5, 4.0), (6.0, 7.0)])
        5.0
    """
    total, until = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _unregister(remove: Callable[[Any], None], listener: Callable[..., None]) -> None:
    try:
        remove(listener)
    except (AssertionError, ValueError):  # somebody has cleared all listeners
        pass


def _taken(heard: deque[Any]) -> list[Any]:
    """What is in a deque, to which other threads may append meanwhile."""
    return [heard.popleft() for _ in range(len(heard))]


def _plain_name(function: str) -> str:
    """``f`` for ``jit(f)``: stages spell one function differently."""
    inside = re.fullmatch(r"\w+\((.+)\)", function)
    return inside[1] if inside else function
