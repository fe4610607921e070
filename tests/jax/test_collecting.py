"""Collecting: what is recorded inside JAX's transformations comes out exact, and each mistake teaches.

What needs several devices runs in one process of four CPU devices, which is this file as a program.
"""

import contextvars
import gc
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import sightline as sl
from sightline import RecordError
from sightline.jax.collected import MAGIC
from sightline.jax.collecting import active, add, collect
from sightline.scoping import all_scopes

RNG = np.random.default_rng(0)
XS = RNG.normal(3.0, 2.0, (6, 5, 7)).astype(np.float32)


def exported(stats: Any, scope: str = "") -> dict[str, Any]:
    """What a fresh tracker exports of some statistics."""
    tracker = sl.StatsTracker()
    if scope:
        with tracker.scope(scope):
            tracker.ingest(stats)
    else:
        tracker.ingest(stats)
    return tracker.export(reduce="local")


def holds(found: dict[str, Any], key: str, values: Any, *, quantiles: tuple[float, ...] = ()) -> None:
    """Whether a key has the count, mean, std, min and max of values, as NumPy has them in float64."""
    x = np.asarray(values, np.float64).ravel()
    near = 1e-5 * max(abs(x.mean()), x.std())
    assert found[f"{key}__count"] == x.size
    assert found[f"{key}/min"] == x.min()
    assert found[f"{key}/max"] == x.max()
    assert abs(found[f"{key}/mean"] - x.mean()) <= near
    assert abs(found[f"{key}/std"] - x.std()) <= near
    for q in quantiles:
        exact = np.quantile(x, q, method="lower")
        assert abs(found[f"{key}/p{100 * q:g}"] - exact) <= 0.0101 * abs(exact)


def observed(x: jax.Array) -> jax.Array:
    """Records one of each kind, and returns something that has a gradient."""
    y = jnp.sin(x) * x
    sl.summary("x", x, quantiles=(0.1, 0.5, 0.9))
    sl.masked("positive", x, x > 0)
    sl.scalar("sum", y.sum())
    sl.scalar(ones=1.0)
    sl.total("elements", x.size)
    sl.total(positive_elements=(x > 0).sum())
    sl.ratio("share", (x > 0).sum(), x.size)
    sl.last("first", x.reshape(-1)[0])
    return y.sum()


def as_observed(found: dict[str, Any], values: Any, rows: int) -> None:
    """Whether what :func:`observed` recorded of some rows of equal size, together ``values``, came out."""
    x = np.asarray(values, np.float64)
    holds(found, "x", x, quantiles=(0.1, 0.5, 0.9))
    holds(found, "positive", x[x > 0])
    y = (np.sin(x) * x).sum() / rows
    assert found["sum"] == pytest.approx(y, rel=1e-4, abs=1e-4)
    assert found["sum__count"] == found["ones__count"] == rows
    assert found["ones"] == 1.0
    assert found["elements"] == x.size
    assert isinstance(found["elements"], int)
    assert found["positive_elements"] == (x > 0).sum()
    assert found["share"] == (x > 0).mean()


# --- transformations ---------------------------------------------------------------------------------------


def test_without_any_transformation() -> None:
    """A collected function runs eagerly, too."""
    out, stats = collect(observed)(jnp.asarray(XS))
    assert out == observed_plainly(XS)
    as_observed(exported(stats), XS, 1)
    assert exported(stats)["first"] == XS[0, 0, 0]


def observed_plainly(x: Any) -> jax.Array:
    return (jnp.sin(x) * x).sum()


def test_jit() -> None:
    """Statistics leave a jitted function as one small output, and its result is the same to the bit."""
    out, stats = jax.jit(collect(observed))(XS)
    assert out == jax.jit(observed_plainly)(XS)
    assert len(jax.tree.leaves(stats)) == 1
    as_observed(exported(stats), XS, 1)


def test_value_and_grad() -> None:
    """As the aux of value_and_grad; value and gradient are what they were to the bit."""
    grad = jax.jit(jax.value_and_grad(collect(observed), has_aux=True))
    (value, stats), gradient = grad(XS[0])
    plain_value, plain_gradient = jax.jit(jax.value_and_grad(observed_plainly))(XS[0])
    assert value == plain_value
    np.testing.assert_array_equal(gradient, plain_gradient)
    as_observed(exported(stats), XS[0], 1)


