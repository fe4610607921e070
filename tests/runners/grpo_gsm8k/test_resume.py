"""A run that stops and goes on is the run that never stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from runners.common.errors import CheckpointError
from runners.grpo_gsm8k.train import train
from tests.runners.grpo_gsm8k.conftest import launch, smoke_config
from tests.runners.jobs import Finished


def test_two_steps_and_two_more_equal_four_in_one_journal_with_two_attempts(tmp_path: Path) -> None:
    straight = train(smoke_config(tmp_path / "straight"))
    train(smoke_config(tmp_path / "resumed", "grpo.steps=2"))
    resumed = train(smoke_config(tmp_path / "resumed", "output.resume=must"))
    assert resumed.step == straight.step == 4
    jax.tree.map(np.testing.assert_array_equal, resumed.params, straight.params)
    assert resumed.comparison == straight.comparison

    run = Finished(tmp_path / "resumed" / "run", {}, [], [])
    assert [line["attempt"] for line in run.journal("run")] == [1, 2]
    trained = [(line["attempt"], line["step"]) for line in run.journal() if "train/loss" in line["values"]]
    assert trained == [(1, 1), (1, 2), (2, 3), (2, 4)]
    sweeps = json.loads((run.dir / "eval.json").read_text())
    assert sweeps["step"] == 4
    assert len(sweeps["after_warmup"]) == len(sweeps["after_grpo"]) == 20


def test_a_run_that_must_resume_and_cannot_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint under .*run/checkpoints/p00000"):
        train(smoke_config(tmp_path, "output.resume=must"))
    assert list(tmp_path.iterdir()) == []  # a name that was mistyped is still free


def test_two_processes_go_on_from_their_own_disks(two_processes: Finished, tmp_path: Path) -> None:
    outputs = [tmp_path / "p0", tmp_path / "p1"]
    for copied, finished in zip(outputs, two_processes.outputs, strict=True):
        shutil.copytree(finished, copied, symlinks=True)
    resumed = launch(outputs, "output.resume=must", "grpo.steps=5", "eval.full=false")
    trained = [line for line in resumed.journal() if "train/loss" in line["values"]]
    assert [(line["attempt"], line["step"]) for line in trained] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5)]
    assert trained[-1]["reported"] == 2


def test_training_goes_on_with_sightline_switched_off(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "runners.grpo_gsm8k", "--config", "runners/grpo_gsm8k/configs/smoke.yaml"),
        *("--set", f"output.dir={tmp_path}", "--set", "grpo.steps=1"),
    ]
    env = os.environ | {"SIGHTLINE_DISABLED": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Held-out accuracy" in done.stdout
    assert list(tmp_path.rglob("metrics.jsonl")) == []
    assert list(tmp_path.rglob("eval.json"))
