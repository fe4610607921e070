"""What recording a device value costs the caller, beside dispatching a trivial jitted function.

``python -m benchmarks.devices`` measures on whatever JAX finds, an accelerator too, and prints lines of
tab-separated fields.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.pairs import Figure, figure

_ROUNDS = 30
_CALLS = 10  # of each side in a round: CPU devices hold 32 programs that have not run, then callers wait


def figures() -> Iterator[Figure]:
    """From processes of their own, with one device and with four."""
    for devices in (1, 4):
        flags = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.devices"],
            env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        for line in done.stdout.splitlines():
            what, bar, *found = line.split("\t")
            yield figure(what, [float(value) for value in found], float(bar) if bar else None)


def measure() -> Iterator[tuple[str, float | None, list[float]]]:
    """What is compared, the bar, and a ratio a round."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import sightline as sl

    tracker = sl.StatsTracker()
    devices = jax.devices()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(64, 1024)).astype(np.float32)
    mask = rng.random((64, 1024)) < 0.8
    trivial = jax.jit(lambda x: x + 1)

    @jax.jit
    def work(square: jax.Array, turns: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """Takes long; then come the arrays, unchanged."""
        zero = jax.lax.fori_loop(0, turns, lambda _, s: jnp.tanh(s @ s), square)[0, 0] * 0
        return tuple(array + zero.astype(array.dtype) for array in arrays)

    square = jnp.zeros((512, 512))
    turns = 1

    def busy_s() -> float:
        return _seconds(lambda: jax.block_until_ready(work(square, jnp.int32(turns), jnp.float32(1))))

    busy_s()  # compiles
    while busy_s() < 0.2:
        turns *= 2

    def compared(ours: Callable[[], object], theirs: Callable[[], object], *, idle: bool = False) -> float:
        """Ours over theirs, in turn, by the medians."""
        times: tuple[list[float], list[float]] = ([], [])
        for i in range(2 * _CALLS):
            times[i % 2].append(_seconds((ours, theirs)[i % 2]))
            if idle:
                time.sleep(0.002)
        return statistics.median(times[0]) / statistics.median(times[1])

    def in_flight(record: Callable[..., object], *arrays: jax.Array) -> list[float]:
        """Rounds in which the arrays are being computed."""
        found = []
        for i in range(_ROUNDS + 2):
            *busy, scalar = work(square, jnp.int32(turns), *arrays, jnp.float32(1))
            ratio = compared(partial(record, *busy), partial(trivial, scalar))
            was_busy = not scalar.is_ready()
            jax.block_until_ready(trivial(scalar))
            tracker.snapshot()
            if i >= 2:  # before that, programs are compiled
                assert was_busy, "the work was done before the calls were"
                found.append(ratio)
        return found

    def when_idle(record: Callable[..., object], *arrays: jax.Array) -> list[float]:
        scalar = jnp.float32(1)
        return [compared(lambda: record(*arrays), lambda: trivial(scalar), idle=True) for _ in range(_ROUNDS)]

    def scalar(value: jax.Array) -> None:
        tracker.scalar(loss=value)

    def masked(value: jax.Array, chosen: jax.Array) -> None:
        tracker.masked("advantage", value, chosen)

    if len(devices) == 1:
        one, both = jnp.float32(1), (jnp.asarray(values), jnp.asarray(mask))
        yield "device scalar, in flight / trivial dispatch", 2.0, in_flight(scalar, one)
        yield "device masked 64×1024, in flight / trivial dispatch", 2.0, in_flight(masked, *both)
        yield "device masked 64×1024, idle / trivial dispatch", 5.0, when_idle(masked, *both)
        reading = []
        for _ in range(10):
            (busy,) = work(square, jnp.int32(turns), one)
            ours = _seconds(partial(scalar, busy))
            reading.append(ours / _seconds(partial(float, busy)))
        tracker.snapshot()
        yield "device scalar / float(x) on a device busy for 0.2 s or more", None, reading
    else:
        rows = NamedSharding(Mesh(np.array(devices), ("rows",)), PartitionSpec("rows"))
        both = (jax.device_put(values, rows), jax.device_put(mask, rows))
        per_shard = [ratio / len(devices) for ratio in when_idle(masked, *both)]
        yield (
            f"device masked 64×1024 on {len(devices)} devices, a shard, idle / trivial dispatch",
            None,
            per_shard,
        )


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    for what, bar, found in measure():
        print(what, "" if bar is None else bar, *found, sep="\t")
