"""Programs for recorded arrays: few are compiled, on the caller's thread; and which elements they take."""

import logging
import tempfile
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import sightline as sl
from sightline.committing.stats_logger import StatsLogger
from sightline.config import StatsLoggerConfig
from sightline.jax.budget import PROGRAMS, Programs
from sightline.jax.programs import copies, owned, placement
from tests.jax.several_devices import at_most, compilations, report, said_by

P: Any = PartitionSpec


class Said(logging.Handler):
    """What sightline logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logging.getLogger("sightline").addHandler(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        logging.getLogger("sightline").removeHandler(self)


def check(found: dict[str, Any], key: str, values: Any) -> None:
    """Whether a key has NumPy's statistics."""
    x = np.asarray(values, np.float64)
    near = 1e-6 * max(abs(x.mean()), x.std())
    assert found[f"{key}__count"] == x.size
    assert (found[f"{key}/min"], found[f"{key}/max"]) == (x.min(), x.max())
    assert abs(found[f"{key}/mean"] - x.mean()) <= near
    assert abs(found[f"{key}/std"] - x.std()) <= 10 * near


# --- in a process of four devices --------------------------------------------------------------------------


def put(values: Any, *spec: Any) -> jax.Array:
    """Over all four devices."""
    mesh = Mesh(np.array(jax.devices()), ("d",))
    return jax.device_put(values, NamedSharding(mesh, P(*spec)))


