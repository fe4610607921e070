"""What a commit says of JAX: compilations, its cache, device memory."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sightline as sl
from sightline.jax import monitoring
from sightline.jax.distributed import backend_is_running
from sightline.recording import monitors
from sightline.recording.monitors import running_one

TIME, COUNT, RECOMPILES = "time/jax/compile_s", "jax/compile/count", "jax/compile/recompiles"


class Training:
    """A logger whose commits are read back at the end."""

    def __init__(self, folder: Path) -> None:
        self.tracker = sl.StatsTracker()
        self.logger = sl.StatsLogger(sl.StatsLoggerConfig(log_dir=folder, sinks=[]), tracker=self.tracker)
        self.step = 0

    def commit(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.step += 1
            self.logger.commit(self.step)

    def lines(self, kind: str) -> list[dict[str, Any]]:
        assert self.logger.finish()
        return [line for line in sl.read_journal(self.logger.wait_dir()) if line["type"] == kind]

    def values(self, key: str | None = None) -> list[Any]:
        return [v if key is None else v[key] for v in (line["values"] for line in self.lines("commit"))]


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    made = Training(tmp_path)
    yield made
    made.logger.finish()


@pytest.fixture
def monitor() -> Iterator[Callable[..., monitoring.JaxMonitor]]:
    """`sl.jax.monitor`, stopped when the test is over."""
    assert running_one(monitoring.JaxMonitor) is None, "an earlier test left its monitor running"
    yield sl.jax.monitor
    if (left := running_one(monitoring.JaxMonitor)) is not None:
        left.stop()


Monitor = Callable[..., monitoring.JaxMonitor]


def new_function() -> Any:
    """A jitted function that has not been compiled for any input."""

    @jax.jit
    def poly(x: jax.Array) -> jax.Array:
        return jnp.sin(x) * 2 + x

    return poly


def shaped(n: int) -> np.ndarray[Any, Any]:
    return np.ones(n, np.float32)  # of the host, so that making it compiles nothing


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "sightline" and r.levelno == level]


# --- compilations ------------------------------------------------------------------------------------------


def test_a_step_that_compiles_says_so(training: Training, monitor: Monitor) -> None:
    """How many programs and how long, in the commit of the step; other steps say zero."""
    poly = new_function()
    monitor()
    began = time.perf_counter()
    poly(shaped(3))
    took = time.perf_counter() - began
    training.commit()
    poly(shaped(3))
    training.commit()
    first, second = training.values()
    assert (first[COUNT], second[COUNT]) == (1, 0)
    assert 0 < first[TIME] <= took
    assert second[TIME] == 0
    assert first[f"{TIME}_max"] == first[TIME]
    assert f"{TIME}_slowest" in first
    assert first[RECOMPILES] == second[RECOMPILES] == 0
    for line in training.lines("process_values"):
        assert TIME in line["values"]


def test_time_that_stages_share_counts_once(training: Training, monitor: Monitor) -> None:
    """What a function calls, or runs eagerly, while it is traced is inside its own trace."""

    @jax.jit
    def outer(x: jax.Array) -> jax.Array:
        with jax.ensure_compile_time_eval():
            time.sleep(0.05)
            table = jnp.cumsum(jnp.arange(7.0) * 3)
        return new_function()(x) + table.sum()

    monitor()
    began = time.perf_counter()
    outer(shaped(3))
    took = time.perf_counter() - began
    training.commit()
    (seconds,) = training.values(TIME)
    assert 0.05 < seconds <= took


def test_the_scope_of_the_commit_is_not_in_the_keys(training: Training, monitor: Monitor) -> None:
    """A commit may be made anywhere; its keys are the same."""
    monitor()
    with training.tracker.scope("train"):
        training.commit()
    (values,) = training.values()
    assert {TIME, COUNT, RECOMPILES} <= values.keys()


def test_another_tracker_may_take_the_records(training: Training, monitor: Monitor) -> None:
    other = sl.StatsTracker()
    monitor(other)
    training.commit()
    assert training.values() == [{}]
    assert COUNT in other.export(reduce="local")


def test_threads_compile_side_by_side(training: Training, monitor: Monitor) -> None:
    """Every program is counted, and the time is what the clock on the wall says."""
    monitor()
    functions = [new_function() for _ in range(4)]
    threads = [threading.Thread(target=each, args=(shaped(n + 2),)) for n, each in enumerate(functions)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    training.commit()
    (values,) = training.values()
    assert values[COUNT] == 4
    assert values[TIME] <= took


# --- recompiles --------------------------------------------------------------------------------------------


def test_a_recompile_after_warm_up_is_named(
    training: Training, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    """With the step in which it happened; not while warming up."""
    poly = new_function()
    monitor(warmup_steps=2)
    for step, n in enumerate([2, 3, 3, 4], start=1):
        with sl.step(step):
            poly(shaped(n))
        training.commit()
    assert training.values(RECOMPILES) == [0, 0, 0, 1]
    (warning,) = messages(caplog, logging.WARNING)
    assert "poly was compiled again in step 4" in warning
    assert "time 1 after warm-up" in warning


def test_without_an_active_step_the_commits_say_when(
    training: Training, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    poly = new_function()
    monitor(warmup_steps=0)
    poly(shaped(2))
    training.commit(5)
    poly(shaped(3))
    training.commit()
    (warning,) = messages(caplog, logging.WARNING)
    assert "poly was compiled again after 5 commits" in warning


def test_a_storm_of_recompiles_does_not_flood(
    training: Training, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    """Warned of at the 1st, 2nd, 4th, 8th time, and all of them counted."""
    poly = new_function()
    monitor(warmup_steps=1)
    poly(shaped(1))
    training.commit()
    for n in range(2, 12):
        poly(shaped(n))
    training.commit()
    assert training.values(RECOMPILES) == [0, 10]
    said = [text.split("time ")[1].split()[0] for text in messages(caplog, logging.WARNING)]
    assert said == ["1", "2", "4", "8"]


def test_a_new_function_is_no_recompile(
    training: Training, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    """As the first evaluation of a run is not; it is logged for who asks for INFO."""
    caplog.set_level(logging.INFO, "sightline")
    poly = new_function()
    monitor(warmup_steps=1)
    training.commit()
    poly(shaped(2))
    training.commit()
    assert training.values(RECOMPILES) == [0, 0]
    assert messages(caplog, logging.WARNING) == []
    assert any("poly was compiled for the first time" in text for text in messages(caplog, logging.INFO))


def test_what_sightline_compiles_is_no_recompile(
    training: Training, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    """Its time is told, since it is time; but a new shape to record is nobody's mistake."""

    @jax.jit
    def sightline_words(x: jax.Array) -> jax.Array:
        return x + 1

    caplog.set_level(logging.INFO, "sightline")
    monitor(warmup_steps=0)
    for n in (2, 3):
        sightline_words(shaped(n))
        training.commit()
    assert training.values(RECOMPILES) == [0, 0]
    assert training.values(COUNT) == [1, 1]
    assert min(training.values(TIME)) > 0
    assert messages(caplog, logging.WARNING) == messages(caplog, logging.INFO) == []