def test_forward_mode_and_vjp() -> None:
    """jvp and vjp with aux."""
    _, tangent, stats = jax.jvp(collect(observed), (XS[0],), (jnp.ones_like(XS[0]),), has_aux=True)
    assert tangent == jax.jvp(observed_plainly, (XS[0],), (jnp.ones_like(XS[0]),))[1]
    as_observed(exported(stats), XS[0], 1)
    _, pull, stats = jax.vjp(collect(observed), XS[0], has_aux=True)
    np.testing.assert_array_equal(pull(1.0)[0], jax.grad(observed_plainly)(XS[0]))
    as_observed(exported(stats), XS[0], 1)


def accumulated(xs: Any) -> Any:
    """Gradient accumulation: a scan of grad."""

    def body(carry: Any, x: Any) -> Any:
        (_, stats), gradient = jax.value_and_grad(collect(observed), has_aux=True)(x)
        return carry + gradient, stats

    return lax.scan(body, jnp.zeros(xs.shape[1:]), xs)


def test_scan_of_grad() -> None:
    """The stacked statistics of a gradient accumulation count all micro-batches."""
    gradient, stats = jax.jit(accumulated)(XS)
    expected = lax.scan(lambda c, x: (c + jax.grad(observed_plainly)(x), None), jnp.zeros((5, 7)), XS)[0]
    np.testing.assert_array_equal(gradient, jax.jit(lambda: expected)())
    assert stats.words[0].shape[0] == 6
    found = exported(stats)
    as_observed(found, XS, 6)
    assert found["first"] == XS[5, 0, 0]


def test_vmap() -> None:
    """Each lane is a record."""
    out, stats = jax.vmap(collect(observed))(XS)
    np.testing.assert_array_equal(out, jax.vmap(observed_plainly)(XS))
    as_observed(exported(stats), XS, 6)


def test_vmap_with_statistics_on_another_axis_is_refused() -> None:
    """The words must stay last."""
    _, stats = jax.vmap(collect(observed), out_axes=(0, 1))(XS)
    with pytest.raises(RecordError, match=r"(?s)the last axis must have.*right:.*out_axes=\(1, 0\)"):
        exported(stats)


def test_remat() -> None:
    """What is computed again in the backward pass is not counted again."""

    def loss(x: Any) -> Any:
        y, stats = jax.checkpoint(collect(observed))(x)
        add(stats)
        return y

    (_, stats), gradient = jax.jit(jax.value_and_grad(collect(loss), has_aux=True))(XS)
    np.testing.assert_array_equal(gradient, jax.jit(jax.grad(jax.checkpoint(observed_plainly)))(XS))
    as_observed(exported(stats), XS, 1)


def test_grad_of_scan_of_remat_with_scopes() -> None:
    """Layers in a scan, each under remat, all under one gradient; keys get each scope on the way."""

    def layer(h: Any, w: Any) -> Any:
        h = jnp.tanh(h * w)
        with sl.scope("layer"):
            sl.summary("h", h)
        return h

    def body(h: Any, w: Any) -> Any:
        return jax.checkpoint(collect(layer))(h, w)

    def loss(ws: Any, h: Any) -> Any:
        with sl.scope("net"):
            h, stats = lax.scan(body, h, ws)
            add(stats)
        sl.scalar("loss", h.sum())
        return h.sum()

    ws = jnp.linspace(0.5, 1.5, 8)
    (value, stats), gradient = jax.jit(jax.value_and_grad(collect(loss), has_aux=True))(ws, XS[0])
    h = jnp.asarray(XS[0])
    hs = [h := jnp.tanh(h * w) for w in ws]
    found = exported(stats, "train")
    assert found["train/net/layer/h__count"] == 8 * XS[0].size
    assert found["train/net/layer/h/mean"] == pytest.approx(np.mean(hs), rel=1e-5)
    assert found["train/loss"] == value
    assert gradient.shape == (8,)


