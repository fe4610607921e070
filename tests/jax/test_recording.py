"""Recording device arrays: what is refused at the call, what comes out, and that no value is lost or torn."""

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import sightline as sl
from sightline import RecordError, StatsTracker
from sightline.committing.stats_logger import StatsLogger
from sightline.config import StatsLoggerConfig
from sightline.jax import programs as launching
from sightline.jax.budget import PROGRAMS
from sightline.tracking.trackers import drain_for_good
from tests.jax.several_devices import Busy, Callback, Hung, at_most, compilations, report, said_by

P: Any = PartitionSpec
LONG_S = 60.0


@pytest.fixture(params=[64, 0], ids=["programs", "copies"])
def programs(request: pytest.FixtureRequest) -> Iterator[int]:
    """With programs, and beyond their cap."""
    with at_most(request.param):
        yield request.param


def exported(tracker: StatsTracker, **options: Any) -> dict[str, Any]:
    return tracker.export(reduce="local", **{"timeout": LONG_S, **options})


def check(found: dict[str, Any], key: str, values: Any) -> None:
    """Whether a key has NumPy's statistics."""
    x = np.asarray(values, np.float64)
    near = 1e-6 * max(abs(x.mean()), x.std())
    assert found[f"{key}__count"] == x.size
    assert (found[f"{key}/min"], found[f"{key}/max"]) == (x.min(), x.max())
    assert abs(found[f"{key}/mean"] - x.mean()) <= near
    assert abs(found[f"{key}/std"] - x.std()) <= 10 * near


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("programs")
def test_every_reduction_takes_device_numbers() -> None:
    """Alone, with host numbers in one call, and records of both kinds under one key."""
    tracker = StatsTracker()
    with tracker.scope("train"):
        tracker.scalar(loss=jnp.float32(2), lr=0.5)
        tracker.scalar(loss=4.0)
        tracker.scalar(loss=jnp.float16(6))
        tracker.scalar("norm", jnp.ones((1, 1)), per_process=True)
        tracker.total(tokens=jnp.int32(2**31 - 1))
        tracker.total(tokens=2**53)
        tracker.ratio("accuracy", jnp.int32(3), 4)
        tracker.ratio("accuracy", 1, jnp.float32(4))
        tracker.rate("tokens", jnp.int32(7))
        tracker.last(version=jnp.uint32(2**32 - 1))
        tracker.scalar(solved=jnp.array(True))
    found = exported(tracker)
    assert (found["train/loss"], found["train/loss__count"]) == (4.0, 3)
    assert (found["train/lr"], found["train/norm"], found["train/solved"]) == (0.5, 1.0, 1.0)
    assert found["train/tokens"] == 2**53 + 2**31 - 1
    assert found["train/accuracy"] == 0.5
    assert found["train/version"] == 2**32 - 1
    assert found["throughput/train/tokens_per_s"] > 0


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "int8", "uint8"])
def test_a_scalar_of_any_dtype_is_exact(dtype: str) -> None:
    tracker = StatsTracker()
    value = jnp.asarray(3.25, getattr(ml_dtypes, dtype, dtype))
    tracker.scalar(value=value)
    assert exported(tracker)["value"] == float(value)


@pytest.mark.usefixtures("programs")
def test_the_latest_of_host_and_device_values_wins() -> None:
    """By the order of the calls, not by when a device was done."""
    tracker = StatsTracker()
    for number in range(6):
        tracker.last(value=number if number % 2 else jnp.float32(number))
        tracker.last(other=jnp.float32(number) if number % 2 else number)
    found = exported(tracker)
    assert (found["value"], found["other"]) == (5, 5)
    tracker.last(value=jnp.float32(1))
    tracker.last(value=2)
    tracker.last(other=2)
    tracker.last(other=jnp.float32(1))
    found = exported(tracker)
    assert (found["value"], found["other"]) == (2, 1)


