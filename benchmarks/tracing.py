"""What a span costs, on a thread and in an asyncio task, and a million of them."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.pairs import Figure, figure, left_out, seconds
from sightline.files.process_files import Place, ProcessFiles
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.trace_writer import TraceWriter

_MANY = 1_000_000


class Bare:
    """The least that can be called a span: a class with two readings of the clock and an append."""

    __slots__ = ("name", "start")
    spans: ClassVar[list[tuple[str, int, int]]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Bare:
        self.start = time.perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self.spans.append((self.name, self.start, time.perf_counter_ns()))


class Nothing:
    """A no-op behind the same call."""

    _shared: Any = nullcontext()

    def trace_scope(self, name: str, /, **args: Any) -> Any:
        return self._shared


def figures() -> Iterator[Figure]:
    tracer = PerfTracer(enabled=True)
    tracer._begin_writing()

    def bare() -> None:
        with Bare("a"):
            pass

    def span() -> None:
        with tracer.trace_scope("a"):
            pass

    def with_arguments() -> None:
        with tracer.trace_scope("a", n=1, k=2):
            pass

    def emptied(call: Callable[[], None], against: Callable[[], None], times: int = 2000) -> list[float]:
        """Their ratios, with buffers that are emptied as often as in a run."""
        found = []
        for i in range(200):
            pair = (call, against) if i % 2 else (against, call)
            took = {each: seconds(each, times) for each in pair}
            found.append(took[call] / took[against])
            tracer._take()
            Bare.spans.clear()
        return found[20:]

    yield figure("a span / a bare class with two clock readings and an append", emptied(span, bare), 1.4)
    yield figure("  with two arguments, and the current span known", emptied(with_arguments, bare), 2.0)

    async def in_a_task() -> list[float]:
        # In a small heap more of them would measure how memory comes from the system and goes back to it.
        return emptied(span, bare, 500)

    yield figure("a span in an asyncio task / the bare class in the same loop", asyncio.run(in_a_task()), 5.0)
    yield _while_written(bare)
    for what, module, theirs, bar in (
        ("a span / viztracer's log_event", "viztracer", _viztracer, 0.8),
        ("a span / an OpenTelemetry span", "opentelemetry.sdk.trace", _opentelemetry, 0.1),
    ):
        try:
            importlib.import_module(module)
        except ImportError:
            package = module.partition(".trace")[0].replace(".", "-")
            yield left_out(what, bar, f"not measured: pip install {package}")
        else:
            yield figure(what, emptied(span, theirs()), bar)
    off, nothing = PerfTracer(enabled=False), Nothing()

    def switched_off() -> None:
        with off.trace_scope("a"):
            pass

    def no_op() -> None:
        with nothing.trace_scope("a"):
            pass

    yield figure("switched off / a no-op behind the same call", emptied(switched_off, no_op), 1.2)
    yield _million()


def _while_written(bare: Callable[[], None]) -> Figure:
    """As in a run: another thread formats and writes, and takes its turns of the interpreter meanwhile."""
    tracer = PerfTracer(enabled=True)

    def span() -> None:
        with tracer.trace_scope("a"):
            pass

    found = []
    with tempfile.TemporaryDirectory() as folder:
        files = ProcessFiles(lambda: Place(Path(folder), "bench", 1))
        writer = TraceWriter(tracer, files)
        for _ in range(10):
            files.flush(60)
            against = seconds(bare, 100_000)
            Bare.spans.clear()
            found.append(seconds(span, 100_000) / against)
        writer.close(60)
        files.close(60)
    return figure("  100,000 in a row, while the writer thread writes them", found, None)


def _viztracer() -> Callable[[], None]:
    from viztracer import VizTracer

    theirs = VizTracer(verbose=0, tracer_entries=1_000_000, ignore_c_function=True, max_stack_depth=0)
    theirs.enable = True

    def call() -> None:
        with theirs.log_event("a"):
            pass

    return call


def _opentelemetry() -> Callable[[], None]:
    from opentelemetry.sdk.trace import TracerProvider

    theirs = TracerProvider().get_tracer("bench")

    def call() -> None:
        with theirs.start_as_current_span("a"):
            pass

    return call


def _million() -> Figure:
    """A million spans in a loop that does nothing else, all of them in the file."""
    tracer = PerfTracer(enabled=True)
    with tempfile.TemporaryDirectory() as folder:
        files = ProcessFiles(lambda: Place(Path(folder), "bench", 1))
        writer = TraceWriter(tracer, files)
        before = highest = _resident_mb()
        done = threading.Event()

        def watch() -> None:
            nonlocal highest
            while not done.wait(0.02):
                highest = max(highest, _resident_mb())

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(_MANY):
            with tracer.trace_scope("a"):
                pass
        assert writer.close(60)
        assert files.close(60)
        done.set()
        watcher.join()
        (path,) = Path(folder, "traces").iterdir()
        with open(path) as lines:
            written = sum('"ph":"X"' in line for line in lines)
    assert written == _MANY, written
    note = f"{written:,} in the file"
    return figure("1,000,000 spans: memory grows by", [highest - before], 64, " MB", note)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