# --- the persistent cache ----------------------------------------------------------------------------------


@contextmanager
def cache_in(folder: Path | None) -> Iterator[None]:
    """JAX's persistent compilation cache in this folder, keeping everything; or none."""
    from jax.experimental.compilation_cache import compilation_cache

    settings: dict[str, Any] = {
        "jax_compilation_cache_dir": None if folder is None else str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    config: Any = jax.config
    before = {name: getattr(config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_hits_and_misses_of_the_persistent_cache(
    training: Training, monitor: Monitor, tmp_path: Path
) -> None:
    """A program that another run has compiled is a hit, and one that nobody has a miss."""
    monitor()
    cache = tmp_path / "cache"
    with cache_in(cache):
        new_function()(shaped(5))
        training.commit()
        new_function()(shaped(5))
        training.commit()
        training.commit()
    assert training.values("jax/cache/misses") == [1, 0, 0]
    assert training.values("jax/cache/hits") == [0, 1, 0]
    assert training.values(COUNT) == [1, 1, 0]
    assert any(cache.iterdir())


def test_without_a_cache_nothing_is_said_of_it(training: Training, monitor: Monitor) -> None:
    """JAX sends events for it all the same."""
    monitor()
    with cache_in(None):
        new_function()(shaped(5))
        training.commit()
    (values,) = training.values()
    assert not [key for key in values if key.startswith("jax/cache/")]


# --- device memory -----------------------------------------------------------------------------------------


def device(**stats: int) -> SimpleNamespace:
    return SimpleNamespace(memory_stats=lambda: stats or None)


def test_memory_of_all_devices(training: Training, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and maximum over devices, and the fullest of each process."""
    jnp.ones(1).block_until_ready()
    devices = [
        device(bytes_in_use=100, peak_bytes_in_use=400),
        device(bytes_in_use=300, peak_bytes_in_use=2**40),
        device(),
    ]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    monitor()
    training.commit()
    (values,) = training.values()
    memory = {key: value for key, value in values.items() if key.startswith("jax/memory/")}
    assert memory == {
        "jax/memory/in_use_bytes/mean": 200,
        "jax/memory/in_use_bytes/max": 300,
        "jax/memory/peak_bytes/mean": (400 + 2**40) / 2,
        "jax/memory/peak_bytes/max": 2**40,
        "jax/memory/process_in_use_bytes": 300,
        "jax/memory/process_peak_bytes": 2**40,
    }
    (per_process,) = training.lines("process_values")
    assert per_process["values"]["jax/memory/process_peak_bytes"] == [2**40]


def test_devices_that_do_not_say_record_nothing(training: Training, monitor: Monitor) -> None:
    """As CPUs."""
    jnp.ones(1).block_until_ready()
    assert backend_is_running()
    monitor()
    training.commit()
    (values,) = training.values()
    assert not [key for key in values if key.startswith("jax/memory/")]


def test_devices_that_fail_are_logged_once(
    training: Training,
    monitor: Monitor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And what was compiled is recorded all the same."""

    def fails() -> None:
        raise RuntimeError("lost the device")

    jnp.ones(1).block_until_ready()
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(memory_stats=fails)])
    monitor()
    training.commit(3)
    assert training.values(COUNT) == [0, 0, 0]
    assert len(messages(caplog, logging.ERROR)) == 1


# --- beside others -----------------------------------------------------------------------------------------


def test_only_our_own_listeners_go(monitor: Monitor) -> None:
    """Another library's are called before, during and after, and so are those that it adds meanwhile."""
    heard: list[str] = []

    def listen(event: str, seconds: float, **said: Any) -> None:
        heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        ours = monitor()
        new_function()(shaped(2))
        during = len(heard)
        ours.stop()
        new_function()(shaped(2))
        assert 0 < during < len(heard)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_somebody_clears_all_listeners(
    training: Training, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is nothing to hear, and stopping works still."""
    from jax._src import monitoring as theirs

    for name in [name for name in vars(theirs) if name.endswith("_listeners") and name[0] == "_"]:
        monkeypatch.setattr(theirs, name, list(getattr(theirs, name)))  # JAX's own come back afterwards
    ours = monitor()
    jax.monitoring.clear_event_listeners()
    new_function()(shaped(2))
    training.commit()
    ours.stop()
    assert not ours.running
    assert training.values(COUNT) == [0]


def test_a_listener_that_fails_does_not_reach_jit(
    training: Training,
    monitor: Monitor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged at the commit, once."""

    def fails() -> None:
        raise RuntimeError("a defect")

    monitor()
    monkeypatch.setattr(monitoring, "active_step", fails)
    poly = new_function()
    for n in (2, 3):
        np.testing.assert_allclose(poly(shaped(n)), np.sin(shaped(n)) * 2 + 1, rtol=1e-6)
        training.commit()
    (message,) = messages(caplog, logging.ERROR)
    assert "said once" in message


def test_a_recording_call_that_compiles_does_not_wait_for_itself(
    training: Training, monitor: Monitor
) -> None:
    """A recording call may hold its lock while JAX compiles, and the listener takes none."""
    monitor()
    thread = threading.Thread(target=lambda: new_function()(shaped(2)), daemon=True)
    with training.tracker._lock, training.logger._lock, monitors._lock:
        thread.start()
        thread.join(60)
        assert not thread.is_alive()


# --- on and off --------------------------------------------------------------------------------------------


def test_there_is_one_monitor(training: Training, monitor: Monitor) -> None:
    """Asked for twice, it counts once."""
    ours = monitor()
    assert monitor(warmup_steps=7) is ours
    new_function()(shaped(2))
    training.commit()
    assert training.values(COUNT) == [1]


def test_it_ends_with_its_block_and_may_begin_again(training: Training, monitor: Monitor) -> None:
    with monitor() as first:
        training.commit()
    assert not first.running
    training.commit()
    with monitor() as second:
        assert second is not first
        first.stop()  # long over; the second goes on
        assert second.running
        training.commit()
    first, none, third = training.values()
    assert COUNT in first
    assert none == {}
    assert COUNT in third


def test_warm_up_is_a_number_of_steps(monitor: Monitor) -> None:
    for wrong in (-1, 1.5, True, "3"):
        with pytest.raises(sl.ConfigurationError, match="warmup_steps"):
            monitor(warmup_steps=wrong)


def test_a_forked_child_leaves_what_was_compiled_to_its_parent(training: Training, monitor: Monitor) -> None:
    """And could monitor a run of its own."""
    made = monitor()
    made._on_duration(monitoring._COMPILED, 1.0, fun_name="jit(f)")
    with monitors._lock:
        monitors._after_fork_in_child()  # JAX's threads do not outlive a real fork
    assert sl.jax.monitor() is made
    training.commit()
    assert training.values(COUNT) == [0]


def run_python(code: str, cwd: Path, **environment: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, cwd=cwd, env={**kept, **environment}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_no_back_end_is_started(tmp_path: Path) -> None:
    """Neither by the monitor nor by a commit under it."""
    code = """
import sys
import sightline as sl
from sightline.jax.distributed import backend_is_running
assert not backend_is_running() and "jax" not in sys.modules
with sl.start("runs") as run, sl.jax.monitor():
    for step in run.steps(3):
        run.commit(step)
    assert not backend_is_running()
values = [r["values"] for r in sl.read_journal(run.dir) if r["type"] == "commit"]
assert values[-1]["jax/compile/count"] == 0 and len(values) == 3, values
import jax
jax.devices()
assert backend_is_running()
"""
    run_python(code, tmp_path)


def test_disabled_it_does_nothing(tmp_path: Path) -> None:
    """It does not even load JAX."""
    code = """
import sys
import sightline as sl
with sl.jax.monitor() as monitor:
    assert not monitor.running
assert "jax" not in sys.modules
"""
    run_python(code, tmp_path, SIGHTLINE_DISABLED="1")
