"""The disk: what it can do is tried in a place that is removed, and what it cannot is said."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from sightline.doctor import disk
from sightline.doctor.disk import disk_checks, file_system


def levels(log_dir: Path) -> dict[str, str]:
    return {each.check: each.level for each in disk_checks(log_dir)}


def test_a_good_disk_is_good_and_left_as_it_was(tmp_path: Path) -> None:
    found = disk_checks(tmp_path / "yet" / "to" / "be" / "made")
    assert {each.level for each in found if each.check in ("disk kind", "clock")} == {"ok"}
    assert "yet to be made" in found[0].what
    assert list(tmp_path.iterdir()) == []
    assert file_system(tmp_path)


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "runs", Path("/proc")):
        assert levels(place)["disk write"] == "wrong"


def test_a_disk_without_locks_cannot_hold_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where flock is refused, nor where it lets everybody in."""

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert levels(tmp_path)["disk kind"] == "wrong"
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    (found,) = (each for each in disk_checks(tmp_path) if each.check == "disk kind")
    assert "keeps nobody out" in found.what


def test_little_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    monkeypatch.setattr(disk, "_LITTLE_FREE", free * 2)
    assert levels(tmp_path)["disk room"] == "note"
    monkeypatch.setattr(disk, "_LEAST_FREE", free * 2)
    assert levels(tmp_path)["disk room"] == "wrong"
