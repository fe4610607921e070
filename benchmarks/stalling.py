"""What committing costs the training threads of an 8-process job, beside a fused ``process_allgather``.

Run as a module it is one of the processes; :func:`figures` starts them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.pairs import Figure, figure

_PROCESSES, _METRICS, _ROUNDS, _BLOCK, _IDLE = 8, 100, 160, 10, 60


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["launch", "-n", str(_PROCESSES), "--", sys.executable, "-m", __spec__.name, folder]
        subprocess.run(
            [sys.executable, "-m", "sightline.cli", *command], check=True, stdout=subprocess.DEVNULL
        )
        results = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    assert len(results) == _PROCESSES
    stall = [ratio for result in results for ratio in result["stall"]]
    yield figure(f"commit / fused process_allgather, {_PROCESSES} processes, on the caller", stall, 0.02)
    inflation = [result["inflation"] for result in results]
    yield figure("  step time with commits / without", inflation, None, note="8 processes share the cores")
    cpu = [1e3 * result["cpu_s"] for result in results]
    yield figure(
        "  background CPU a commit and process", cpu[1:], None, " ms", "of the processes but the root"
    )


def _work(folder: Path) -> None:
    """One process: commits and gathers in turn, then steps with and without commits in turn."""
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    import sightline as sl
    import sightline.jax

    sightline.jax.initialize()
    process = jax.process_index()
    payload = np.ones((_METRICS, 5), np.float32)
    metrics: dict[str, Any] = {f"metric_{i}": float(i) for i in range(_METRICS)}
    multiply = jax.jit(lambda x: x @ x)
    x = jax.device_put(np.eye(400, dtype=np.float32), jax.local_devices()[0])
    stall: list[float] = []
    with_commit: list[float] = []
    without: list[float] = []
    with sl.start(folder / f"runs{process}", name="bench", sinks=[], naming="off") as run:
        for step in range(_ROUNDS):
            sl.scalar(**metrics)
            start = time.perf_counter()
            run.commit(step)
            ours = time.perf_counter() - start
            start = time.perf_counter()
            multihost_utils.process_allgather(payload)
            if step >= 10:
                stall.append(ours / (time.perf_counter() - start))
        for block in range(2 * _ROUNDS // _BLOCK):
            for place in range(_BLOCK):
                start = time.perf_counter()
                multiply(x).block_until_ready()
                if block % 2:
                    sl.scalar(**metrics)
                    run.commit(_ROUNDS + block)
                if place >= 2:  # the first ones have the tail of the block before
                    (with_commit if block % 2 else without).append(time.perf_counter() - start)
        run.flush()
        idle = _cpu_s(lambda _: None)

        def commit(step: int) -> None:
            sl.scalar(**metrics)
            run.commit(step)

        busy = _cpu_s(lambda i: commit(3 * _ROUNDS + i))
    result = {
        "stall": stall,
        "inflation": statistics.median(with_commit) / statistics.median(without),
        "cpu_s": (busy - idle) / _IDLE,
    }
    (folder / f"{process}.json").write_text(json.dumps(result))


def _cpu_s(each: object) -> float:
    assert callable(each)
    start = time.process_time()
    for i in range(_IDLE):
        each(i)
        time.sleep(0.02)
    return time.process_time() - start


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
