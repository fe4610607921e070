"""What the training processes of test_wandb.py do; run as a script by tests/harness.py."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import sightline as sl


def train(steps: int, pause_s: float) -> None:
    """Goes on from its last commit to a step, with two commits a step, and enough in them that W&B's buffers
    fill soon."""
    with sl.start("runs", name="run", sinks=["wandb"], resume="allow", naming="off") as run:
        for step in run.steps(steps):
            sl.scalar(**{"train/loss": 1 / (step + 1)}, **{f"train/{i}": i / (step + 1) for i in range(50)})
            run.commit(step)
            sl.scalar(**{"eval/score": step / 7})
            run.commit(step)
            time.sleep(pause_s)


def untouched() -> None:
    """Notes what an SDK may change in a process: before it, while it runs, and after it."""

    def note() -> None:
        hooks = (sys.exit, sys.excepthook, sys.stdout, sys.stderr, sys.stdout.write, sys.stderr.write)
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)]
        state = {
            "hooks": list(map(repr, (*hooks, *signals))),
            "environment": {name: value for name, value in os.environ.items() if name.startswith("WANDB")},
            "modules": [name for name in sys.modules if name.partition(".")[0] == "wandb"],
            "threads": [each.name for each in threading.enumerate() if "sightline" not in each.name],
        }
        with open("state.jsonl", "a") as file:
            file.write(json.dumps(state) + "\n")

    note()
    with sl.start("runs", name="run", sinks=["wandb"], naming="off", logging={"enabled": False}) as run:
        sl.scalar(loss=0)
        run.commit(0)
        assert run.flush(600)
        note()
    note()


def fork() -> None:
    """Forks a data loader once the run is under way, and is killed while that lives on."""
    run = sl.start("runs", name="run", sinks=["wandb"], naming="off")
    sl.scalar(loss=0)
    run.commit(0)
    assert run.flush(600)
    if os.fork() == 0:
        sl.scalar(loss=100)
        run.commit(100)
        run.finish()
        Path("forked").touch()
        while not Path("over").exists():
            time.sleep(0.01)
        sys.exit(0)  # with exit hooks, finalizers and all
    while not Path("forked").exists():
        time.sleep(0.01)
    sl.scalar(loss=1)
    run.commit(1)
    assert run.flush(600)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
