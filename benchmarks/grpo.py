"""What observability costs a real GRPO step, on two processes: steps with it and without it in turn.

The same training runs on; every few steps recording and committing are switched off, and on again: the update
is compiled twice, with recording inside and without. "Off" comes twice a round, so that off against off
(A/A) shows how much the machine itself varies. Run as a module it is one of the processes; :func:`figures`
starts them.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.pairs import Figure, figure

_ROUNDS, _BLOCK = 100, 6  # the first step of a block is not counted: it has the tail of the one before
_RECORDING = (
    "scalar",
    "total",
    "last",
    "ratio",
    "rate",
    "summary",
    "masked",
    "histogram",
    "text",
    "ingest",
    "scope",
    "record_timing",
)


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["launch", "-n", "2", "--", sys.executable, "-m", __spec__.name, folder]
        subprocess.run(
            [sys.executable, "-m", "sightline.cli", *command], check=True, stdout=subprocess.DEVNULL
        )
        seconds = json.loads((Path(folder) / "seconds.json").read_text())
    rounds = [[statistics.fmean(seconds[kind][i]) for kind in ("on", "off", "again")] for i in range(_ROUNDS)]
    steps = _ROUNDS * (_BLOCK - 1)
    note = f"{steps} steps each, {1e3 * statistics.median(off for _, off, _ in rounds):.0f} ms a step"
    ratios = [on / off for on, off, _ in rounds]
    yield _with_interval("GRPO step, 2 processes: with observability / without", ratios, note)
    yield _with_interval("  without / without (A/A)", [again / off for _, off, again in rounds], note)


def _with_interval(what: str, values: list[float], note: str) -> Figure:
    """The quartiles of the rounds, with a bootstrap interval of their median in the note."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(2000))
    return figure(what, values, None, "×", f"median {medians[50]:.3f}–{medians[-51]:.3f} (95 %); {note}")


def _work(folder: Path) -> None:
    """One process of the training; both switch at the same steps."""
    import sightline as sl
    import sightline.jax
    from sightline.tracing.session_tracer import SessionTracer
    from sightline.tracking.stats_tracker import StatsTracker

    sightline.jax.initialize()
    from runners.common.config import load
    from runners.grpo_gsm8k import train as training
    from runners.grpo_gsm8k.callbacks import Callback, Step
    from runners.grpo_gsm8k.config import Config

    steps = 3 * _ROUNDS * _BLOCK + _BLOCK
    config = load(
        Config,
        "runners/grpo_gsm8k/configs/smoke.yaml",
        [
            f"grpo.steps={steps}", "eval.every=0", "eval.full=false", "checkpoint.enabled=false",
            "checkpoint.every=0", f"output.dir={folder}", "output.sinks=[]", "model.width=64",
            "grpo.prompts_per_step=8", "grpo.group_size=8",
        ],
    )  # fmt: skip
    off = StatsTracker("off", enabled=False)
    recording = {name: (getattr(sl, name), getattr(off, name)) for name in _RECORDING}
    recording["session"] = sl.session, SessionTracer(enabled=False).session
    recording["sample"] = sl.sample, _nothing
    commit = sl.Run.commit
    draw = random.Random(0)
    order = [kind for _ in range(_ROUNDS) for kind in draw.sample(("on", "off", "again"), 3)]
    seconds: dict[str, list[list[float]]] = {"on": [], "off": [], "again": []}
    last = time.perf_counter()
    recorded, make_update = True, training.make_update  # type: ignore[attr-defined]

    def make_both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """The halves of an update, each with a twin that is first called, and so traced, while all is off."""
        pairs = zip(make_update(*args, **kwargs), make_update(*args, **kwargs), strict=True)
        gradients, apply = (partial(one_of, *pair) for pair in pairs)
        return gradients, apply

    def one_of(on: Any, off: Any, *args: Any) -> Any:
        return (on if recorded else off)(*args)

    training.make_update = make_both  # type: ignore[attr-defined]

    def switch(kind: str) -> None:
        nonlocal recorded
        recorded = kind == "on"
        for name, (on, nothing) in recording.items():
            setattr(sl, name, on if kind == "on" else nothing)
        sl.Run.commit = commit if kind == "on" else _nothing  # type: ignore[method-assign]

    class Switching(Callback):
        def on_step(self, step: Step) -> None:
            nonlocal last
            now = time.perf_counter()
            block, place = divmod(step.step - 1 - _BLOCK, _BLOCK)  # the first block compiles
            if 0 <= block < len(order):
                kind = order[block]
                if place == 0:
                    seconds[kind].append([])
                else:
                    seconds[kind][-1].append(now - last)
            if place == _BLOCK - 1 and 0 <= block + 1 < len(order):
                switch(order[block + 1])
            last = time.perf_counter()

    training.train(config, [Switching()])
    import jax

    if jax.process_index() == 0:
        (folder / "seconds.json").write_text(json.dumps(seconds))


def _nothing(*_: object, **__: object) -> None:
    """A commit that is switched off."""


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
