"""Runs a phase as `python -m` does, and notes what it calls and when: a clock that is not its own."""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
WATCHED = ("draw_prompts", "rollout", "score", "longest", "shard", "update", "evaluate", "gather")


def watched(name: str, function: Callable[..., Any], calls: list[tuple[str, float, float]]) -> Any:
    """The function, with its calls noted: name, begin and end, on this process's `perf_counter`."""

    def call(*arguments: Any) -> Any:
        begin = time.perf_counter()
        result = function(*arguments)
        calls.append((name, begin, time.perf_counter()))
        return result

    return call


def run(*, module: str, arguments: Sequence[str]) -> None:
    sys.path.insert(0, str(ROOT))
    from examples.migrating import task

    calls: list[tuple[str, float, float]] = []
    for name in WATCHED:
        setattr(task, name, watched(name, getattr(task, name), calls))
    sys.argv = [module, *arguments]
    runpy.run_module(f"examples.migrating.{module}", run_name="__main__")
    Path("calls.json").write_text(json.dumps(calls))


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
