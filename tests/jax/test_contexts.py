"""Recording under whatever the caller has set in JAX: promotion rules, meshes, precision, debugging aids."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest


def contexts() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    import jax
    from jax.sharding import AxisType

    def strict() -> AbstractContextManager[Any]:
        stack = contextlib.ExitStack()
        stack.enter_context(jax.numpy_rank_promotion("raise"))
        stack.enter_context(jax.numpy_dtype_promotion("strict"))
        return stack

    def mesh(kind: Any) -> Callable[[], AbstractContextManager[Any]]:
        return lambda: jax.set_mesh(jax.make_mesh((4,), ("d",), axis_types=(kind,)))

    return {
        "nothing": contextlib.nullcontext,
        "strict promotion": strict,
        "a mesh of all devices": mesh(AxisType.Auto),
        "an explicit mesh of all devices": mesh(AxisType.Explicit),
        "64 bits": lambda: jax.enable_x64(True),
        "without jit": lambda: jax.disable_jit(),
        "another default device": lambda: jax.default_device(jax.devices()[2]),
        "no implicit transfers": lambda: jax.transfer_guard("disallow"),
        "tracer leaks checked": lambda: jax.check_tracer_leaks(True),
        "NaNs looked for": lambda: jax.debug_nans(True),
    }


def record(arrays: list[Any]) -> dict[str, Any]:
    """Every kind of call on every array, outside jit and inside."""
    import jax
    import jax.numpy as jnp

    import sightline as sl

    tracker = sl.StatsTracker()
    for x in arrays:
        name = x.dtype.name

        def inside(x: jax.Array, name: str = name) -> jax.Array:
            with sl.scope("in"):
                sl.summary(f"{name}/summary", x, quantiles=(0.5,))
                sl.total(f"{name}/total", x[1, 1])
            return x

        tracker.summary(f"{name}/summary", x, quantiles=(0.5,))
        tracker.masked(f"{name}/masked", x, x)
        tracker.total(f"{name}/total", jnp.max(x))
        tracker.ingest(jax.jit(sl.collect(inside))(x)[1])
        with tracker.record_timing(name) as timing:
            timing.until(x)
    return {k: v for k, v in tracker.export(reduce="local").items() if not k.startswith("time/")}


def test_recording_gives_the_same_whatever_the_caller_has_set() -> None:
    """No error, and the same values, under each context, short ways included."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-m", "tests.jax.test_contexts"],
        env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == list(contexts())


def test_a_device_array_recorded_while_jax_traces_is_told_so() -> None:
    """A constant of the traced function would be recorded once, at trace time."""
    import jax
    import jax.numpy as jnp

    import sightline as sl

    tracker = sl.StatsTracker()
    constant = jnp.float32(1)
    for _ in range(2):  # the short way too
        tracker.scalar(x=constant)
        with pytest.raises(sl.RecordError, match="inside a function that JAX traces"):
            jax.jit(lambda y: tracker.scalar(x=constant) or y)(1.0)


if __name__ == "__main__":
    import jax
    import jax.numpy as jnp
    import numpy as np

    binary = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
    arrays = [jnp.asarray(binary).astype(t) for t in (jnp.float32,)]
    expected = record(arrays)
    assert expected["float32/summary/mean"] == expected["in/float32/summary/mean"] == 5 / 12
    for name, context in contexts().items():
        for _ in range(2):
            with context():
                found = record(arrays)
            assert found.keys() == expected.keys(), name
            for key, value in found.items():
                assert abs(value - expected[key]) < 1e-6, (name, key, value, expected[key])
        print(name, flush=True)
