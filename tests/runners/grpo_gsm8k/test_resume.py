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
from tests.runners.inputs import change_metadata, contents
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["seed=1", "grpo.prompts_per_step=8"],
            r"p00000/4: seed was 0 and is 1; grpo.prompts_per_step was 4 and is 8: other rows would come",
        ),
        (
            ["data.train_problems=199"],
            r"the training data was 200 rows, \w{12} and is 199 rows, \w{12}: other",
        ),
        (["data.test_problems=19"], r"the test data was 20 rows, \w{12} and is 19 rows, \w{12}: other rows"),
    ],
)
def test_a_run_goes_on_with_the_problems_that_it_began_with_or_not_at_all(
    settings: list[str], message: str, one_process: Finished, tmp_path: Path
) -> None:
    shutil.copytree(one_process.dir, tmp_path / "run", symlinks=True)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        train(smoke_config(tmp_path, "output.resume=must", *settings))
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": -1}, r"p00000/4/meta: position: expected a count, found -1"),
        (
            {"before": [0, 300]},
            r"p00000/4/meta: before: expected a list of whole numbers up to 1, or null, found",
        ),
        ({"sightline": []}, r"p00000/4/meta: sightline: expected an object, found \[\]"),
    ],
)
def test_metadata_that_is_json_and_not_a_runs_is_named(
    changes: dict[str, object], message: str, one_process: Finished, tmp_path: Path
) -> None:
    shutil.copytree(one_process.dir, tmp_path / "run", symlinks=True)
    change_metadata(tmp_path / "run/checkpoints/p00000/4", changes)
    with pytest.raises(CheckpointError, match=message):
        train(smoke_config(tmp_path, "output.resume=must"))


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
