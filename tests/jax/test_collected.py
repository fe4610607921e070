"""What collected statistics hold: values of all kinds, as a plain pytree."""

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

import sightline as sl
from sightline.jax.collecting import add, collect
from tests.jax.collected_functions import RNG, XS, as_observed, exported, holds, observed, quiet


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.int8, np.uint8, np.bool_, np.uint32])
def test_dtypes(dtype: Any) -> None:
    """Values of any real dtype: statistics of exactly those values."""
    x = (RNG.normal(0, 30, (4, 100)) if dtype is not np.bool_ else RNG.random((4, 100)) < 0.3).astype(dtype)

    def f(row: Any) -> None:
        sl.summary("x", row)
        sl.masked("m", row, jnp.arange(100) % 2)
        sl.total(sum=row.sum(dtype=jnp.int32) if jnp.issubdtype(dtype, jnp.integer) else row[0])
        sl.last(last=row[1])

    found = exported(jax.vmap(collect(f))(x)[1])
    holds(found, "x", x)
    holds(found, "m", x[:, 1::2])
    assert found["last"] == float(x[3, 1])


def test_x64() -> None:
    """Under x64 values are reduced in float64 and ints are exact at 64 bits."""
    with x64():
        x = 1e8 + RNG.normal(size=(3, 1000))
        big = np.array([2**62, 2**62, 2**62], np.int64)

        def f(row: Any, n: Any) -> None:
            sl.summary("x", row)
            sl.total(n=n)
            sl.scalar(mean=n)
            sl.last(last=n - 1)
            sl.total(host=1)

        _, stats = jax.jit(jax.vmap(collect(f)))(x, big)
    found = exported(stats)
    assert found["x/mean"] == pytest.approx(x.mean(), rel=1e-12)
    assert found["x/std"] == pytest.approx(x.std(), rel=1e-9)
    assert found["n"] == pytest.approx(3 * 2**62)
    assert found["mean"] == 2.0**62
    assert found["host"] == 3