def test_scan_in_vmap_in_jit() -> None:
    """Two axes in front, folded at once."""
    xs = RNG.normal(size=(3, 4, 5)).astype(np.float32)

    def run(x: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            return collect(lambda r: (sl.summary("row", r), sl.total(rows=1), carry)[2])(row)

        return lax.scan(body, 0.0, x)

    _, stats = jax.jit(jax.vmap(run))(xs)
    found = exported(stats)
    holds(found, "row", xs)
    assert found["rows"] == 12


@pytest.mark.parametrize("test", [True, False])
def test_cond_with_the_same_keys(test: bool) -> None:
    """Branches that record the same keys, at lines of their own, give equal trees."""

    def small(x: Any) -> Any:
        sl.scalar(x=x)
        return x

    def large(x: Any) -> Any:
        sl.scalar(x=100 * x)
        return x

    _, stats = jax.jit(lambda t, x: lax.cond(t, collect(small), collect(large), x))(test, 2.0)
    assert exported(stats)["x"] == (2.0 if test else 200.0)


def quiet(x: Any) -> Any:
    return x


def loud(x: Any) -> Any:
    sl.summary("x", x * jnp.ones(3), quantiles=(0.5,))
    sl.scalar(seen=x)
    sl.scalar(seen=x + 1)
    sl.last(latest=x)
    sl.total(n=1)
    sl.ratio("share", x, 2)
    ys, stats = lax.scan(lambda c, y: collect(lambda z: (sl.scalar("inner", z), c)[1])(y), x, jnp.arange(4.0))
    add(stats)
    return ys


def test_cond_with_like() -> None:
    """A branch that records less fills in what is empty, added parts too."""
    like = [jax.eval_shape(collect(f), 1.0)[1] for f in (loud, quiet)]

    @jax.jit
    def run(xs: Any) -> Any:
        branches = [collect(f, like=like) for f in (loud, quiet)]
        return lax.scan(lambda c, x: (c, lax.cond(x > 0, *branches, x)[1]), 0.0, xs)[1]

    found = exported(run(jnp.array([1.0, -1.0, 3.0, -2.0])))
    assert found["seen"] == (1 + 2 + 3 + 4) / 4
    assert found["seen__count"] == 4
    assert (found["x/mean"], found["x__count"]) == (2.0, 6)
    assert 1 * 0.99 <= found["x/p50"] <= 3 * 1.01
    assert (found["latest"], found["n"], found["share"]) == (3.0, 2, 1.0)
    assert (found["inner"], found["inner__count"]) == (1.5, 8)
    nothing = exported(run(jnp.array([-1.0])))
    assert nothing["x__count"] == nothing["seen__count"] == nothing["n"] == 0
    assert not {"x/mean", "seen", "latest", "share", "inner"} & set(nothing)


def test_switch_with_like_of_one_stats() -> None:
    """``like`` may be one Stats; three branches."""

    def some(x: Any) -> Any:
        sl.total(n=2)
        return x

    like = collect(loud)(1.0)[1]
    branches = [collect(f, like=like) for f in (loud, some, quiet)]
    found = [exported(lax.switch(i, branches, 1.0)[1])["n"] for i in range(3)]
    assert found == [1, 2, 0]


def test_cond_in_scan() -> None:
    """One branch a turn, counted exactly."""

    def even(x: Any) -> Any:
        sl.total(even=1)
        sl.total(odd=0)
        return x

    def odd(x: Any) -> Any:
        sl.total(odd=1)
        sl.total(even=0)
        return x

    def body(carry: Any, i: Any) -> Any:
        return carry, lax.cond(i % 2 == 0, collect(even), collect(odd), i)[1]

    found = exported(jax.jit(lambda: lax.scan(body, 0, jnp.arange(101))[1])())
    assert (found["even"], found["odd"]) == (51, 50)


def test_lax_map_and_a_jit_inside() -> None:
    """lax.map stacks, and a jitted function has a collect of its own."""

    @jax.jit
    @collect
    def outer(xs: Any) -> Any:
        ys, stats = lax.map(collect(observed), xs)
        add(stats)
        _, stats = jax.jit(collect(lambda x: sl.scalar(once=x.sum())))(xs)
        add(stats)
        return ys

    found = exported(outer(XS)[1])
    as_observed(found, XS, 6)
    assert found["once__count"] == 1


def test_custom_vjp_with_a_collect_inside() -> None:
    """The forward pass of a custom_vjp returns its statistics beside the value."""

    @jax.custom_vjp
    def double(x: Any) -> Any:
        return collect(recording)(x)

    def recording(x: Any) -> Any:
        sl.scalar(x=x)
        return 2 * x

    double.defvjp(lambda x: (double(x), None), lambda _, cotangents: (2 * cotangents[0],))
    (_, stats), gradient = jax.value_and_grad(double, has_aux=True)(3.0)
    assert (gradient, exported(stats)["x"]) == (2.0, 3.0)


def test_a_loop_without_jit() -> None:
    """Under disable_jit a scan is a Python loop: its records go where they would go."""
    with jax.disable_jit():
        _, stats = collect(lambda x: lax.scan(lambda c, y: (c, sl.total(n=1)), x, jnp.arange(3)))(1.0)
    assert exported(stats)["n"] == 3


# --- values ------------------------------------------------------------------------------------------------


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


# --- mistakes ----------------------------------------------------------------------------------------------


def teaches(error: pytest.ExceptionInfo[RecordError], *parts: str) -> None:
    """Whether a message has the wrong code, the reason, and the right code."""
    for part in ("wrong:", "why:", "right:", *parts):
        assert part in str(error.value), f"{part!r} is not in:\n{error.value}"


def recording(x: Any) -> Any:
    sl.scalar("loss", x)
    return x


INSIDE: dict[str, Callable[[Any], Any]] = {
    "lax.scan": lambda x: lax.scan(lambda c, y: (c, recording(y)), x, jnp.ones(3)),
    "lax.map": lambda x: lax.map(recording, jnp.ones(3) * x),
    "jax.vmap": lambda x: jax.vmap(recording)(jnp.ones(3) * x),
    "jax.grad": lambda x: jax.grad(recording)(x),
    "lax.cond": lambda x: lax.cond(x > 0, recording, recording, x),
    "jax.checkpoint": lambda x: jax.checkpoint(recording)(x),
    "jax.jit": lambda x: jax.jit(recording)(x),
    "lax.while_loop": lambda x: lax.while_loop(lambda y: y < 3, recording, x),
    "lax.fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, y: recording(y), x),
    "jax.shard_map": lambda x: jax.shard_map(recording, mesh=one_device(), in_specs=P(), out_specs=P())(x),
}


def one_device() -> Any:
    return jax.make_mesh((1,), ("d",), devices=jax.devices()[:1])


@pytest.mark.parametrize("name", INSIDE)
def test_an_inner_transformation_without_a_collect(name: str) -> None:
    """The message names the transformation, the line, and how to collect from it."""
    with pytest.raises(RecordError) as error:
        jax.jit(collect(INSIDE[name]))(1.0)
    teaches(error, name, "scalar('loss')", "test_collecting.py:", "sl.collect(")


def test_an_inner_custom_vjp_without_a_collect() -> None:
    """Any other transformation has a message of its kind."""
    double = jax.custom_vjp(recording)
    double.defvjp(lambda x: (recording(x), None), lambda _, cotangent: (cotangent,))
    with pytest.raises(RecordError) as error:
        jax.jit(collect(lambda x: double(x)))(1.0)
    teaches(error, "jax.custom_vjp")


def test_a_constant_inside_an_inner_transformation_is_refused_too() -> None:
    """It would be counted once instead of three times."""
    with pytest.raises(RecordError) as error:
        collect(lambda x: lax.scan(lambda c, y: (c, sl.total(n=1)), x, jnp.ones(3)))(1.0)
    teaches(error, "total('n')")


def test_a_tracer_without_a_collector() -> None:
    """Recording under jit needs a collect."""
    with pytest.raises(RecordError, match=r"sl\.collect"):
        jax.jit(lambda x: sl.StatsTracker().scalar(x=x))(1.0)


@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("while_loop", lambda f, x: lax.while_loop(lambda y: y < 3, f, x)),
        ("fori_loop", lambda f, x: lax.fori_loop(0, 3, lambda i, y: f(y)[0], x)),
        ("fori_loop", lambda f, x: jax.jit(lambda n: lax.fori_loop(0, n, lambda i, y: f(y)[0], x))(3)),
    ],
)
def test_loops_without_outputs(name: str, loop: Callable[..., Any]) -> None:
    """Refused when they are traced, with a scan in their place; the rest of the program is not."""
    with pytest.raises(RecordError) as error:
        loop(collect(recording), 1.0)
    teaches(error, f"jax.lax.{name}", "jax.lax.scan")


