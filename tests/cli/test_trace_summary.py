"""`sightline trace summary` and `diff` tell where the time of a run went, on the terminal and as data."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

import sightline as sl
from sightline.cli import main


def traced(folder: Path, name: str, rollout_s: float) -> Path:
    with sl.start(folder, name=name, sinks=[], naming="off") as run:
        for step in run.steps(4):
            with sl.scope("train"), sl.record_timing("step"):
                with sl.record_timing("rollout"):
                    time.sleep(rollout_s)
                with sl.record_timing("update"):
                    time.sleep(0.01)
            run.commit(step)
    return folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return traced(folder, "slow", 0.05), traced(folder, "fast", 0.02)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["trace", *map(str, arguments)])


def test_a_summary_shows_stages_kinds_and_the_longest_step(runs: tuple[Path, Path]) -> None:
    done = invoke("summary", runs[0])
    assert done.exit_code == 0, done.output
    assert "4 steps on 1 process" in done.output
    for name in ("train/rollout", "train/update", "train/step", "rollouts", "training", "goodput"):
        assert name in done.output
    assert "waited for: train/rollout" in done.output
    assert f"sightline trace view {runs[0]}" in done.output


def test_a_summary_as_data_is_exhaustive(runs: tuple[Path, Path]) -> None:
    found = orjson.loads(invoke("summary", runs[0], "--json").stdout)
    assert found["processes"] == [0]
    assert sum(found["kinds"].values()) == pytest.approx(1)
    assert [step["step"] for step in found["steps"]] == [0, 1, 2, 3]
    for step in found["steps"]:
        assert sum(step["stages"].values()) == pytest.approx(step["wall_s"], rel=0.01)
        assert sum(part["took_s"] for part in step["critical"]) == pytest.approx(step["wall_s"], rel=0.01)
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert stages["train/rollout"]["spans"] == 4
    assert stages["train/rollout"]["total_s"] >= 0.2
    assert stages["train/step"]["exclusive_s"] < stages["train/step"]["total_s"] / 2


def test_steps_can_be_chosen(runs: tuple[Path, Path]) -> None:
    found = orjson.loads(invoke("summary", runs[0], "--json", "--steps", "1-2").stdout)
    assert [step["step"] for step in found["steps"]] == [1, 2]
    assert invoke("summary", runs[0], "--steps", "x").exit_code == 2


def test_two_runs_are_compared(runs: tuple[Path, Path]) -> None:
    done = invoke("diff", *runs)
    assert done.exit_code == 0, done.output
    assert "train/rollout" in done.output
    found = {each["name"]: each for each in orjson.loads(invoke("diff", *runs, "--json").stdout)}
    assert found["train/rollout"]["change_s"] < 0
    assert found["train/rollout"]["before_s"] >= 0.05


def test_what_is_no_run_or_has_no_steps_is_said(tmp_path: Path) -> None:
    done = invoke("summary", tmp_path)
    assert done.exit_code == 2
    assert done.output.startswith("sightline trace summary:")
    with sl.start(tmp_path, name="run", sinks=[]), sl.trace_scope("a"):
        pass
    done = invoke("summary", tmp_path / "run")
    assert done.exit_code == 1
    assert "there are no steps in it" in done.output
