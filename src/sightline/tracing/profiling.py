"""JAX's profiler for chosen steps, without holding training while the profile is written.

While a profile runs, spans are annotations in it too. Which steps: those of the configuration, and the next
ones after somebody has written the file ``profile`` in the run directory (``echo 2 > RUN_DIR/profile``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sightline.files.process_files import ProcessFiles
from sightline.tracing.perf_tracer import TRACER

log = logging.getLogger("sightline")

REQUEST = "profile"  #: the file that asks for a profile now; how many steps may stand in it
_MOST_STEPS = 100


class Profiling:
    """Starts and stops the profiler around steps. Used by the thread that runs the loop.

    A profile is in ``profiles/p00003.a01.s000010`` of the run directory, as TensorBoard and XProf read it.

    Args:
        files: of the process; a request is looked for on their thread.
        steps: those to profile.
        processes: those that profile; None: all.
        host_level: the profiler's ``host_tracer_level``: 1 has our annotations, 2 (JAX's default) also what
            XLA does on the host.
    """

    def __init__(
        self, files: ProcessFiles, steps: Sequence[int], processes: Sequence[int] | None, host_level: int = 2
    ) -> None:
        self._files = files
        self._steps = frozenset(steps)
        self._is_chosen = processes is None or files.process in processes
        self._host_level = host_level
        self._asked = 0  # steps that a request asks for
        self._left = 0  # steps until the profile ends; 0: there is none
        self._seen: int | None = None  # when the request was written
        self._writing: threading.Thread | None = None
        if self._is_chosen:
            files.chores.append(self._look_for_request)

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around each step of the loop."""
        if not self._is_chosen or not (self._left or self._asked or number in self._steps):
            yield
            return
        if not self._left:
            self._start(number)
        if not self._left:
            yield
            return
        import jax

        with jax.profiler.StepTraceAnnotation("step", step_num=number):
            yield
        self._left -= 1
        if not self._left and number + 1 in self._steps:
            self._left = 1  # neighbours are one profile
        if not self._left:
            self._stop()

    def close(self, timeout: float) -> bool:
        """Ends a profile that runs, and waits until it is written; returns whether it was, in time."""
        if self._look_for_request in self._files.chores:
            self._files.chores.remove(self._look_for_request)
        if self._left:
            self._left = 0
            self._stop()
        if self._writing is not None:
            self._writing.join(timeout)
            return not self._writing.is_alive()
        return True

    def _start(self, number: int) -> None:
        asked, self._asked = self._asked, 0
        place = self._files.place
        if place is None or (self._writing is not None and self._writing.is_alive()):
            return log.warning(
                "sightline: step %d is not profiled: the last profile is still written", number
            )
        name = f"p{self._files.process:05d}.a{place.attempt:02d}.s{number:06d}"
        folder = place.dir / "profiles" / name
        try:
            import jax

            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # a span of every Python call: slow, and not what is asked
            options.host_tracer_level = self._host_level
            jax.profiler.start_trace(folder, profiler_options=options)
        except Exception as error:  # noqa: BLE001 - another profile may run, or JAX may not be there
            return log.warning("sightline: step %d is not profiled: %s", number, error)
        self._left = max(asked, 1)
        TRACER._annotate(jax.profiler.TraceAnnotation)
        TRACER.instant("profile begins", category="profile", folder=f"profiles/{name}", steps=self._left)
        return None

    def _stop(self) -> None:
        TRACER._annotate(None)
        TRACER.instant("profile ends", category="profile")
        # Collecting ends at once; writing it takes seconds to minutes, for which training need not wait.
        self._writing = threading.Thread(target=self._write, name="sightline-profile", daemon=True)
        self._writing.start()

    def _write(self) -> None:
        import jax

        try:
            jax.profiler.stop_trace()  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - a full disk, or somebody has stopped it already
            log.warning("sightline: the profile could not be written: %s", error)

    def _look_for_request(self) -> None:
        place = self._files.place
        if place is None:
            return
        path = Path(place.dir, REQUEST)
        try:
            written = path.stat().st_mtime_ns
        except OSError:
            self._seen = self._seen or 0
            return
        if self._seen is None:  # an earlier attempt's
            self._seen = written
        elif written != self._seen:
            self._seen = written
            self._asked = _steps_in(path)


def _steps_in(path: Path) -> int:
    try:
        return min(max(int(path.read_text()[:20] or 1), 1), _MOST_STEPS)
    except (OSError, ValueError):
        return 1