def test_a_collect_deeper_inside_a_while_loop_is_not_refused() -> None:
    """Under a scan or a gradient of the body it is that one's, and its statistics may be left."""

    def body(x: Any) -> Any:
        (_, _), gradient = jax.value_and_grad(collect(recording), has_aux=True)(x)
        _, _ = lax.scan(lambda c, y: collect(lambda z: (c, recording(z)))(y)[0], 0.0, jnp.ones(3))
        return x + gradient + jax.vmap(collect(recording))(jnp.ones(3))[0].sum()

    assert lax.while_loop(lambda x: x < 3, body, 1.0) == 5.0


def test_add_without_a_collector() -> None:
    """Outside it is ingest that takes statistics."""
    with pytest.raises(RecordError) as error:
        add(collect(recording)(1.0)[1])
    teaches(error, "sl.ingest(stats)")


@pytest.mark.parametrize("given", [1.0, (1.0, "stats"), None])
def test_add_and_ingest_of_something_else(given: Any) -> None:
    """The whole result of a collected function, above all."""
    if isinstance(given, tuple):
        given = collect(recording)(1.0)
    with pytest.raises(RecordError) as error:
        collect(lambda x: add(given))(1.0)
    teaches(error, "add: got", "result, stats = ")
    with pytest.raises(RecordError) as error:
        exported(given)
    teaches(error, "ingest: got", "result, stats = ")


