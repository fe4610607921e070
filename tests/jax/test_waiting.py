"""Timings that end when a device is done: right, of the step they were taken in, and nobody waits."""

import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import sightline as sl
from sightline import RecordError, StatsTracker
from sightline.jax import waiting
from tests.jax.several_devices import Busy, Callback, Hung, at_most, report, said_by

LONG_S = 60.0


@pytest.fixture(scope="module")
def busy() -> Busy:
    return Busy(0.3)


def seconds_of(timing: Any) -> float:
    """When they are known."""
    end = time.monotonic() + LONG_S
    while math.isnan(timing.seconds):
        assert time.monotonic() < end
        time.sleep(0.001)
    return float(timing.seconds)


def exported(tracker: StatsTracker) -> dict[str, Any]:
    return tracker.export(reduce="local", timeout=LONG_S)


def warm(tracker: StatsTracker, *values: Any) -> None:
    """Compiles what ``until`` of such values needs."""
    with tracker.record_timing("warm") as timing:
        for each in values:
            timing.until(each)
    seconds_of(timing)
    tracker.drain()


def test_a_time_lasts_until_the_values_are_there(busy: Busy) -> None:
    """Not known at the end of the block, which does not wait; then to a few percent, in export too."""
    tracker = StatsTracker()
    result = busy()
    warm(tracker, result)
    shares, off = [], []
    for _ in range(5):
        begin = time.perf_counter()
        with tracker.scope("train"), tracker.record_timing("update") as timing:
            result = busy()
            timing.until(result)
        held = time.perf_counter() - begin
        assert math.isnan(timing.seconds) or result.is_ready()
        result.block_until_ready()
        took = time.perf_counter() - begin
        shares.append(held / took)
        off.append(abs(seconds_of(timing) / took - 1))
        assert exported(tracker)["time/train/update_s"] == timing.seconds
    assert statistics.median(shares) < 0.25
    assert statistics.median(off) < 0.1


def test_host_values_end_with_the_block() -> None:
    """Nothing to wait for is no error: the code is the same with a fake model."""
    tracker = StatsTracker()
    for values in (None, 1.5, np.ones(3), {"loss": 2.0, "name": "x"}, [], "text"):
        with tracker.record_timing("update") as timing:
            timing.until(values)
        assert 0 <= timing.seconds < LONG_S
    assert exported(tracker)["time/update_s"] > 0


def test_several_values_end_with_the_latest(busy: Busy) -> None:
    """Whatever their order, and wherever in a pytree they are."""
    early = jnp.ones(3)
    tracker = StatsTracker()
    warm(tracker, early, busy())
    warm(tracker, {"a": [early, busy()], "b": (None, 3)})
    for given in (lambda late: (early, late), lambda late: (late, early)):
        with tracker.record_timing("calls") as timing:
            late = busy()
            for each in given(late):
                timing.until(each)
        late.block_until_ready()
        assert seconds_of(timing) > busy.least_s
    with tracker.record_timing("tree") as timing:
        timing.until({"a": [early, busy()], "b": (None, 3)})
    assert seconds_of(timing) > busy.least_s
    assert set(exported(tracker)) >= {"time/calls_s", "time/tree_s"}


def test_a_block_that_ends_after_its_values_lasts_as_long_as_the_block() -> None:
    with StatsTracker().record_timing("block") as timing:
        timing.until(jnp.ones(3).block_until_ready())
        time.sleep(0.05)
    assert seconds_of(timing) >= 0.05


@pytest.mark.parametrize("programs", [64, 0])
def test_the_values_may_be_donated_or_deleted_on_the_next_line(busy: Busy, programs: int) -> None:
    """Also beyond the cap of programs."""
    tracker = StatsTracker()
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    add(busy())
    with at_most(programs):
        warm(tracker, busy())
        for end in (add, lambda x: x.delete()):
            with tracker.record_timing("update") as timing:
                result = busy()
                timing.until(result)
                end(result)
            assert result.is_deleted()
            assert seconds_of(timing) > busy.least_s
    assert exported(tracker)["time/update_s"] > 2 * busy.least_s