def five_hundred_shapes_compile_no_more_than_the_cap() -> None:
    """On all devices and on each; what comes after is as exact, and one warning says so."""
    cap, shapes = 16, 500
    tracker = sl.StatsTracker()
    arrays = {}
    for i in range(shapes):
        values = np.random.default_rng(i).normal(5, 2, 4 * (i + 1)).astype(np.float32)
        sharded = put(values, "d") if i % 2 else jax.device_put(values, jax.devices()[i // 2 % 4])
        arrays[f"shape{i}"] = (values, sharded)
    with at_most(cap), compilations() as compiled, Said() as lines:
        for key, (values, array) in arrays.items():
            tracker.summary(key, array)
            if key.endswith("9"):
                tracker.masked("kept", array, values > 4, quantiles=(0.5,))
            if key.endswith("7"):
                tracker.scalar(size=jax.device_put(np.float32(values.size), array.sharding.mesh.devices[1]))
        found = tracker.export(reduce="local")
    assert 0 < len(compiled) <= cap, len(compiled)
    assert set(compiled) == {"MainThread"}
    for key, (values, _) in arrays.items():
        check(found, key, values)
    kept = np.concatenate([values for key, (values, _) in arrays.items() if key.endswith("9")])
    check(found, "kept", kept[kept > 4])
    median = np.quantile(kept[kept > 4].astype(np.float64), 0.5, method="lower")
    assert abs(found["kept/p50"] - median) <= 0.0101 * median
    assert found["size__count"] == shapes / 10
    assert [line for line in lines if "16 programs have been compiled" in line] == lines
    assert len(lines) == 1
    assert "raise max_programs in sl.start" in lines[0]


def a_shape_compiles_once() -> None:
    """For any number of records, keys, and trackers; masks of the host and of the devices share a program."""
    with at_most(64), compilations() as compiled:
        values = np.arange(40, dtype=np.float32).reshape(8, 5)
        mask = values > 3
        sharded, sharded_mask = put(values, "d"), put(mask, "d")
        whole = jax.device_put(values, jax.devices()[2])
        for repeat in range(3):
            tracker = sl.StatsTracker()
            for key in ("first", "second"):
                tracker.masked(key, sharded, sharded_mask)
                tracker.masked(key, sharded, mask)
                tracker.masked(f"{key}_whole", whole, mask)
                tracker.scalar(f"{key}_scalar", put(np.float32(1)))
            tracker.export(reduce="local")
            if repeat == 0:
                first = len(compiled)
    assert first == 3
    assert len(compiled) == first


def each_element_of_an_array_is_owned_once() -> None:
    """Whatever parts of it lie on more than one device."""
    grid = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
    values = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    specs = {P("a"): 2, P("b"): 2, P(None, "b"): 2, P("a", "b"): 4, P(("a", "b")): 4, P(): 1}
    for spec, parts in specs.items():
        array = jax.device_put(values, NamedSharding(grid, spec))
        shards = owned(array)
        assert len(shards) == parts
        assert sorted(np.concatenate([np.asarray(s).ravel() for s in shards])) == list(range(64))
        assert placement(array).owned_size == placement(array).size == 64
        assert not placement(array).is_global


def nothing_is_compiled_behind_the_callers_back() -> None:
    """Nor launched: what background threads do with device values is reading them."""
    with tempfile.TemporaryDirectory() as folder:
        tracker = sl.StatsTracker()
        logger = StatsLogger(StatsLoggerConfig(log_dir=folder, sinks=[]), tracker=tracker)
        with compilations() as compiled, at_most(3):
            for step in range(8):
                with jax.transfer_guard("disallow"):
                    values = put(np.ones((4 * (step + 1), 3), np.float32), "d")
                    tracker.summary("values", values, quantiles=(0.5,))
                    tracker.masked("masked", values, np.ones(values.shape, bool))
                    tracker.scalar(loss=jax.device_put(np.float32(step), jax.devices()[step % 4]))
                    with tracker.record_timing("step") as timing:
                        timing.until(values)
                    logger.commit(step)
                    logger.commit(step, {"final/loss": jax.device_put(np.float32(step), jax.devices()[1])})
            assert logger.finish()
        assert set(compiled) == {"MainThread"}
        commits = [line for line in sl.read_journal(logger.dir) if line["type"] == "commit"]
        assert [line["values"]["loss"] for line in commits[::2]] == list(range(8))
        assert [line["values"]["final/loss"] for line in commits[1::2]] == list(range(8))


def a_copy_has_a_buffer_of_its_own() -> None:
    """So that the array may be donated, and the copy stays."""
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    for device in jax.devices()[:2]:
        array = jax.device_put(np.arange(1000, dtype=np.float32), device)
        (copy,) = copies([array])
        assert copy.devices() == {device}
        assert copy.unsafe_buffer_pointer() != array.unsafe_buffer_pointer()
        changed = add(array)
        assert array.is_deleted()
        assert np.array_equal(copy, np.arange(1000))
        assert changed[0] == 1


ON_FOUR_DEVICES = (
    five_hundred_shapes_compile_no_more_than_the_cap,
    a_shape_compiles_once,
    each_element_of_an_array_is_owned_once,
    nothing_is_compiled_behind_the_callers_back,
    a_copy_has_a_buffer_of_its_own,
)


@pytest.fixture(scope="module")
def on_four_devices() -> dict[str, str]:
    """What each of those functions said, "" if nothing."""
    return said_by("tests.jax.test_programs", devices=4)


@pytest.mark.parametrize("name", [each.__name__ for each in ON_FOUR_DEVICES])
def test_on_four_devices(name: str, on_four_devices: dict[str, str]) -> None:
    """Each of the functions above."""
    assert on_four_devices[name] == "", on_four_devices[name]


# --- the budget --------------------------------------------------------------------------------------------


def test_the_cap_is_a_setting_of_the_run(tmp_path: Any) -> None:
    """64 unless said otherwise; none at all is possible."""
    before = PROGRAMS.max_programs
    try:
        for cap in (64, 0, 7):
            given = {} if cap == 64 else {"max_programs": cap}
            logger = StatsLogger(
                StatsLoggerConfig(log_dir=tmp_path / str(cap), sinks=[], **given), tracker=sl.StatsTracker()
            )
            assert PROGRAMS.max_programs == cap
            logger.finish()
    finally:
        PROGRAMS.max_programs = before


def test_a_cap_that_is_none_is_refused() -> None:
    for wrong in (-1, 1.5, "many"):
        with pytest.raises(sl.ConfigurationError, match="max_programs"):
            StatsLoggerConfig(max_programs=wrong)  # type: ignore[arg-type]


def test_threads_share_the_cap(caplog: pytest.LogCaptureFixture) -> None:
    """However many ask at once; what is known already may always run."""
    programs = Programs(max_programs=10)
    allowed: list[int] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        allowed.extend(key for key in range(100) if programs.may_run(key))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(allowed)) == 10
    assert all(programs.may_run(key) for key in set(allowed))
    assert caplog.text.count("programs have been compiled") == 1


def test_a_traced_function_of_sightline_has_its_name_in_profiles() -> None:
    """So that a profile tells its programs from those of the training."""
    from sightline.jax.recording import sightline_moments, sightline_scalars

    assert "sightline_moments" in sightline_moments.lower(jnp.ones(3)).as_text()
    assert "sightline_scalars" in sightline_scalars.lower(jnp.ones(())).as_text()


if __name__ == "__main__":
    report(ON_FOUR_DEVICES)