def test_add_inside_another_transformation() -> None:
    """Handing over is recording, too."""
    with pytest.raises(RecordError) as error:
        collect(lambda x: jax.vmap(lambda y: add(collect(recording)(y)[1]))(x))(jnp.ones(3))
    teaches(error, "add(stats)", "jax.vmap")


def test_ingest_inside() -> None:
    """Traced statistics have no numbers; and inside a collected function it is add that takes them."""
    tracker = sl.StatsTracker()

    def f(x: Any) -> None:
        tracker.ingest(collect(recording)(x)[1])

    for step in (jax.jit(f), jax.jit(collect(f)), collect(f)):
        with pytest.raises(RecordError) as error:
            step(1.0)
        teaches(error, "sl.add(stats)")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: jax.tree.map(jnp.mean, s),
        lambda s: jax.tree.map(lambda x: x / 2, s),
        lambda s: jax.tree.map(lambda x: x.mean(0), s),
        lambda s: jax.tree.map(lambda x: x.astype(jnp.float32), s),
        lambda s: jax.vmap(lambda t: lax.pmean(t, "d"), axis_name="d")(s),
        lambda s: jax.tree.map(lambda x: x.sum(), s),
        lambda s: jax.eval_shape(lambda: s),
        lambda s: jax.tree.map(lambda x: None, s),
    ],
)
def test_arithmetic_on_statistics(change: Callable[[Any], Any]) -> None:
    """A mean, a cast and the like are seen at ingest and at add."""
    stats = change(jax.vmap(collect(recording))(jnp.ones(3))[1])
    if stats.words[0] is None or not isinstance(stats.words[0], jax.Array):
        with pytest.raises(RecordError):
            exported(stats)
        return
    with pytest.raises(RecordError) as error:
        exported(stats)
    teaches(error, "pmean", "tree.map", "ingest")
    with pytest.raises(RecordError) as error:
        collect(lambda: add(stats))()
    teaches(error, "add: ")


def test_a_sum_of_statistics_is_seen_in_the_background(caplog: pytest.LogCaptureFixture) -> None:
    """A psum keeps dtype and shape; the first word gives it away, and its keys are left out."""
    stats = jax.vmap(lambda t: lax.psum(t, "d"), axis_name="d")(jax.vmap(collect(recording))(jnp.ones(3))[1])
    assert (np.asarray(stats.words[0])[:, 0] != MAGIC).all()
    found = exported(stats)
    assert "loss" not in found
    assert "psum" in caplog.text


def test_a_mask_of_weights_is_seen_in_the_background(caplog: pytest.LogCaptureFixture) -> None:
    """That key is left out, with the fix in the log, and the others are not."""

    def f(x: Any) -> None:
        sl.masked("weighted", x, jnp.array([0.0, 0.5, 1.0]))
        sl.masked("fine", x, jnp.array([0.0, 1.0, 1.0]))

    found = exported(jax.jit(collect(f))(jnp.arange(3.0))[1])
    assert found["fine/mean"] == 1.5
    assert "weighted/mean" not in found
    assert re.search(r"'[a-z]*weighted'.*Weights are no mask", caplog.text)