def test_an_exception_inside_the_block_still_records(busy: Busy) -> None:
    tracker = StatsTracker()
    timing = tracker.record_timing("update")

    def diverges() -> None:
        with timing:
            timing.until(busy())
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        diverges()
    assert exported(tracker)["time/update_s"] == timing.seconds > busy.least_s


def test_nested_blocks_have_times_and_keys_of_their_own(busy: Busy) -> None:
    """Under the scope that is active when each ends."""
    tracker = StatsTracker()
    warm(tracker, busy())
    with tracker.scope("train"), tracker.record_timing("step") as outer:
        with tracker.scope("actor"), tracker.record_timing("update") as inner:
            result = busy()
            inner.until(result)
        with tracker.record_timing("host") as host:
            pass
        outer.until(result)
    found = exported(tracker)
    assert found["time/train/actor/update_s"] == inner.seconds > busy.least_s
    assert found["time/train/step_s"] == outer.seconds >= 0.99 * inner.seconds
    assert found["time/train/host_s"] == host.seconds < outer.seconds


def test_times_of_one_key_add_up(busy: Busy) -> None:
    """Those of the host and those of devices, as all timings within a step do."""
    tracker = StatsTracker()
    times = []
    for _ in range(3):
        with tracker.record_timing("update") as timing:
            timing.until(busy())
        with tracker.record_timing("update") as host:
            time.sleep(0.01)
        times += [timing, host]
    assert exported(tracker)["time/update_s"] == pytest.approx(sum(seconds_of(t) for t in times), rel=1e-12)


def test_a_time_inside_a_traced_function_is_refused() -> None:
    """The message says what to do instead."""
    tracker = StatsTracker()

    def step(x: Any) -> Any:
        with tracker.record_timing("update") as timing:
            timing.until(x)
        return x

    with pytest.raises(RecordError, match="traced"):
        jax.jit(step)(1.0)
    with pytest.raises(RecordError, match="update"):
        jax.jit(sl.collect(step))(1.0)