def x64() -> Any:
    """JAX's context manager, where this version has it."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64()


def test_int32_sums_past_two_to_the_31() -> None:
    """Totals of int32 over a stacked axis are exact ints."""
    xs = jnp.full(5, 2**31 - 1, jnp.int32)
    found = exported(jax.vmap(collect(lambda x: sl.total(n=x)))(xs)[1])
    assert found["n"] == 5 * (2**31 - 1)
    assert isinstance(found["n"], int)


def test_a_long_scan_counts_exactly() -> None:
    """10,000 steps."""

    def body(carry: Any, i: Any) -> Any:
        return collect(recording)(carry, i)

    def recording(carry: Any, i: Any) -> Any:
        sl.scalar(i=i)
        sl.summary("x", jnp.full(3, i.astype(jnp.float32)), quantiles=(0.5,))
        sl.total(n=i)
        sl.last(i_last=i)
        return carry

    found = exported(jax.jit(lambda: lax.scan(body, 0, jnp.arange(10_000))[1])())
    assert found["i"] == 4999.5
    assert found["i__count"] == 10_000
    holds(found, "x", np.repeat(np.arange(10_000), 3), quantiles=(0.5,))
    assert (found["n"], found["i_last"]) == (9999 * 5000, 9999)


def test_numbers_of_the_host_become_constants() -> None:
    """Python and NumPy numbers and arrays, at the precision in which they are given if 32 bits hold them."""

    def f(x: Any) -> Any:
        sl.scalar(a=1, b=2.5)
        sl.total(big=2**40, small=np.int64(3), flag=True)
        sl.ratio("ratio", np.float32(1), 4)
        sl.last(lr=1e-3)
        sl.summary("array", np.arange(4))
        sl.masked("mask", [1.0, 2.0, 3.0], [True, False, True])
        sl.summary("mixed", [x, 1.0])
        return x

    found = exported(jax.jit(collect(f))(3.0)[1])
    assert (found["a"], found["b"], found["big"], found["small"], found["flag"]) == (1.0, 2.5, 2**40, 3, 1)
    assert (found["ratio"], found["lr"]) == (0.25, pytest.approx(1e-3))
    assert (found["array/mean"], found["mask/mean"], found["mixed/max"]) == (1.5, 2.0, 3.0)


def test_a_key_recorded_several_times() -> None:
    """Also in a Python loop, and with several dtypes."""

    def f(x: Any) -> Any:
        for i in range(5):
            sl.scalar(i=i)
            sl.summary("x", x + i)
            sl.last(l=i)
            sl.total(t=x.sum() if i % 2 else i)
        return x

    x = np.arange(4, dtype=np.float32)
    found = exported(jax.jit(collect(f))(x)[1])
    assert (found["i"], found["i__count"]) == (2.0, 5)
    holds(found, "x", [x + i for i in range(5)])
    assert (found["l"], found["t"]) == (4, 0 + 6 + 2 + 6 + 4)


def test_values_that_are_not_finite() -> None:
    """Shown as on the host, or dropped where that is asked for."""
    x = jnp.array([1.0, jnp.nan, jnp.inf, 3.0])

    def f(x: Any) -> None:
        sl.summary("show", x)
        sl.summary("drop", x, nonfinite="drop")
        sl.scalar("s", x[1])
        sl.scalar("d", x[1], nonfinite="drop")
        sl.scalar("d", x[0], nonfinite="drop")

    found = exported(jax.jit(collect(f))(x)[1])
    assert np.isnan(found["show/mean"])
    assert (found["show__count"], found["show/max"]) == (4, 3.0)
    assert (found["drop/mean"], found["drop__count"]) == (2.0, 2)
    assert np.isnan(found["s"])
    assert (found["d"], found["d__count"]) == (1.0, 1)


def test_an_empty_mask_and_an_empty_scan() -> None:
    """Nothing is recorded, and nothing is made up."""
    found = exported(jax.jit(collect(lambda x: sl.masked("m", x, x > 9)))(jnp.arange(3.0))[1])
    assert found == {"m__count": 0}
    none = lax.scan(lambda c, x: (c, collect(observed)(x)[1]), 0.0, jnp.zeros((0, 3)))[1]
    assert "x/mean" not in exported(none)


def test_histogram_and_rate() -> None:
    """A histogram comes with a sketch; the scope at ingest stands in the middle of a rate's name."""

    def f(x: Any) -> None:
        sl.histogram("h", x, bins=4)
        with sl.scope("inner"):
            sl.rate("tokens", x.size)

    tracker = sl.StatsTracker()
    with tracker.scope("train"):
        tracker.ingest(jax.jit(collect(f))(jnp.array([1.0, 3.0, 5.0, 7.0, 9.0]))[1])
    rendered = tracker.snapshot().render(wall_s=2.0)
    assert rendered.values["throughput/train/inner/tokens_per_s"] == 2.5
    assert rendered.histograms["train/h"][1] == [1, 1, 1, 2]


def test_a_rate_over_a_timing() -> None:
    """The timing is of the scope that the rate is recorded in."""

    def f(x: Any) -> Any:
        with sl.scope("inner"):
            sl.rate("tokens", x, over="work")
        return x

    tracker = sl.StatsTracker()
    with tracker.scope("train"):
        with tracker.scope("inner"), tracker.record_timing("work"):
            pass
        tracker.ingest(jax.jit(collect(f))(3)[1])
    found = tracker.snapshot().render(wall_s=1.0).values
    assert found["throughput/train/inner/tokens_per_s"] == pytest.approx(3 / found["time/train/inner/work_s"])


def test_last_is_the_latest_of_host_and_device() -> None:
    """Whatever came later, and over a stacked axis the last index."""
    _, stats = jax.vmap(collect(lambda x: sl.last(lr=x)))(jnp.arange(3.0))
    tracker = sl.StatsTracker()
    tracker.last(lr=9.0)
    tracker.ingest(stats)
    assert tracker.export(reduce="local")["lr"] == 2.0
    tracker.ingest(stats)
    tracker.last(lr=9.0)
    assert tracker.export(reduce="local")["lr"] == 9.0