def refused(record: Callable[[Any], Any]) -> str:
    with pytest.raises(RecordError) as error:
        jax.jit(collect(record))(jnp.ones((2, 3)))
    return str(error.value)


def test_the_checks_of_the_host_hold_inside() -> None:
    """Shapes, dtypes, keys, options: the same messages as outside."""
    assert "mask has shape (2,)" in refused(lambda x: sl.masked("m", x, x[:, 0] > 0))
    assert "mask holds 3" in refused(lambda x: sl.masked("m", x, np.full((2, 3), 3)))
    assert "expected one number" in refused(lambda x: sl.scalar("s", x))
    assert "complex64" in refused(lambda x: sl.summary("c", x * 1j))
    assert "expected real numbers" in refused(lambda x: sl.summary("k", jax.random.key(0)))
    assert "expected real numbers" in refused(lambda x: sl.summary("k", "text"))
    assert "empty part" in refused(lambda x: sl.scalar("a//b", x[0, 0]))
    assert "obs/" in refused(lambda x: sl.scalar("obs/a", x[0, 0]))
    assert "'median' is none" in refused(lambda x: sl.summary("s", x, emit=("median",)))
    assert "expected numbers in [0, 1]" in refused(lambda x: sl.summary("s", x, quantiles=(5,)))
    assert "'show' or 'drop'" in refused(lambda x: sl.summary("s", x, nonfinite="hide"))  # type: ignore[arg-type]
    assert "beyond int32" in refused(lambda x: sl.summary("s", np.array([2**40])))


def test_one_key_with_two_reductions() -> None:
    """Both lines are named; in added statistics as well."""

    def f(x: Any) -> None:
        sl.scalar("a", x.sum())
        sl.summary("a", x)

    message = refused(f)
    assert "two reductions" in message
    assert message.count("test_collecting.py:") == 2

    def g(x: Any) -> None:
        sl.total("loss", 1)
        add(collect(recording)(x.sum())[1])

    assert "two reductions" in refused(g)
    assert "folder of another" in refused(lambda x: (sl.scalar("a/b", 1), sl.scalar("a", 1)))


def test_one_key_with_two_reductions_inside_and_outside() -> None:
    """The tracker's registry has the last word at ingest, and nothing is recorded then."""
    tracker = sl.StatsTracker()
    tracker.total(loss=1)
    with pytest.raises(RecordError, match="two reductions"):
        tracker.ingest(collect(recording)(1.0)[1])
    assert tracker.export(reduce="local") == {"loss": 1}


def test_a_key_that_like_does_not_have() -> None:
    """Also one recorded more often, or added."""
    like = collect(recording)(1.0)[1]
    with pytest.raises(RecordError) as error:
        collect(loud, like=like)(1.0)
    teaches(error, "like=", "test_collecting.py:", "eval_shape")
    with pytest.raises(RecordError) as error:
        collect(lambda x: (recording(x), recording(x)), like=like)(1.0)
    teaches(error, "once")
    with pytest.raises(RecordError) as error:
        collect(lambda x: add(collect(recording)(x)[1]), like=like)(1.0)
    teaches(error, "add(")


def test_like_of_something_else() -> None:
    """The output of eval_shape as a whole, above all."""
    with pytest.raises(RecordError) as error:
        collect(recording, like=jax.eval_shape(collect(recording), 1.0))
    teaches(error, "[1]")
    with pytest.raises(RecordError, match="two collected functions"):
        collect(recording, like=(), axis="d")


def test_an_axis_that_is_not_there() -> None:
    """axis= outside of shard_map."""
    with pytest.raises(RecordError) as error:
        jax.jit(collect(recording, axis="d"))(1.0)
    teaches(error, "shard_map", "jax.jit(sl.collect(f))")


def test_collect_of_a_value() -> None:
    """A call in place of a function."""
    with pytest.raises(RecordError) as error:
        collect(jnp.ones(3))  # type: ignore[call-overload]
    teaches(error, "sl.collect(f)(x)")


@pytest.mark.parametrize("inside", [lambda: sl.text(split="a"), lambda: sl.record_timing("t").__enter__()])
def test_text_and_timings_inside(inside: Callable[[], Any]) -> None:
    """Host things would happen once, while JAX traces."""
    assert "while JAX traces" in refused(lambda x: inside())


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


