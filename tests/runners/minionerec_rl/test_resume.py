"""A run that stops and goes on is the run that never stopped."""

from __future__ import annotations

import json
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
from runners.minionerec_rl.callbacks import Callback, Step
from runners.minionerec_rl.train import train
from runners.recommendation.policy import load_policy
from tests.runners.jobs import ROOT, Finished
from tests.runners.minionerec_rl.conftest import SMOKE, launch, settings, smoke_config


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
    """What the journal has by step and phase, of an attempt or of all."""
    return {
        (line["step"], phase): {k: v for k, v in line["values"].items() if k.startswith(f"{phase}/")}
        for line in run.journal()
        for phase in ("train", "eval", "eval_full")
        if attempt in (None, line["attempt"]) and any(k.startswith(f"{phase}/") for k in line["values"])
    }


def test_a_run_that_stopped_in_a_step_goes_on_to_the_same_end_in_the_same_journal(
    one_process: Finished, start: Path, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train(smoke_config(tmp_path, start), [StopIn(4)])  # its newest checkpoint is of step 2
    # What it began with may be gone by then.
    resumed = train(smoke_config(tmp_path, tmp_path / "gone", "output.resume=must"))
    run = Finished(tmp_path / "run", {}, [], [])
    assert committed(run) == committed(one_process)
    assert resumed.step == 4
    assert [line["attempt"] for line in run.journal("run")] == [1, 2]
    trained = [(line["attempt"], line["step"]) for line in run.journal() if "train/loss" in line["values"]]
    assert trained == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4)]
    assert (run.dir / "eval.json").read_text() == (one_process.dir / "eval.json").read_text()


def test_the_result_names_the_ranks_that_it_compares(one_process: Finished) -> None:
    result = json.loads((one_process.dir / "eval.json").read_text())
    before, after = (np.array(result["ranks"][name]) for name in ("before", "after"))
    full = [line["values"] for line in one_process.journal() if "eval_full/hr@10" in line["values"]]
    for ranks, values in zip((before, after), full, strict=True):
        assert len(ranks) == 12
        assert values["eval_full/hr@10"] == pytest.approx((ranks < 10).mean())
        assert values["eval_full/ndcg@10"] == pytest.approx(np.mean((ranks < 10) / np.log2(ranks + 2)))
    assert result["ndcg@10"]["before"] == pytest.approx(full[0]["eval_full/ndcg@10"])
    assert result["hr@10"]["after"] == pytest.approx(full[1]["eval_full/hr@10"])


def test_two_processes_go_on_from_their_own_disks_as_if_they_had_not_stopped(
    two_processes: Finished, start: Path, tmp_path: Path
) -> None:
    outputs = [tmp_path / "p0", tmp_path / "p1"]
    for copied, finished in zip(outputs, two_processes.outputs, strict=True):
        shutil.copytree(finished, copied, symlinks=True)
        shutil.rmtree(next(copied.glob("run/checkpoints/p*/4")))
    resumed = launch(outputs, start, "output.resume=must")
    first, second = committed(resumed, attempt=1), committed(resumed, attempt=2)
    assert second == {
        where: values for where, values in first.items() if where[0] > 2 or where == (4, "eval")
    }
    assert all(line["reported"] == 2 for line in resumed.journal())


def test_another_run_begins_with_what_this_one_has_learned(
    one_process: Finished, start: Path, tmp_path: Path
) -> None:
    policy = load_policy(one_process.dir)
    assert policy.step == 4
    quick = "grpo.steps=0", "eval.full=false", "checkpoint.enabled=false"
    outcome = train(smoke_config(tmp_path, one_process.dir, *quick))
    jax.tree.map(np.testing.assert_array_equal, outcome.params, policy.params)
    first = load_policy(start)
    assert not np.array_equal(first.params["output"]["kernel"], policy.params["output"]["kernel"])


def test_a_run_that_must_resume_and_cannot_says_where_it_looked(start: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint under .*run/checkpoints/p00000"):
        train(smoke_config(tmp_path, start, "output.resume=must"))
    assert list(tmp_path.iterdir()) == []  # a name that was mistyped is still free


def test_training_goes_on_with_sightline_switched_off(start: Path, tmp_path: Path) -> None:
    words = [w for s in (*settings(tmp_path, start), "grpo.steps=1") for w in ("--set", s)]
    command = [sys.executable, "-m", "runners.minionerec_rl", "--config", str(SMOKE), *words]
    env = os.environ | {"SIGHTLINE_DISABLED": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "held-out users" in done.stdout
    assert list(tmp_path.rglob("metrics.jsonl")) == []
    assert list(tmp_path.rglob("eval.json"))
