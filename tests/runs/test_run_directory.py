"""The run directory: what resume allows, which names it takes, and that one run at a time holds it."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.runs.run_directory import RunDirectory


def made(log_dir: Path, name: str | None = None, resume: Any = "never", *, journal: bool = True) -> Path:
    """A directory that a run has held and left, with a line in its journal or not."""
    directory = RunDirectory(log_dir, name, resume)
    if journal:
        directory.journal.write_bytes(b"{}\n")
    directory.close()
    return directory.path


@pytest.mark.parametrize("resume", ["never", "allow"])
def test_a_fresh_name_is_made(tmp_path: Path, resume: Any) -> None:
    directory = RunDirectory(tmp_path / "a" / "b", "run", resume)
    assert directory.path == tmp_path / "a" / "b" / "run"
    assert directory.journal == directory.path / "metrics.jsonl"
    assert directory.path.is_dir()
    directory.close()


@pytest.mark.parametrize("resume", ["allow", "must"])
def test_an_earlier_run_goes_on(tmp_path: Path, resume: Any) -> None:
    earlier = made(tmp_path, "run")
    directory = RunDirectory(tmp_path, "run", resume)
    assert directory.path == earlier
    assert directory.journal.read_bytes() == b"{}\n"
    directory.close()


def test_never_refuses_an_earlier_run_and_lets_it_go(tmp_path: Path) -> None:
    """The refusal says what to do, changes nothing, and does not keep the lock."""
    made(tmp_path, "run")
    with pytest.raises(sl.RunDirectoryError, match=r"earlier run.*another name.*resume='allow'"):
        RunDirectory(tmp_path, "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == b"{}\n"
    made(tmp_path, "run", "must")


def test_never_takes_a_directory_in_which_nothing_was_written(tmp_path: Path) -> None:
    """A root that died before its first line has left nothing to lose."""
    path = made(tmp_path, "run", journal=False)
    (path / "metrics.jsonl").touch()
    assert made(tmp_path, "run") == path


@pytest.mark.parametrize("name", ["run", None])
def test_must_refuses_where_there_is_no_run(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(sl.RunDirectoryError, match="resume='must'"):
        RunDirectory(tmp_path, name, "must")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resume", ["allow", "must"])
def test_without_a_name_the_latest_run_goes_on(tmp_path: Path, resume: Any) -> None:
    for name in ("a", "z", "m"):
        made(tmp_path, name)
    assert made(tmp_path, None, resume) == tmp_path / "m"


def test_without_a_name_every_fresh_run_has_one_of_its_own(tmp_path: Path) -> None:
    assert made(tmp_path, None, "allow") != made(tmp_path, None) != made(tmp_path, None)
    assert len([path for path in tmp_path.iterdir() if not path.is_symlink()]) == 3


def test_latest_points_to_the_run_that_was_started_last(tmp_path: Path) -> None:
    """The link is relative, so that log_dir can be moved."""
    for name, resume in (("a", "never"), ("b", "never"), ("a", "allow")):
        made(tmp_path, name, resume)
        assert os.readlink(tmp_path / "latest") == name
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert made(moved, None, "must") == moved / "a"


def test_a_refused_run_does_not_become_the_latest(tmp_path: Path) -> None:
    made(tmp_path, "a")
    made(tmp_path, "b")
    with pytest.raises(sl.RunDirectoryError):
        RunDirectory(tmp_path, "a")
    assert os.readlink(tmp_path / "latest") == "b"


@pytest.mark.parametrize("name", ["", ".", "..", "latest", "a/b", "/a", "a\0b"])
def test_a_name_that_is_no_path_component_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(sl.ConfigurationError, match="one path component"):
        RunDirectory(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_resume_is_refused(tmp_path: Path) -> None:
    unknown: Any = "auto"
    with pytest.raises(sl.ConfigurationError, match="resume='auto'; expected 'never', 'allow' or 'must'"):
        RunDirectory(tmp_path, "run", unknown)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(sl.RunDirectoryError, match="cannot make the run directory"):
        RunDirectory(tmp_path / "file", "run")


@pytest.mark.parametrize("resume", ["never", "allow"])
def test_a_held_directory_is_refused_with_its_holder(tmp_path: Path, resume: Any) -> None:
    """Two runs never write one journal, not even from one process; once closed it is free."""
    directory = RunDirectory(tmp_path, "run")
    with pytest.raises(sl.RunDirectoryError, match="live run") as caught:
        RunDirectory(tmp_path, "run", resume)
    assert str(os.getpid()) in str(caught.value)
    assert str(directory.path) in str(caught.value)
    directory.close()
    directory.close()
    made(tmp_path, "run", resume)


def test_where_there_are_no_locks_a_run_starts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some file systems of clusters have none; a second run at once would be a mistake, and is rare."""

    def refuse(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    directory = RunDirectory(tmp_path, "run")
    directory.close()
    assert "run: its file system has no locks (Function not implemented)" in caplog.text