def test_a_mean_of_each_process_is_refused_inside() -> None:
    with pytest.raises(RecordError, match="is of no one process"):
        jax.jit(collect(lambda x: sl.scalar("a", x, per_process=True)))(1.0)


def test_values_of_64_bits_are_taken_where_they_are_switched_off() -> None:
    with jax.enable_x64(True):
        wide = jnp.arange(4, dtype=jnp.float64)
    _, stats = jax.jit(collect(lambda x: sl.summary("x", x)))(wide)
    assert exported(stats)["x/mean"] == 1.5


# --- around a trace ----------------------------------------------------------------------------------------


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


# --- four devices ------------------------------------------------------------------------------------------


def four() -> Any:
    return jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))


def over_shards(fn: Callable[..., Any], *, axis: Any = "d", mesh: Any = None, check: bool = True) -> Any:
    """A collected function under shard_map, jitted; its output is left."""
    spec = P(axis)
    mapped = jax.shard_map(
        lambda x: collect(fn, axis=axis)(x)[1],
        mesh=mesh or four(), in_specs=spec, out_specs=spec, check_vma=check,
    )  # fmt: skip
    return jax.jit(mapped)


def shards_are_stacked() -> None:
    """Statistics of four shards count each once, with and without JAX's check of replication."""
    x = RNG.normal(2, 3, (8, 5)).astype(np.float32)
    for check in (True, False):
        stats = over_shards(observed, check=check)(x)
        assert len(stats.words[0].sharding.device_set) == 4
        as_observed(exported(stats), x, 4)


def two_axes_of_a_mesh() -> None:
    """A tuple of axes gives one axis in front."""
    x = np.arange(16, dtype=np.float32).reshape(8, 2)
    mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    stats = over_shards(observed, axis=("a", "b"), mesh=mesh)(x)
    assert stats.words[0].shape[0] == 4
    as_observed(exported(stats), x, 4)


def an_explicit_mesh() -> None:
    """A mesh of explicit axes, as JAX makes them by default now, entered or not."""
    x = RNG.normal(size=(8, 2)).astype(np.float32)
    mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))

    def f(x: Any) -> Any:
        sl.summary("x", x, quantiles=(0.5,))
        sl.masked("m", x, x > 0)
        sl.masked("n", np.ones((8, 2)), x > 0)
        sl.scalar("sum", x.sum())
        return x.sum()

    placed = jax.device_put(x, NamedSharding(mesh, P("d")))
    every = [jax.jit(collect(f))(placed)[1], collect(f)(placed)[1]]
    with jax.set_mesh(mesh):
        every += [jax.jit(collect(f))(placed)[1], jax.value_and_grad(collect(f), has_aux=True)(placed)[0][1]]
        as_observed(exported(over_shards(observed, mesh=mesh)(placed)), x, 4)
    for stats in every:
        found = exported(stats)
        holds(found, "x", x, quantiles=(0.5,))
        holds(found, "m", x[x > 0])
        assert found["n__count"] == (x > 0).sum()


def replicated_counts_once() -> None:
    """What is global on each shard counts on one, also where it was added from inside a scan."""

    def f(x: Any) -> Any:
        total = lax.psum(x.sum(), "d")
        sl.total("once", total, replicated=True)
        sl.total("each", total)
        sl.summary("s", total, replicated=True)

        def body(c: Any, y: Any) -> Any:
            return collect(lambda z: (sl.total("steps", 1, replicated=True), sl.total("all", 1), c)[2])(y)

        add(lax.scan(body, 0.0, x)[1])

    found = exported(over_shards(f)(np.arange(8, dtype=np.float32)))
    assert (found["once"], found["each"], found["s__count"]) == (28.0, 4 * 28.0, 1)
    assert (found["steps"], found["all"]) == (2, 8)


def a_scan_inside_and_outside() -> None:
    """A scan in each shard, and a scan of the sharded function; all axes are folded."""
    x = RNG.normal(size=(3, 8, 5)).astype(np.float32)

    def shard(xs: Any) -> Any:
        add(lax.scan(lambda c, y: (c, collect(observed)(y)[1]), 0.0, xs)[1])

    mapped = over_shards(shard)
    stats = jax.jit(lambda: lax.scan(lambda c, y: (c, mapped(y)), 0.0, x)[1])()
    assert stats.words[0].shape[:3] == (3, 4, 2)
    as_observed(exported(stats), x, 24)


