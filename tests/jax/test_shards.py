"""Collecting over the shards of four devices: what is recorded counts each of them once.

It runs in one process of four CPU devices, which is this file as a program.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import sightline as sl
from sightline import RecordError
from sightline.jax.collecting import add, collect
from tests.jax.collected_functions import (
    RNG,
    as_observed,
    exported,
    holds,
    loud,
    observed,
    observed_plainly,
    quiet,
    teaches,
)
from tests.jax.several_devices import report, said_by


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
    return said_by("tests.jax.test_shards", 4)


@pytest.mark.parametrize("name", [each.__name__ for each in ON_FOUR_DEVICES])
def test_on_four_devices(name: str, on_four_devices: dict[str, str]) -> None:
    """Each of the functions above, in a process of four devices."""
    assert on_four_devices[name] == "", on_four_devices[name]


if __name__ == "__main__":
    report(ON_FOUR_DEVICES)