@pytest.mark.usefixtures("programs")
def test_non_finite_device_values_are_shown_or_dropped() -> None:
    """As those of the host are."""
    tracker = StatsTracker()
    values = jnp.array([1.0, math.nan, 3.0, math.inf, -math.inf])
    tracker.summary("shown", values)
    tracker.summary("dropped", values, nonfinite="drop")
    tracker.masked("masked", values, values > 2, nonfinite="drop", quantiles=(0.5,))
    for value in values:
        tracker.scalar(scalar=value, nonfinite="drop")
        tracker.scalar(scalar_shown=value)
    found = exported(tracker)
    assert math.isnan(found["shown/mean"])
    assert (found["shown/min"], found["shown/max"], found["shown__count"]) == (1, 3, 5)
    assert (found["dropped/mean"], found["dropped/std"], found["dropped__count"]) == (2, 1, 2)
    assert (found["masked/mean"], found["masked__count"]) == (3, 1)
    assert (found["scalar"], found["scalar__count"]) == (2, 2)
    assert math.isnan(found["scalar_shown"])
    assert found["scalar_shown__count"] == 5


# --- arrays ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (7, 11), (2, 3, 5)], ids=str)
def test_arrays_of_any_shape_with_masks_of_either_side(shape: tuple[int, ...]) -> None:
    """The device's or the host's, bools or numbers; an empty one has a count of 0 and no more."""
    values = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    mask = np.random.default_rng(1).random(shape) < 0.5
    array = jnp.asarray(values)
    tracker = StatsTracker()
    tracker.summary("all", array)
    tracker.masked("device", array, jnp.asarray(mask))
    tracker.masked("host", array, mask)
    tracker.masked("numbers", array, jnp.asarray(mask, jnp.float32))
    tracker.masked("list", array, mask.astype(int).tolist())
    tracker.masked("values", values, jnp.asarray(mask))
    tracker.histogram("histogram", array, mask=mask)
    found = exported(tracker)
    for key in ("device", "host", "numbers", "list", "values"):
        if mask.any():
            check(found, key, values[mask])
        else:
            assert {name: number for name, number in found.items() if name.startswith(key)} == {
                f"{key}__count": 0
            }
    assert found["histogram__count"] == mask.sum()
    assert found["all__count"] == values.size


@pytest.mark.usefixtures("programs")
def test_records_of_host_and_device_arrays_merge() -> None:
    """Under one key, over many calls, quantiles too."""
    tracker = StatsTracker()
    parts = [np.random.default_rng(i).normal(1e4, 3, 20 + i % 3).astype(np.float32) for i in range(30)]
    for i, part in enumerate(parts):
        tracker.summary("x", part if i % 4 == 0 else jnp.asarray(part), quantiles=(0.5,))
    found, data = exported(tracker), np.concatenate(parts)
    check(found, "x", data)
    assert found["x/std"] == pytest.approx(data.astype(np.float64).std(), rel=1e-5)  # far from zero, too
    assert found["x/p50"] == pytest.approx(np.median(data), rel=0.01)


@pytest.mark.usefixtures("programs")
def test_a_mask_with_other_values_is_left_out_with_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    """Seen only when the device has computed it; the rest of the commit stays."""
    tracker = StatsTracker()
    key = f"weights{PROGRAMS.max_programs}"  # what is said once is said once for a key
    for _ in range(2):
        tracker.masked(key, jnp.ones(4), jnp.full(4, 0.5))
    tracker.scalar(fine=jnp.float32(1))
    drained = tracker.drain()
    drained.wait(LONG_S)
    assert drained.trouble == {"failed_device_values": 2}
    rendered = drained.snapshot(0).render()
    assert rendered.values == {"fine": 1.0}
    assert caplog.text.count(f"{key} is left out") == 1
    assert "ratio(key, (values * weights).sum(), weights.sum())" in caplog.text


# --- what is refused at the call ---------------------------------------------------------------------------


def deleted() -> jax.Array:
    array = jnp.ones(()) + 1
    array.delete()
    return array