def a_cond_in_a_shard() -> None:
    """Branches under shard_map, one of which fills in what is empty."""
    like = jax.eval_shape(collect(loud), 1.0)[1]
    for check in (True, False):

        def f(x: Any) -> Any:
            branches = [collect(g, like=like) for g in (loud, quiet)]
            add(lax.cond(x[0] > 1, *branches, x[0])[1])

        found = exported(over_shards(f, check=check)(np.arange(4, dtype=np.float32)))
        assert (found["n"], found["x__count"], found["seen"]) == (2, 6, 3.0)


def gradients_in_a_shard() -> None:
    """value_and_grad and remat inside shard_map."""

    def f(x: Any) -> Any:
        (_, stats), gradient = jax.value_and_grad(jax.checkpoint(collect(observed)), has_aux=True)(x)
        add(stats)
        sl.summary("gradient", gradient)

    x = RNG.normal(size=(8, 3)).astype(np.float32)
    found = exported(over_shards(f)(x))
    as_observed(found, x, 4)
    holds(found, "gradient", jax.jit(jax.grad(observed_plainly))(x))


def without_an_axis_it_teaches() -> None:
    """Shards in one row are refused at ingest."""
    mapped = jax.shard_map(lambda x: collect(observed)(x)[1], mesh=four(), in_specs=P("d"), out_specs=P("d"))
    with pytest.raises(RecordError) as error:
        exported(jax.jit(mapped)(np.arange(8, dtype=np.float32)))
    teaches(error, 'axis="d"', "4 times as many")


def recorded_inside_without_a_collect() -> None:
    """shard_map is a transformation like the others."""
    mapped = jax.shard_map(lambda x: sl.summary("x", x), mesh=four(), in_specs=P("d"), out_specs=P())
    with pytest.raises(RecordError) as error:
        jax.jit(collect(mapped))(np.arange(8, dtype=np.float32))
    teaches(error, "jax.shard_map")


def sharded_arrays_under_jit() -> None:
    """Values divided over devices by jit, and statistics that end up on all of them, count once."""
    mesh = four()
    x = RNG.normal(size=(8, 16)).astype(np.float32)
    for spec in (P("d"), P(None, "d"), P()):
        placed = jax.device_put(x, NamedSharding(mesh, spec))
        _, stats = jax.jit(collect(observed))(placed)
        as_observed(exported(stats), x, 1)
        everywhere = jax.device_put(stats, NamedSharding(mesh, P()))
        as_observed(exported(everywhere), x, 1)


def words_divided_among_devices() -> None:
    """Even a sharding of the words themselves is put together."""
    _, stats = jax.jit(collect(lambda x: sl.total(**{f"k{i}": x + i for i in range(3)})))(1)
    pad = 1 + 2 * 3
    assert stats.words[0].shape == (pad,)
    _, stats = jax.jit(collect(lambda x: sl.ratio("r", x, 3)))(1)  # four words
    divided = jax.device_put(stats, NamedSharding(four(), P("d")))
    assert len(divided.words[0].addressable_shards) == 4
    assert exported(divided)["r"] == pytest.approx(1 / 3)


ON_FOUR_DEVICES = (
    shards_are_stacked,
    two_axes_of_a_mesh,
    an_explicit_mesh,
    replicated_counts_once,
    a_scan_inside_and_outside,
    a_cond_in_a_shard,
    gradients_in_a_shard,
    without_an_axis_it_teaches,
    recorded_inside_without_a_collect,
    sharded_arrays_under_jit,
    words_divided_among_devices,
)


@pytest.fixture(scope="module")
def on_four_devices() -> dict[str, str]:
    """What each of those functions said, "" if nothing."""
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tests.jax.test_collecting"],
        cwd=root, env=env, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize("name", [each.__name__ for each in ON_FOUR_DEVICES])
def test_on_four_devices(name: str, on_four_devices: dict[str, str]) -> None:
    """Each of the functions above, in a process of four devices."""
    assert on_four_devices[name] == "", on_four_devices[name]


def main() -> None:
    warnings.simplefilter("error")
    said = {}
    for each in ON_FOUR_DEVICES:
        try:
            each()
            said[each.__name__] = ""
        except BaseException:  # noqa: BLE001 - also what pytest raises
            said[each.__name__] = traceback.format_exc()
    print(json.dumps(said))


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


if __name__ == "__main__":
    main()
