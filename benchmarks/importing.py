"""What ``import sightline`` costs, and what it brings along."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.pairs import Figure, figure

_CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
_FOREIGN = ("jax", "torch", "wandb", "tensorboard", "rich", "click", "yaml")


def figures() -> Iterator[Figure]:
    found = [_seconds("sightline") / _seconds("numpy") for _ in range(15)][1:]
    loaded = _run(f"import sys, sightline; print(*[m for m in {_FOREIGN} if m in sys.modules])").strip()
    note = f"also loads: {loaded or 'nothing else'}"
    yield figure("import sightline / import numpy", found, 1.3, note=note)


def _seconds(module: str) -> float:
    return float(_run(_CODE.format(module)))


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