REFUSED: dict[str, tuple[Callable[[StatsTracker], None], str]] = {
    "several": (lambda t: t.scalar(x=jnp.ones(2)), "summary"),
    "several in a total": (lambda t: t.total(x=jnp.ones((2, 2))), r"shape \(2, 2\), expected one number"),
    "none": (lambda t: t.scalar(x=jnp.ones(0)), "expected one number"),
    "complex": (lambda t: t.scalar(x=jnp.ones((), jnp.complex64)), "complex64; expected real numbers"),
    "complex array": (lambda t: t.summary("x", jnp.ones(3, jnp.complex64)), "complex64"),
    "random key": (lambda t: t.scalar(x=jax.random.key(0)), "expected real numbers"),
    "deleted": (lambda t: t.scalar(x=deleted()), "deleted, or donated to a jitted function"),
    "deleted array": (lambda t: t.summary("x", deleted()), "Record it before that call"),
    "deleted mask": (lambda t: t.masked("x", jnp.ones(()), deleted()), "deleted"),
    "mask's shape": (lambda t: t.masked("x", jnp.ones((2, 3)), jnp.ones(3)), r"shape \(3,\) and .* \(2, 3\)"),
    "host mask's shape": (lambda t: t.masked("x", jnp.ones((2, 3)), np.ones(2)), r"shape \(2,\)"),
    "host values' shape": (lambda t: t.masked("x", np.ones((2, 3)), jnp.ones(3)), r"shape \(3,\)"),
    "host mask": (lambda t: t.masked("x", jnp.ones(2), [0.5, 1.0]), "the mask holds 0.5"),
    "one of two": (lambda t: t.scalar(fine=jnp.ones(()), x="a"), "expected real numbers"),
    "quantile": (lambda t: t.summary("x", jnp.ones(2), quantiles=(2,)), "quantiles"),
    "text": (lambda t: t.text(x=jnp.ones(())), "expected a str"),  # type: ignore[arg-type]
    "two reductions": (lambda t: (t.scalar(x=1.0), t.total(x=jnp.ones(())))[0], "two reductions"),
}


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_raises_at_the_call(name: str, repeated: bool) -> None:
    """And records nothing; after good records under the same key, too."""
    call, message = REFUSED[name]
    tracker = StatsTracker()
    if repeated and name != "two reductions":
        for _ in range(2):
            tracker.scalar(fine=jnp.ones(()))
            (tracker.summary if "summary" in name or "array" in name else tracker.scalar)("y", jnp.ones(()))
        tracker.drain()
    with pytest.raises(RecordError, match=message):
        call(tracker)
    assert [key for key in tracker.drain().recorded() if key != "x" or name != "two reductions"] == []


def test_a_deleted_array_of_a_known_kind_raises_too() -> None:
    """Calls that are repeated take a shorter way, which must not be one past the checks."""
    tracker = StatsTracker()
    for _ in range(3):
        tracker.scalar(x=jnp.ones(()))
        tracker.summary("y", jnp.ones(()))
        tracker.masked("z", jnp.ones(()), jnp.ones((), bool))
    for call in (
        lambda: tracker.scalar(x=deleted()),
        lambda: tracker.summary("y", deleted()),
        lambda: tracker.masked("z", deleted(), jnp.ones((), bool)),
        lambda: tracker.masked("z", jnp.ones(()), deleted()),
    ):
        with pytest.raises(RecordError, match="deleted"):
            call()
    assert exported(tracker)["x__count"] == 3


# --- commits, exports, snapshots ---------------------------------------------------------------------------


def logger_in(folder: Path, **options: Any) -> StatsLogger:
    tracker = options.pop("tracker", None) or StatsTracker()
    return StatsLogger(StatsLoggerConfig(log_dir=folder, sinks=[], **options), tracker=tracker)


def commits_of(logger: StatsLogger) -> list[dict[str, Any]]:
    assert logger.dir is not None
    return [line for line in sl.read_journal(logger.dir) if line["type"] == "commit"]


@pytest.mark.usefixtures("programs")
def test_final_values_may_be_device_scalars(tmp_path: Path) -> None:
    """Of one step or several; beside counts and texts; and must be scalars."""
    max_programs = PROGRAMS.max_programs
    logger = logger_in(tmp_path, max_programs=max_programs)
    logger.commit(0, {"loss": jnp.float32(2), "loss__count": 3, "lr": 0.5, "tokens": jnp.int32(2**31 - 1)})
    logger.commit(1, [{"loss": jnp.float32(step), "split": "train"} for step in range(3)])
    logger.commit(4, {"loss": jnp.float32(math.nan)})
    with pytest.raises(RecordError, match=r"commit\('loss'\).*expected one number"):
        logger.commit(5, {"loss": jnp.ones(3)})
    with pytest.raises(RecordError, match="deleted"):
        logger.commit(5, {"loss": deleted()})
    with pytest.raises(RecordError, match="folder"):
        logger.commit(5, {"loss": jnp.ones(()), "loss/max": 1.0})
    assert logger.finish()
    commits = commits_of(logger)
    assert commits[0]["values"] == {"loss": 2, "lr": 0.5, "tokens": 2**31 - 1}
    assert commits[0]["counts"] == {"loss__count": 3}
    assert [(c["step"], c["values"]["loss"], c["texts"]) for c in commits[1:4]] == [
        (step + 1, step, {"split": "train"}) for step in range(3)
    ]
    assert commits[4]["nonfinite"] == {"loss": "nan"}
    assert [c["step"] for c in commits] == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("programs")
