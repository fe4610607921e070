"""A run killed again and again at random moments: each sink that can be asked has every commit once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sightline as sl
from tests.sinks.test_tensorboard import numbers, read, seqs

# Commits until it is killed, or to the end.
SCRIPT = """
import sys
import numpy as np
import sightline as sl
with sl.start("runs", name="run", sinks=sys.argv[2:], resume="allow", naming="off") as run:
    print("started", flush=True)
    for step in run.steps(int(sys.argv[1])):
        sl.scalar(loss=step / 8)
        sl.histogram("length", np.arange(10.0), bins=4)
        run.commit(step)
"""


def run_script(folder: Path, steps: int, sinks: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(steps), *sinks], cwd=folder, env=dict(os.environ),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_and_go_on(folder: Path, kills: int, sinks: list[str]) -> None:
    """Starts the run, kills it after a while, and starts it again; at last lets it end."""
    rng = random.Random(kills)
    for _ in range(kills):
        process = run_script(folder, 10**9, sinks)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(rng.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.communicate()[1]
        process.communicate()
    last = max(
        (r["step"] for r in sl.read_journal(folder / "runs" / "run") if r["type"] == "commit"), default=0
    )
    process = run_script(folder, last + 5, sinks)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)])
def test_tensorboard_has_every_commit_once_with_the_journals_values(kills: int, tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, kills, ["tensorboard"])
    run = tmp_path / "runs" / "run"
    commits = [record for record in sl.read_journal(run) if record["type"] == "commit"]
    assert commits[-1]["attempt"] == kills + 1
    assert seqs(run / "tensorboard") == [record["seq"] for record in commits]
    shown = read(run / "tensorboard")
    assert numbers(shown, "loss") == [(record["step"], record["values"]["loss"]) for record in commits]
    drawn = [record["step"] for record in sl.read_journal(run) if record["type"] == "histogram"]
    assert [
        event.step for event in shown.Histograms("length")
    ] == drawn  # a kill may have come before its line


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    """As a data loader's worker: it records, it ends, and the sinks are the parent's alone."""
    script = """
import os
import sightline as sl
with sl.start("runs", name="run", sinks=["tensorboard"], naming="off") as run:
    for step in run.steps(20):
        sl.scalar(loss=float(step))
        if step % 5 == 0:
            child = os.fork()
            if child == 0:
                sl.scalar(loss=1e9)
                run.commit(step)
                run.flush(5)
                raise SystemExit
            os.waitpid(child, 0)
        run.commit(step)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    assert numbers(read(run / "tensorboard"), "loss") == [(step, float(step)) for step in range(20)]
    assert seqs(run / "tensorboard") == list(range(1, 21))