def test_many_threads_time_at_once(busy: Busy) -> None:
    """One thread looks at all of them."""
    tracker = StatsTracker()
    result = busy()
    warm(tracker, result)

    def time_some() -> None:
        for _ in range(50):
            with tracker.record_timing("update") as timing:
                timing.until(result)
            assert seconds_of(timing) < LONG_S

    threads = [threading.Thread(target=time_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert exported(tracker)["time/update_s"] > 0
    assert len([t for t in threading.enumerate() if t.name == "sightline-waiter"]) <= 4


def test_a_switched_off_tracker_times_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "tokens", None)
    with StatsTracker(enabled=False).record_timing("update") as timing:
        timing.until(jnp.ones(3))
    assert timing.seconds == 0.0


# --- in a process of two devices ---------------------------------------------------------------------------


def the_last_device_counts() -> None:
    """Of sharded values, and of values on several devices."""
    busy = Busy(0.3)
    tracker = StatsTracker()
    second = jax.device_put(np.ones((64, 64), np.float32), jax.devices()[1])
    mesh = Mesh(np.array(jax.devices()), ("d",))
    sharding = NamedSharding(mesh, PartitionSpec("d"))  # type: ignore[no-untyped-call]
    for programs in (64, 0):
        with at_most(programs):
            warm(tracker, [second, busy()])
            with tracker.record_timing("several") as timing:
                timing.until([second, busy()])
            assert seconds_of(timing) > busy.least_s
            with tracker.record_timing("sharded") as timing:
                parts = [busy(), second]
                timing.until(jax.make_array_from_single_device_arrays((128, 64), sharding, parts))
            assert seconds_of(timing) > busy.least_s


def test_a_time_may_begin_when_a_device_is_done_with_what_came_before(busy: Busy) -> None:
    """Two pieces of work in turn: the second's time leaves out the rest of the first."""
    tracker = StatsTracker()
    warm(tracker, busy.scalar(busy(1)))
    first = busy.scalar(busy())
    with tracker.record_timing("both") as both, tracker.record_timing("second") as second:
        second.since(first)
        end = busy.scalar(busy())
        second.until(end)
        both.until(end)
    assert seconds_of(both) > 2 * busy.least_s
    assert busy.least_s < seconds_of(second) < seconds_of(both) - busy.least_s / 2


def test_a_time_that_begins_after_its_end_is_zero(busy: Busy) -> None:
    """Work that had nothing to wait for is not blamed for what runs beside it."""
    tracker = StatsTracker()
    warm(tracker, busy.scalar(busy(1)))
    with tracker.record_timing("t") as timing:
        timing.since(busy.scalar(busy()))
    assert seconds_of(timing) == 0.0


@pytest.mark.parametrize(("last", "code"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_a_process_ends_as_it_means_to_while_times_still_run(last: str, code: int) -> None:
    """A thread that looks at devices does no harm at exit, however that comes about."""
    script = f"""
import sightline as sl
from tests.jax.several_devices import Busy

busy = Busy(0.5)
for _ in range(10):
    with sl.record_timing("t") as timing:
        timing.until(busy())
print("over", flush=True)
{last}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (code, "over\n"), done.stderr


def test_until_after_the_block_is_refused() -> None:
    """It could change nothing any more."""
    with StatsTracker().record_timing("t") as timing:
        pass
    with pytest.raises(RecordError, match="belongs inside the block"):
        timing.until(jnp.zeros(3))


def test_a_time_beyond_the_limit_on_programs_ends_with_the_last_value(busy: Busy) -> None:
    """Without a program for these shapes, what is not there yet is copied and waited for."""
    tracker = StatsTracker()
    ready = jnp.zeros(3)
    busy(1).block_until_ready()
    with at_most(0), tracker.record_timing("both") as timing:
        timing.until((ready, busy()))
    assert seconds_of(timing) > busy.least_s


def test_a_deleted_array_is_told_where_until_belongs() -> None:
    """With the fix."""
    gone = jnp.zeros(3)
    gone.delete()
    with pytest.raises(RecordError, match="deleted, or donated"), StatsTracker().record_timing("t") as timing:
        timing.until(gone)


def a_device_that_hangs_holds_up_no_other_time() -> None:
    """Of a commit, an export, or the waiter."""
    never = Hung()
    hangs = Callback(never)
    fine = jax.device_put(np.ones(3, np.float32), jax.devices()[1])
    tracker = StatsTracker()
    warm(tracker, fine)
    warm(tracker, jax.device_put(np.float32(1), jax.devices()[0]))
    with tracker.record_timing("hung") as hung:
        hung.until(hangs())
    with tracker.record_timing("fine") as timing:
        timing.until(fine)
    assert seconds_of(timing) < LONG_S
    assert math.isnan(hung.seconds)
    found = tracker.export(reduce="local", timeout=0.5)
    assert "time/fine_s" in found
    assert "time/hung_s" not in found
    never.over.set()
    assert seconds_of(hung) > 0.5


ON_TWO_DEVICES: tuple[Callable[[], None], ...] = (
    the_last_device_counts,
    a_device_that_hangs_holds_up_no_other_time,
)


@pytest.fixture(scope="module")
def on_two_devices() -> dict[str, str]:
    """What each of those functions said, "" if nothing."""
    return said_by("tests.jax.test_waiting", devices=2)


@pytest.mark.parametrize("name", [each.__name__ for each in ON_TWO_DEVICES])
def test_on_two_devices(name: str, on_two_devices: dict[str, str]) -> None:
    """Each of the functions above."""
    assert on_two_devices[name] == "", on_two_devices[name]


if __name__ == "__main__":
    report(ON_TWO_DEVICES)