def test_values_of_64_bits_are_taken_where_they_are_switched_off() -> None:
    with jax.enable_x64(True):
        wide = jnp.arange(4, dtype=jnp.float64)
    _, stats = jax.jit(collect(lambda x: sl.summary("x", x)))(wide)
    assert exported(stats)["x/mean"] == 1.5


# --- the pytree --------------------------------------------------------------------------------------------


def test_no_retracing_and_equal_trees() -> None:
    """A second call is served from JAX's cache; equal keys make equal trees, wherever they are recorded."""
    traced = 0

    @jax.jit
    @collect
    def step(x: Any) -> Any:
        nonlocal traced
        traced += 1
        sl.scalar(x=x)
        return x

    with sl.scope("a"):
        first = step(1.0)[1]
    with sl.scope("b"):
        second = step(2.0)[1]
    assert traced == 1

    def elsewhere(x: Any) -> Any:
        return sl.scalar("x", x + 1)

    third = jax.jit(collect(elsewhere))(1.0)[1]
    assert jax.tree.structure(first) == jax.tree.structure(second) == jax.tree.structure(third)
    assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(third))


def test_statistics_are_a_plain_pytree() -> None:
    """Through jit, tree.map, flatten, device_get and pickle they stay what they are."""
    _, stats = jax.jit(collect(observed))(XS)
    passed = jax.jit(lambda s: s)(stats)
    mapped = jax.tree.map(lambda x: x, passed)
    leaves, tree = jax.tree.flatten(mapped)
    host = jax.device_get(jax.tree.unflatten(tree, leaves))
    read = pickle.loads(pickle.dumps(host))
    assert jax.tree.structure(read) == jax.tree.structure(stats)
    for each in (passed, mapped, host, read):
        as_observed(exported(each), XS, 1)


def test_statistics_of_several_steps_stacked_by_hand() -> None:
    """jnp.stack keeps them whole."""
    step = jax.jit(collect(observed))
    each = [step(x)[1] for x in XS]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    as_observed(exported(stacked), XS, 6)


def test_nothing_recorded() -> None:
    """No leaf, and nothing to ingest."""
    _, stats = jax.jit(collect(quiet))(1.0)
    assert not jax.tree.leaves(stats)
    assert exported(stats) == {}


def test_added_keys_sort_and_branches_may_add_in_any_order() -> None:
    """The order of add does not tell two trees apart."""

    def f(*keys: str) -> Any:
        for key in keys:
            add(collect(lambda key=key: sl.scalar(key, 1.0))()[1])

    one, other = collect(f)("a", "b")[1], collect(f)("b", "a")[1]
    assert jax.tree.structure(one) == jax.tree.structure(other)


def test_decorator_with_options_keeps_the_name() -> None:
    """``@collect(...)`` reads like the function."""

    @collect(like=())
    def step(x: Any) -> Any:
        """Doc."""
        return x

    assert (step.__name__, step.__doc__) == ("step", "Doc.")
    assert step(1)[0] == 1


def test_trackers_by_name_record_in_the_collector() -> None:
    """All trackers lead to the collector of the function that is being traced."""
    critic = sl.StatsTracker("critic")

    def f(x: Any) -> Any:
        with critic.scope("c"):
            critic.scalar(x=x)
        sl.scalar(y=x)

    found = exported(collect(f)(1.0)[1])
    assert (found["c/x"], found["y"]) == (1.0, 1.0)


def test_outside_stays_outside() -> None:
    """Records around a collected function go to the tracker, as ever."""
    tracker = sl.StatsTracker()
    tracker.scalar(before=1.0)
    collect(quiet)(1.0)
    tracker.scalar(after=1.0)
    assert set(tracker.export(reduce="local")) == {"before", "before__count", "after", "after__count"}
