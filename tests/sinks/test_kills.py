"""A run killed again and again at random moments: each sink that can be asked has every commit once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl
from tests.sinks.attempts import kill_and_go_on
from tests.sinks.readers.tensorboard import numbers, read, seqs


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)])
def test_tensorboard_has_every_commit_once_with_the_journals_values(kills: int, tmp_path: Path) -> None:
    run = kill_and_go_on(tmp_path, kills, {"sinks": ["tensorboard"]})
    commits = [record for record in sl.read_journal(run) if record["type"] == "commit"]
    assert seqs(run / "tensorboard") == [record["seq"] for record in commits]
    shown = read(run / "tensorboard")
    assert numbers(shown, "loss") == [(record["step"], record["values"]["loss"]) for record in commits]
    drawn = [record["step"] for record in sl.read_journal(run) if record["type"] == "histogram"]
    assert drawn == [record["step"] for record in commits]
    assert [event.step for event in shown.Histograms("length")] == drawn


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
