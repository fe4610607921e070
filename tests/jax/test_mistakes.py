"""What goes wrong with collecting is refused where it is written, and teaches what is right."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

import sightline as sl
from sightline import RecordError
from sightline.jax.collected import MAGIC
from sightline.jax.collecting import add, collect
from tests.jax.collected_functions import exported, loud, recording, teaches

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
    teaches(error, name, "scalar('loss')", "collected_functions.py:", "sl.collect(")


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
    assert message.count("test_mistakes.py:") == 2

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
    teaches(error, "like=", "collected_functions.py:", "eval_shape")
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


def test_a_mean_of_each_process_is_refused_inside() -> None:
    with pytest.raises(RecordError, match="is of no one process"):
        jax.jit(collect(lambda x: sl.scalar("a", x, per_process=True)))(1.0)
