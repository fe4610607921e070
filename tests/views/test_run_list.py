"""The runs below a folder."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import sightline as sl
from sightline.errors import RunDirectoryError
from sightline.views.run_list import runs_below
from tests.harness import Workers, until, workers_of
from tests.tables import recorded_runs
from tests.tables.recorded_runs import attempt, commit, rewound, run_line, written


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(recorded_runs.__file__, tmp_path) as started:
        yield started


def test_a_finished_run_says_what_it_was(tmp_path: Path) -> None:
    """With the value of an evaluation that the last commit does not have."""
    run_dir = rewound(tmp_path, "again")
    (run,) = runs_below(tmp_path)
    assert (run.path, run.name, run.state.state) == (run_dir, "again", "finished")
    assert (run.state.attempt, run.state.last_step, run.state.total_steps) == (2, 11, 12)
    assert run.metrics["train/loss"] == 1 / 12 + 100
    assert run.metrics["eval/acc"] == 0.08
    assert run.begun is not None
    assert run.heard is not None
    assert run.elapsed_s == run.heard - run.begun
    assert run.disk_bytes >= (run_dir / "metrics.jsonl").stat().st_size


def test_running_killed_and_failed_runs_are_told_apart(workers: Workers) -> None:
    worker = workers.start("commits_until_told", steps=3)
    until(lambda: (worker.disk / "committed").exists(), worker.output)
    folder = worker.disk / "runs"
    (run,) = runs_below(folder)
    assert run.state.state == "running"
    worker.signal(signal.SIGKILL)
    worker.wait(-signal.SIGKILL)
    with pytest.raises(ZeroDivisionError), sl.start(folder, name="bad", sinks=[]):
        raise ZeroDivisionError
    assert {run.name: run.state.state for run in runs_below(folder)} == {"run": "crashed", "bad": "failed"}


def test_runs_in_folders_are_found_once_whatever_links_there_are(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for place in ("a", "sweep/b", "team/sweep/c", "one/two/three/d"):
        written(folder / place, run_line(), commit(1, 0))
    written(tmp_path / "elsewhere", run_line(), commit(1, 0))
    (folder / "latest").symlink_to("a")
    (folder / "sweep" / "latest").symlink_to("b")
    (folder / "moved").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "gone").symlink_to("nowhere")
    (folder / ".hidden").mkdir()
    written(folder / ".hidden" / "x", run_line())
    assert [run.name for run in runs_below(folder)] == ["a", "moved", "sweep/b", "team/sweep/c"]
    assert [run.name for run in runs_below(folder / "latest")] == ["latest"]


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    for name, started in (("b", 10.0), ("a", 20.0), ("c", 5.0)):
        written(tmp_path / name, run_line(started=started), commit(1, 0))
    assert [run.name for run in runs_below(tmp_path)] == ["c", "b", "a"]


def test_journals_that_are_odd_do_not_hide_the_others(tmp_path: Path) -> None:
    """Empty, of no run, cut, of a newer version, without a commit."""
    written(tmp_path / "empty")
    written(tmp_path / "other", {"a": 1})
    written(tmp_path / "newer", run_line(format=9))
    written(tmp_path / "young", run_line())
    written(tmp_path / "cut", run_line(), commit(1, 0, a=1.0), end=b'{"type":"commit","seq":2,"st')
    written(tmp_path / "good", run_line(), commit(1, 0, a=None, b="x"))
    found = {run.name: run for run in runs_below(tmp_path)}
    unknown = {name for name, run in found.items() if run.state.state == "unknown"}
    assert unknown == {"empty", "other", "newer"}
    assert "format 9" in found["newer"].state.reason
    assert found["cut"].metrics == {"a": 1.0}
    assert list(found["good"].metrics) == ["a"]
    assert (found["young"].heard, found["young"].metrics) == (1000.0, {})


def test_files_of_a_process_whose_root_was_elsewhere_are_a_run(tmp_path: Path) -> None:
    run_dir, _ = attempt(tmp_path, "run", 2)
    peer = tmp_path / "peer"
    shutil.copytree(run_dir / "traces", peer / "traces")
    (peer / "traces" / "p00000.a01.0000.json").rename(peer / "traces" / "p00007.a01.0000.json")
    shutil.rmtree(run_dir)
    (run,) = runs_below(tmp_path)
    assert (run.name, run.state.state) == ("peer", "unknown")
    assert "root wrote elsewhere" in run.state.reason


def test_what_is_no_folder_is_an_error_and_what_may_not_be_read_has_no_runs(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no directory"):
        runs_below(tmp_path / "none")
    assert runs_below(tmp_path) == []
    (tmp_path / "shut").mkdir(mode=0)
    try:
        assert runs_below(tmp_path) == []
    finally:
        os.chmod(tmp_path / "shut", 0o700)