def test_an_export_that_does_not_reset_leaves_device_values_in_place() -> None:
    """They count once in each export, and once in the commit."""
    tracker = StatsTracker()
    for number in range(4):
        tracker.scalar(loss=jnp.float32(number))
        tracker.summary("x", jnp.arange(3) + number, quantiles=(0.5,))
        tracker.last(version=jnp.int32(number))
        tracker.total(tokens=jnp.int32(1))
        with tracker.record_timing("step") as timing:
            timing.until(jnp.ones(()))
    kept = exported(tracker, reset=False)
    assert exported(tracker, reset=False) == kept
    assert tracker.snapshot(reset=False).render(wall_s=1.0).values["x/mean"] == kept["x/mean"]
    assert exported(tracker) == kept
    assert (kept["loss"], kept["loss__count"], kept["x__count"]) == (1.5, 4, 12)
    assert (kept["version"], kept["tokens"]) == (3, 4)
    assert exported(tracker) == {}


@pytest.mark.usefixtures("programs")
def test_a_process_that_never_commits_stays_bounded() -> None:
    """What has been computed is taken in on the way, and all of it counts."""
    tracker = StatsTracker()
    value, held = jnp.float32(0.5), 0
    for _ in range(10_000):
        tracker.scalar(loss=value)
        held = max(held, len(tracker._records.deferred))
    assert held <= 4096
    found = exported(tracker)
    assert (found["loss"], found["loss__count"]) == (0.5, 10_000)


