"""Functions to be collected, and whether what they recorded came out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sightline as sl
from sightline import RecordError
from sightline.jax.collecting import add, collect

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


def observed_plainly(x: Any) -> jax.Array:
    return (jnp.sin(x) * x).sum()


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


def teaches(error: pytest.ExceptionInfo[RecordError], *parts: str) -> None:
    """Whether a message has the wrong code, the reason, and the right code."""
    for part in ("wrong:", "why:", "right:", *parts):
        assert part in str(error.value), f"{part!r} is not in:\n{error.value}"


def recording(x: Any) -> Any:
    sl.scalar("loss", x)
    return x
