"""That a disk is full is said once, however many meet it."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from sightline.files.full_disks import has_room, has_space, is_said

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_it_is_said_once_for_all_files_of_a_file_system(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also by those that get their errors as texts, and for folders that cannot even be made."""
    assert is_said(FULL, tmp_path / "not" / "there")
    assert is_said(sqlite3.OperationalError("database or disk is full"), tmp_path)
    assert is_said(RuntimeError(f"the child says: {FULL}"), tmp_path)
    assert not is_said(OSError(errno.EACCES, os.strerror(errno.EACCES)), tmp_path)
    (said,) = caplog.messages
    assert said.startswith(f"sightline: no space for {tmp_path}/not/there (No space left on device)")


def test_a_disk_that_is_full_now_and_then_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(16):
        assert is_said(FULL, tmp_path)
        assert has_space(tmp_path)
        assert not has_space(tmp_path)
    assert sum("no space" in each for each in caplog.messages) == 5
    assert sum("space again" in each for each in caplog.messages) == 5


def test_room_is_what_a_file_system_says(tmp_path: Path) -> None:
    assert has_room(tmp_path)
    assert has_room(tmp_path / "missing")
    assert not has_room(Path("/proc"))  # which has no blocks at all