@pytest.mark.usefixtures("programs")
def test_what_has_settled_before_a_commit_is_folded_and_its_failures_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory stays bounded, and nothing that failed on the way is forgotten."""
    monkeypatch.setattr("sightline.recording.records._SETTLE_AT", 16)
    for room in ("recording.records", "tracking.stats_tracker"):
        monkeypatch.setattr(f"sightline.{room}.FOLD_AT", 64)
    tracker = sl.StatsTracker()
    one, rows, odd = jnp.int32(1), jnp.ones(3), jnp.full(3, 0.5)
    for _ in range(400):
        tracker.scalar(x=one)
        tracker.total(t=one)
        tracker.summary("s", rows, quantiles=(0.5,))
        tracker.masked("m", rows, odd)
    records = tracker._records
    assert sum(len(values) for table in records.scalars.values() for values in table.values()) < 200
    assert max(map(len, [*records.rows.values(), *records.singles.values()])) < 64 + 9 * 64
    drained = tracker.drain()
    drained.wait(60)
    assert drained.trouble == {"failed_device_values": 400}
    rendered = drained.snapshot(0).render()
    assert (rendered.counts["x__count"], rendered.values["t"]) == (400, 400)
    assert rendered.counts["s__count"] == 1200


@pytest.mark.usefixtures("programs")
def test_a_run_that_ends_while_a_repeated_call_launches_leaves_its_keys_declared() -> None:
    """The call finds that its short way is gone, and takes the long one; it counts once."""
    tracker, value, rows = sl.StatsTracker(), jnp.float32(0.5), jnp.ones(3)
    calls: dict[str, Callable[[], None]] = {
        "loss": lambda: tracker.scalar(loss=value),
        "rows": lambda: tracker.summary("rows", rows),
    }
    for key, call in calls.items():
        call()
        call()
        ((_, repeated),) = tracker._registry.calls.items()
        launch = repeated._launch

        def and_end_the_run(arrays: Any, launch: Any = launch) -> Any:
            drain_for_good(tracker)
            return launch(arrays)

        repeated._launch = and_end_the_run
        call()
        assert repeated not in tracker._registry.calls.values()
        assert exported(tracker)[f"{key}__count"] == (1 if key == "loss" else 3)
        drain_for_good(tracker)


def test_a_late_value_takes_no_host_value_of_its_call_with_it() -> None:
    """What is there is exported, and the rest is counted by key."""
    busy = Busy(1.0)
    tracker = sl.StatsTracker()
    late = busy.scalar(busy(1))
    tracker.scalar(host=1.0, fine=2, late=late)  # compiles
    tracker.drain().wait(60)
    tracker.scalar(host=1.0, fine=2, late=busy.scalar(busy()))
    drained = tracker.drain()
    drained.wait(0.01)
    assert drained.trouble == {"pending_device_values": 1}
    assert drained.snapshot(0).render().values == {"host": 1.0, "fine": 2.0}


def test_lists_of_device_arrays_are_recorded_one_by_one() -> None:
    """Which waits for none of them; a list of one is a number where one is wanted."""
    tracker = sl.StatsTracker()
    x = jnp.arange(4.0)
    tracker.summary("s", [x, x + 4])
    tracker.masked("m", [x, x + 4], [x > 1, x + 4 > 5])
    tracker.scalar(one=[jnp.float32(2)])
    with pytest.raises(RecordError, match=r"a list of as many masks, or join them: jnp.stack"):
        tracker.masked("bad", [x, x], np.ones((2, 4), bool))
    exported = tracker.export(reduce="local")
    assert (exported["s/mean"], exported["s__count"]) == (3.5, 8)
    assert (exported["m/mean"], exported["m__count"], exported["one"]) == (4.5, 4, 2.0)


def test_values_in_host_memory_are_recorded() -> None:
    """Offloaded state, which no program on the device takes as it is."""
    memory = jax.sharding.SingleDeviceSharding(jax.devices()[0], memory_kind="pinned_host")
    tracker = sl.StatsTracker()
    for _ in range(2):
        tracker.summary("s", jax.device_put(jnp.arange(4.0), memory))
        tracker.scalar(x=jax.device_put(jnp.float32(3), memory))
    exported = tracker.export(reduce="local")
    assert (exported["s/mean"], exported["s__count"], exported["x"]) == (1.5, 8, 3.0)


def test_a_launch_that_fails_is_counted_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a device has no memory left, not even for a copy."""

    def fails(*_: object) -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr("sightline.jax.programs._launch", fails)
    monkeypatch.setattr("sightline.jax.recording.copies", fails)
    tracker = sl.StatsTracker()
    tracker.summary("full", jnp.ones((3, 17)))
    tracker.scalar(fuller=jnp.ones(1), host=1.0)
    drained = tracker.drain()
    assert drained.trouble == {"failed_device_values": 2}
    assert drained.snapshot(0).render().values == {"host": 1.0}
    assert "full is left out: RESOURCE_EXHAUSTED" in caplog.text


def test_threads_record_while_others_drain() -> None:
    """Every record is in one snapshot, and in no other."""
    tracker = StatsTracker()
    threads, records = 4, 200
    values = [jnp.int32(i) for i in range(records)]
    array = jnp.ones(5)

    def record() -> None:
        for value in values:
            tracker.total(amount=value)
            tracker.scalar(loss=value)
            tracker.summary("x", array)

    running = [threading.Thread(target=record) for _ in range(threads)]
    for thread in running:
        thread.start()
    found = []
    while any(thread.is_alive() for thread in running):
        found.append(exported(tracker))
    for thread in running:
        thread.join()
    found.append(exported(tracker))
    assert sum(each.get("amount", 0) for each in found) == threads * sum(range(records))
    assert sum(each.get("loss__count", 0) for each in found) == threads * records
    assert sum(each.get("x__count", 0) for each in found) == 5 * threads * records


