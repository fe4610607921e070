"""A run's checkpoints over its life."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from runners.common.errors import CheckpointError
from runners.common.saves import Saves
from runners.common.sections import CheckpointConfig, OutputConfig


def output(folder: Path, resume: str = "never") -> OutputConfig:
    return OutputConfig(dir=str(folder), name="run", resume=resume, sinks=())  # type: ignore[arg-type]


def saved(folder: Path, settings: CheckpointConfig, *steps: int) -> list[bool]:
    """Whether each of these steps was written, by one run."""
    saves = Saves(output(folder), settings)
    with sl.start(folder, name="run", sinks=[]) as run:
        written = [saves.save(run, step, {"x": np.full(3, step)}, {"position": 2 * step}) for step in steps]
    saves.close()
    return written


def test_a_step_is_written_once_and_found_with_the_runs_state(tmp_path: Path) -> None:
    assert saved(tmp_path, CheckpointConfig(), 1, 4, 4) == [True, True, False]
    saves = Saves(output(tmp_path, "must"), CheckpointConfig())
    assert saves.find() == saves.step == 4
    assert saves.found == tmp_path / "run" / "checkpoints" / "p00000" / "4"
    arrays, meta = saves.restore({"x": np.zeros(3)})
    assert arrays["x"].tolist() == [4, 4, 4]
    assert meta == saves.meta()
    assert meta["position"] == 8
    assert meta["sightline"]["run_id"] == next(sl.read_journal(tmp_path / "run"))["run_id"]


def test_nothing_is_written_where_checkpoints_are_off(tmp_path: Path) -> None:
    assert saved(tmp_path, CheckpointConfig(enabled=False), 1) == [False]
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_only_a_run_that_must_go_on_needs_a_checkpoint(tmp_path: Path) -> None:
    assert Saves(output(tmp_path), CheckpointConfig()).find() is None
    assert Saves(output(tmp_path, "allow"), CheckpointConfig()).find() is None
    with pytest.raises(CheckpointError, match=r"no checkpoint under .*run/checkpoints/p00000"):
        Saves(output(tmp_path, "must"), CheckpointConfig()).find()
    assert list(tmp_path.iterdir()) == []
