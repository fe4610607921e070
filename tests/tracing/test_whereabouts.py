"""Where a process is: its main thread's spans and lines, seen from another thread."""

import asyncio
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.whereabouts import Whereabouts, look, told


def seen_while(run: Callable[[Callable[[], Whereabouts]], Any], tracer: PerfTracer) -> Any:
    """Calls ``run(see)`` here; ``see()`` looks from another thread."""

    def see() -> Whereabouts:
        found: queue.SimpleQueue[Whereabouts] = queue.SimpleQueue()

        def wait_and_look() -> None:  # until this thread waits for it
            while "found.get" not in (where := look(tracer)).stack:
                pass
            found.put(where)

        threading.Thread(target=wait_and_look).start()
        return found.get(timeout=60)

    return run(see)


def test_the_innermost_span_and_line() -> None:
    """The line is the innermost that is no library's; what the library does is said beside it."""
    tracer = PerfTracer(enabled=True)

    def run(see: Callable[[], Whereabouts]) -> Whereabouts:
        with tracer.trace_scope("step"), tracer.trace_scope("rollout"), tracer.trace_scope("reward"):
            return see()

    where = seen_while(run, tracer)
    assert where.span == "reward"
    assert [name for name, _ in where.spans] == ["step", "rollout", "reward"]
    assert where.spans[0][1] >= where.spans[2][1] == where.span_s > 0
    assert where.at.startswith("tests/tracing/test_whereabouts.py:")
    assert where.at.endswith(" in see")
    assert where.stack.startswith("thread MainThread:\n")
    assert "found.get" in where.stack
    assert where.stack in where.stacks
    assert orjson.loads(orjson.dumps(where.plain()))["span"] == "reward"


def test_spans_of_other_threads_are_theirs() -> None:
    tracer = PerfTracer(enabled=True)
    ready, go = threading.Event(), threading.Event()

    def other() -> None:
        with tracer.trace_scope("loading"):
            ready.set()
            go.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(60)
    where = seen_while(lambda see: see(), tracer)
    go.set()
    thread.join()
    assert (where.span, where.spans) == (None, ())
    assert "span" not in where.plain()


def test_tasks_are_told_where_the_thread_has_nothing_better() -> None:
    """The one that has been open longest, by its innermost span; a block around the loop says more."""
    tracer = PerfTracer(enabled=True)

    async def one(see: Callable[[], Whereabouts] | None, entered: asyncio.Event, left: asyncio.Event) -> Any:
        async with tracer.trace_scope("session"), tracer.trace_scope("tool" if see is None else "generate"):
            entered.set()
            if see is None:
                return await left.wait()
            found = see()
            left.set()
            return found

    async def both(see: Callable[[], Whereabouts]) -> Any:
        first, second, left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        waiting = asyncio.create_task(one(None, first, left))
        await first.wait()
        found = await one(see, second, left)
        await waiting
        return found

    def run(see: Callable[[], Whereabouts], name: str) -> Any:
        with tracer.trace_scope(name):
            return asyncio.run(both(see))

    tracer._begin_writing()  # from then on it knows of event loops
    assert seen_while(lambda see: run(see, "step"), tracer).span == "tool"
    assert seen_while(lambda see: run(see, "rollout"), tracer).span == "rollout"


def test_without_tracing_there_is_the_line(tmp_path: Path) -> None:
    """In a script of somebody's, in whatever folder it lies."""
    script = tmp_path / "code" / "rollout.py"
    script.parent.mkdir()
    script.write_text(
        "import threading, time\n"
        "from sightline.tracing.whereabouts import look, told\n"
        "begun, done = threading.Event(), threading.Event()\n"
        "def report():\n"
        "    begun.wait(60)\n"
        "    while 'score' not in (where := look()).at or not where.inside: time.sleep(0.01)\n"
        "    print(told(2, where.plain())); done.set()\n"
        "def score():\n"
        "    begun.set(); done.wait(60)\n"
        "threading.Thread(target=report).start(); score()\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("process 2 is at code/rollout.py:9 in score, in threading.py:")


def test_endless_recursion_does_not_make_an_endless_post() -> None:
    def deep(see: Callable[[], Whereabouts], left: int) -> Whereabouts:
        return deep(see, left - 1) if left % 2 else (deep(see, left - 1) if left > 0 else see())

    where = seen_while(lambda see: deep(see, 700), PerfTracer(enabled=True))
    assert len(where.stack) < 20_000
    assert " in see" in where.at


def test_what_another_version_leaves_out_is_not_missed() -> None:
    assert told(1, {}) == "process 1 is at an unknown place"


def test_stacks_are_for_the_files_and_not_for_the_console(tmp_path: Path) -> None:
    """Where the console is sightline's own: the sentence is on it, the stacks are in the process's log."""
    code = (
        "import threading, sightline as sl\n"
        "from sightline.posting.poster import stalled\n"
        "with sl.start('runs', sinks=[]):\n"
        "    thread = threading.Thread(target=stalled, args=(0, (7, 0), 11.0))\n"
        "    thread.start(); thread.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert "no commit for 11 s, since step 7: process 0 is at" in done.stderr
    assert "thread MainThread" not in done.stderr
    (log,) = (path for path in tmp_path.glob("runs/*/logs/*.log") if not path.parents[1].is_symlink())
    assert "thread MainThread" in log.read_text()
    assert "sightline_for_files" not in log.read_text()
