"""A run that stops and goes on is the run that never stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from runners.common.errors import CheckpointError
from runners.sid_sft.callbacks import Callback, Step
from runners.sid_sft.train import train
from tests.runners.jobs import ROOT, Finished
from tests.runners.sid_sft.conftest import SMOKE, launch, smoke_config


class Stopped(Exception):
    pass


class StopIn(Callback):
    """Ends the run in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, step: Step) -> None:
        if step.step == self.step:
            raise Stopped


def committed(run: Finished, attempt: int | None = None) -> dict[tuple[int, str], dict[str, Any]]:
    """What the journal has by step and phase, of an attempt or of all; times left out."""
    return {
        (line["step"], phase): {
            key: value
            for key, value in line["values"].items()
            if key.startswith(f"{phase}/") and "sec" not in key
        }
        for line in run.journal()
        for phase in ("train", "eval", "eval_full")
        if attempt in (None, line["attempt"]) and any(key.startswith(f"{phase}/") for key in line["values"])
    }


def test_a_run_that_stopped_in_a_step_goes_on_with_the_same_losses_in_the_same_journal(
    one_process: Finished, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train(smoke_config(tmp_path), [StopIn(4)])  # its newest checkpoint is of step 2
    resumed = train(smoke_config(tmp_path, "output.resume=must"))
    run = Finished(tmp_path / "run", {}, [], [])
    assert committed(run) == committed(one_process)
    assert resumed.step == 4
    assert [line["attempt"] for line in run.journal("run")] == [1, 2]
    trained = [(line["attempt"], line["step"]) for line in run.journal() if "train/loss" in line["values"]]
    assert trained == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4)]


def test_parameters_optimiser_and_data_order_go_on_bit_by_bit(tmp_path: Path) -> None:
    constant = "sft.schedule=constant", "eval.full=false", "eval.every=0"
    straight = train(smoke_config(tmp_path / "straight", *constant))
    train(smoke_config(tmp_path / "resumed", *constant, "sft.steps=3"))
    resumed = train(smoke_config(tmp_path / "resumed", *constant, "output.resume=must"))
    jax.tree.map(np.testing.assert_array_equal, resumed.params, straight.params)


def test_two_processes_go_on_from_their_own_disks_as_if_they_had_not_stopped(
    two_processes: Finished, tmp_path: Path
) -> None:
    outputs = [tmp_path / "p0", tmp_path / "p1"]
    for copied, finished in zip(outputs, two_processes.outputs, strict=True):
        shutil.copytree(finished, copied, symlinks=True)
        shutil.rmtree(next(copied.glob("run/checkpoints/p*/4")))
    resumed = launch(outputs, "output.resume=must")
    first, second = committed(resumed, attempt=1), committed(resumed, attempt=2)
    assert second == {where: values for where, values in first.items() if where[0] > 2}
    assert all(line["reported"] == 2 for line in resumed.journal())


def test_a_run_that_must_resume_and_cannot_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint under .*run/checkpoints/p00000"):
        train(smoke_config(tmp_path, "output.resume=must"))
    assert list(tmp_path.iterdir()) == []  # a name that was mistyped is still free


def test_training_goes_on_with_sightline_switched_off(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runners.sid_sft", "--config", str(SMOKE)]
    command += ["--set", f"output.dir={tmp_path}", "--set", "sft.steps=1"]
    env = os.environ | {"SIGHTLINE_DISABLED": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "held-out users" in done.stdout
    assert list(tmp_path.rglob("metrics.jsonl")) == []
