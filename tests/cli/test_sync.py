"""`sightline sync`, as it is typed: a run that was not watched is brought up to date, and nothing twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl
from tests.sinks.test_tensorboard import numbers, read, seqs


def sync(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sightline.cli import main; main()", "sync", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of twenty steps without sinks."""
    with sl.start(tmp_path, name="run", sinks=[], naming="off", config={"lr": 1e-3}) as run:
        for step in run.steps(20):
            sl.scalar(loss=step)
            run.commit(step)
    return tmp_path / "run"


def test_twice_brings_up_everything_once(run_dir: Path) -> None:
    first = sync(run_dir, "--to", "tensorboard")
    assert (first.returncode, first.stderr) == (0, "")
    assert "up to date; 20 commits (steps 0 to 19)" in first.stdout
    second = sync(run_dir, "--to", "tensorboard")
    assert "up to date; 0 commits" in second.stdout
    assert seqs(run_dir / "tensorboard") == list(range(1, 21))
    assert numbers(read(run_dir / "tensorboard"), "loss") == [(step, float(step)) for step in range(20)]


def test_a_lost_cursor_costs_nothing_where_the_sink_can_be_asked(run_dir: Path) -> None:
    sync(run_dir, "--to", "tensorboard")
    (run_dir / "cursors" / "tensorboard.json").write_text("torn")
    assert sync(run_dir, "--to", "tensorboard").returncode == 0
    assert seqs(run_dir / "tensorboard") == list(range(1, 21))


def test_a_dry_run_says_what_is_missing_and_writes_nothing(run_dir: Path) -> None:
    before = sorted(run_dir.rglob("*"))
    done = sync(run_dir, "--to", "tensorboard", "--dry-run", "--from-step", 15)
    assert "5 commits (steps 15 to 19) would be sent" in done.stdout
    assert sorted(run_dir.rglob("*")) == before


def test_settings_are_those_of_the_run_and_those_given(run_dir: Path, tmp_path: Path) -> None:
    done = sync(run_dir, "--to", "tensorboard", "--set", f"tensorboard.dir={tmp_path / 'elsewhere'}")
    assert done.returncode == 0, done.stderr
    assert seqs(tmp_path / "elsewhere") == list(range(1, 21))


def test_a_rewound_run_is_replayed_as_it_was(tmp_path: Path) -> None:
    states = []
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in run.steps(10):
            sl.scalar(loss=step)
            run.commit(step)
            states.append(run.state_dict())
    with sl.start(tmp_path, name="run", sinks=[], naming="off", resume="must", state_dict=states[4]) as run:
        for step in run.steps(7):
            sl.scalar(loss=100 + step)
            run.commit(step)
    assert sync(run.dir, "--to", "tensorboard").returncode == 0
    shown = numbers(read(run.dir / "tensorboard"), "loss")
    assert shown == [*((step, float(step)) for step in range(5)), (5, 105.0), (6, 106.0)]


def test_what_cannot_be_is_said_in_one_line(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, expected in (
        ((tmp_path / "empty", "--to", "tensorboard"), "has no journal metrics.jsonl"),
        ((run_dir, "--to", "console"), "keeps nothing"),
        ((run_dir, "--to", "nowhere"), "unknown sink 'nowhere'"),
        ((run_dir, "--to", "tensorboard", "--set", "wandb.mode=online"), "expected SINK.NAME=VALUE"),
        ((run_dir, "--to", "tensorboard", "--set", "tensorboard.rewind=back"), "expected 'continue', 'fork'"),
    ):
        done = sync(*arguments)
        assert done.returncode == 2, done.stderr
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_live_run_is_left_alone(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        done = sync(run.dir, "--to", "tensorboard")
    assert done.returncode == 2
    assert "is a live run" in done.stderr


def test_a_sink_that_takes_nothing_is_said(run_dir: Path) -> None:
    (run_dir / "tensorboard").write_text("in the way")
    done = sync(run_dir, "--to", "tensorboard")
    assert done.returncode == 1
    assert "took no more: FileExistsError" in done.stderr