def test_switched_off_nothing_is_launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor checked, nor compiled."""
    monkeypatch.setenv("SIGHTLINE_DISABLED", "1")
    tracker = StatsTracker()
    array = jnp.ones((3, 1, 4, 1, 5))
    with at_most(64), compilations() as compiled:
        tracker.scalar(x=array)
        tracker.summary("x", array, quantiles=(0.5,))
        tracker.masked("x", array, array)
        tracker.total(x=deleted())
        logger = logger_in(tmp_path, tracker=tracker)
        logger.commit(0)
        logger.commit(1, {"loss": array})
        assert not PROGRAMS._known
    assert [name for name in compiled if name != "MainThread"] == []
    assert tracker.drain().recorded() == []
    assert list(tmp_path.iterdir()) == []


# --- in a process of four devices --------------------------------------------------------------------------


def a_mask_in_other_shards_is_refused_with_both_named() -> None:
    """And the fix is right."""
    grid = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
    values = jax.device_put(np.ones((8, 4), np.float32), NamedSharding(grid, P("a")))
    mask = jax.device_put(np.ones((8, 4), bool), NamedSharding(grid, P(None, "b")))
    tracker = StatsTracker()
    with pytest.raises(RecordError) as error:
        tracker.masked("x", values, mask)
    assert str(values.sharding) in str(error.value)
    assert str(mask.sharding) in str(error.value)
    assert "jax.device_put(mask, values.sharding)" in str(error.value)
    tracker.masked("x", values, jax.device_put(mask, values.sharding))
    assert exported(tracker)["x__count"] == 32


def shards_that_are_the_same_pair_whatever_their_mesh_is_called() -> None:
    for programs in (64, 0):
        with at_most(programs):
            tracker = StatsTracker()
            data = np.arange(32, dtype=np.float32).reshape(8, 4)
            values = jax.device_put(data, NamedSharding(Mesh(np.array(jax.devices()), ("x",)), P("x")))
            grid = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
            mask = jax.device_put(data > 5, NamedSharding(grid, P(("a", "b"))))
            tracker.masked("x", values, mask, quantiles=(0.5,))
            check(exported(tracker), "x", data[data > 5])


def arrays_of_one_process_count_each_element_once() -> None:
    """Replicated over its devices or not; with replicated=True the same."""
    for programs in (64, 0):
        with at_most(programs):
            mesh = Mesh(np.array(jax.devices()), ("d",))
            data = np.arange(32, dtype=np.float32).reshape(8, 4)
            tracker = StatsTracker()
            for spec in (P(), P("d"), P(None, "d")):
                tracker.summary("x", jax.device_put(data, NamedSharding(mesh, spec)))
                tracker.summary("once", jax.device_put(data, NamedSharding(mesh, spec)), replicated=True)
            tracker.scalar(loss=jax.device_put(np.float32(2), NamedSharding(mesh, P())))
            tracker.total(tokens=jax.device_put(np.int32(3), NamedSharding(mesh, P())), replicated=True)
            found = exported(tracker)
            assert (found["x__count"], found["loss__count"], found["tokens"]) == (96, 1, 3)
            check(found, "x", np.stack([data] * 3))
            assert found["once/mean"] == data.mean()


def scalars_of_several_devices_in_one_call() -> None:
    """Packed by device, and each in its place."""
    for programs in (64, 0):
        with at_most(programs):
            tracker = StatsTracker()
            for _ in range(3):
                tracker.scalar(**{
                    f"s{i}": jax.device_put(np.float32(i), jax.devices()[i * 3 % 4]) for i in range(8)
                }, host=9.0)  # fmt: skip
                tracker.ratio("r", *(jax.device_put(np.int32(i), jax.devices()[i]) for i in (1, 2)))
            found = exported(tracker)
            assert {f"s{i}": found[f"s{i}"] for i in range(8)} == {f"s{i}": i for i in range(8)}
            assert (found["host"], found["s3__count"], found["r"]) == (9.0, 3, 0.5)


def a_hung_device_leaves_the_rest_of_an_export() -> None:
    """Which comes within its time-out."""
    hangs = Callback(Hung(), jax.devices()[3])
    fine = jax.device_put(np.float32(2), jax.devices()[0])
    tracker = StatsTracker()
    tracker.scalar(hung=hangs())
    tracker.scalar(fine=fine)
    tracker.scalar(host=3)
    for reset in (False, True):
        found = exported(tracker, reset=reset, timeout=2.0)
        assert found == {"fine": 2.0, "fine__count": 1, "host": 3.0, "host__count": 1}
    tracker.scalar(fine=fine)
    assert exported(tracker) == {"fine": 2.0, "fine__count": 1}


ON_FOUR_DEVICES = (
    a_mask_in_other_shards_is_refused_with_both_named,
    shards_that_are_the_same_pair_whatever_their_mesh_is_called,
    arrays_of_one_process_count_each_element_once,
    scalars_of_several_devices_in_one_call,
    a_hung_device_leaves_the_rest_of_an_export,
)


@pytest.fixture(scope="module")
def on_four_devices() -> dict[str, str]:
    """What each of those functions said, "" if nothing."""
    return said_by("tests.jax.test_recording", devices=4)


@pytest.mark.parametrize("name", [each.__name__ for each in ON_FOUR_DEVICES])
def test_on_four_devices(name: str, on_four_devices: dict[str, str]) -> None:
    """Each of the functions above."""
    assert on_four_devices[name] == "", on_four_devices[name]


if __name__ == "__main__":
    report(ON_FOUR_DEVICES)


def test_values_of_64_bits_are_exact_where_they_are_switched_off() -> None:
    """Made in a part of the program that has them enabled, recorded in one that has not."""
    tracker = StatsTracker()
    with jax.enable_x64(True):
        scalar, array = jnp.float64(1e8) + 0.25, jnp.arange(4, dtype=jnp.float64) + 1e-9
    for _ in range(2):  # the second call has been made before
        tracker.scalar(c=scalar, d=jnp.float32(1))
        tracker.summary("x", array)
    stats = tracker.export(reduce="local")
    assert stats["c"] == 1e8 + 0.25
    assert stats["x/min"] == 1e-9
    assert stats["x__count"] == 8


def test_arrays_that_everyone_may_delete_are_counted_as_lost() -> None:
    """``jax.live_arrays()`` reaches what is on its way, too; asking a deleted array crashes JAX."""
    tracker = StatsTracker()
    known = {id(array) for array in jax.live_arrays()}
    tracker.scalar(a=jnp.float32(1))
    tracker.summary("b", jnp.arange(3.0))
    for array in jax.live_arrays():
        if id(array) not in known:
            array.delete()
    stats = tracker.drain()
    stats.wait(1)
    assert stats.trouble["failed_device_values"] == 2


def test_nested_lists_and_wrapped_arrays_are_taken_where_they_lie() -> None:
    """Not through NumPy, which would wait for each."""

    class Variable:
        """As neural network libraries have them."""

        def __init__(self, value: Any) -> None:
            self.value = value

        def __jax_array__(self) -> Any:
            return self.value

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("read on the host")

    tracker = StatsTracker()
    one = jnp.float32(1)
    for _ in range(2):
        tracker.summary("nested", [[one, 2 * one], [3 * one, 4 * one]])
        tracker.masked("chosen", [[one, 2 * one]], [[one > 0, one < 0]])
        tracker.summary("variable", Variable(jnp.arange(4.0)))
        tracker.masked("both", Variable(jnp.arange(4.0)), Variable(jnp.arange(4) > 1))
        tracker.scalar(s=Variable(one))
    stats = tracker.export(reduce="local")
    assert (stats["nested/mean"], stats["nested__count"]) == (2.5, 8)
    assert (stats["chosen/mean"], stats["chosen__count"]) == (1.0, 2)
    assert (stats["variable/mean"], stats["both/mean"], stats["s"]) == (1.5, 2.5, 1.0)


def test_a_program_that_cannot_be_launched_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing it again at each record would hold the caller for milliseconds."""
    tried = 0

    def refused(*_: Any) -> Any:
        nonlocal tried
        tried += 1
        raise ValueError("memory of another kind")

    monkeypatch.setattr(launching, "_launch", refused)
    tracker = StatsTracker()
    known = len(PROGRAMS._known)
    for _ in range(5):
        tracker.summary("x", jnp.arange(13.0))
    assert tried == 1
    assert len(PROGRAMS._known) == known
    assert tracker.export(reduce="local")["x/mean"] == 6.0
    PROGRAMS._refused.clear()


def test_beyond_the_cap_recording_inside_jit_is_the_same_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROGRAMS, "may_run", lambda key: False)
    outer = jnp.arange(3.0)

    def step(x: Any) -> Any:
        StatsTracker().summary("y", outer)
        return x

    with pytest.raises(RecordError, match="a function that JAX traces"):
        jax.jit(step)(1.0)
