"""Collecting inside every transformation of JAX: what is recorded there comes out exact."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sightline as sl
from sightline import RecordError
from sightline.jax.collecting import add, collect
from tests.jax.collected_functions import (
    RNG,
    XS,
    as_observed,
    exported,
    holds,
    loud,
    observed,
    observed_plainly,
    quiet,
)


def test_without_any_transformation() -> None:
    """A collected function runs eagerly, too."""
    out, stats = collect(observed)(jnp.asarray(XS))
    assert out == observed_plainly(XS)
    as_observed(exported(stats), XS, 1)
    assert exported(stats)["first"] == XS[0, 0, 0]


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
