"""A function that is collected, around its trace; and statistics on their way from there."""

import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sightline as sl
from sightline import RecordError
from sightline.jax.collecting import active, collect
from sightline.recording.scoping import all_scopes
from tests.jax.collected_functions import (
    exported,
    recording,
)


def test_an_exception_leaves_no_collector_behind() -> None:
    """Scopes are what they were."""

    def f(x: Any) -> None:
        sl.scope("a").__enter__()
        raise KeyError(1)

    with sl.scope("outer"):
        before = [scope.get() for scope in all_scopes()]
        with pytest.raises(KeyError):
            jax.jit(collect(f))(1.0)
        assert [scope.get() for scope in all_scopes()] == before
    assert all(active(scope.get()) is None for scope in all_scopes())


def test_a_record_after_the_function_has_returned() -> None:
    """From a thread that kept its context, say."""
    kept: list[contextvars.Context] = []
    collect(lambda: kept.append(contextvars.copy_context()))()
    with pytest.raises(RecordError, match="had returned"):
        kept[0].run(sl.scalar, "x", jnp.ones(()))


def test_threads_trace_at_the_same_time() -> None:
    """Each has its own collector."""
    found: dict[int, Any] = {}
    start = threading.Barrier(8)

    def work(i: int) -> None:
        def f(x: Any) -> None:
            for j in range(20):
                with sl.scope(f"t{i}"):
                    sl.scalar(f"k{j}", x + j)

        start.wait()
        found[i] = exported(jax.jit(collect(f))(float(i))[1])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        assert {k: v for k, v in found[i].items() if "__count" not in k} == {
            f"t{i}/k{j}": i + j for j in range(20)
        }


def test_no_deprecated_part_of_jax() -> None:
    """Importing it warns of nothing."""
    code = "import warnings; warnings.simplefilter('error'); import sightline.jax.collecting"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})


def test_a_tracker_made_inside_a_collected_function_records_there() -> None:
    """And leaves nothing behind."""
    made: list[sl.StatsTracker] = []

    def body(x: jax.Array) -> jax.Array:
        made.append(sl.StatsTracker())
        made[-1].scalar(x=x)
        return x

    _, stats = jax.jit(sl.collect(body))(jnp.float32(2))
    tracker = sl.StatsTracker()
    tracker.ingest(stats)
    assert tracker.export(reduce="local")["x"] == 2.0
    made[0].scalar(y=1.0)
    assert made[0].export(reduce="local")["y"] == 1.0


def test_donated_statistics() -> None:
    """What has been deleted is refused where it is ingested."""
    _, stats = jax.jit(collect(recording))(1.0)
    stats.words[0].delete()
    with pytest.raises(RecordError, match="deleted, or donated"):
        exported(stats)


def test_ingested_statistics_may_be_deleted_or_donated_on_the_next_line() -> None:
    tracker = sl.StatsTracker()
    step = jax.jit(collect(recording))
    forget = jax.jit(lambda stats: jax.tree.map(lambda words: words + 1, stats), donate_argnums=0)
    for i in range(20):
        _, stats = step(float(i))
        tracker.ingest(stats)
        if i % 2:
            forget(stats)
        else:
            for words in stats.words:
                words.delete()
    kept = jax.tree.map(np.array, step(1.0)[1])
    tracker.ingest(kept)
    for words in kept.words:
        words[:] = 0
    assert tracker.export(reduce="local")["loss__count"] == 21


def test_a_signal_handler_may_ingest_at_any_moment() -> None:
    """Where it interrupts another ingest, too."""
    tracker = sl.StatsTracker()
    _, stats = jax.jit(collect(recording))(1.0)
    interrupted = 0

    def handler(*_: Any) -> None:
        nonlocal interrupted
        interrupted += 1
        tracker.ingest(stats)

    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # CPython 3.11 and JAX do not survive a handler in the middle of a collection
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0013)
        for _ in range(300):
            tracker.ingest(stats)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert interrupted > 0
    assert tracker.export(reduce="local")["loss__count"] == 300 + interrupted
