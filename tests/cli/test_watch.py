"""`sightline watch` where nobody types: once, in a pipe, for programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.watching.journals import commit, logged, rich_run, run_line, warning, written


def watched(run: Path, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline.cli", "watch", str(run), *more],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "", **env},
    )  # fmt: skip


def plain(run: Path, *more: str) -> tuple[dict[str, Any], int]:
    done = watched(run, "--json", *more)
    return orjson.loads(done.stdout), done.returncode


def test_in_a_pipe_a_plain_summary_is_printed_once(tmp_path: Path) -> None:
    """Also of a run that goes on; without a colour, and what comes next apart from it."""
    done = watched(rich_run(tmp_path / "run"))
    assert done.returncode == 0
    missing, after = done.stderr.splitlines()[:2]
    assert missing.startswith(f"missing: {tmp_path}/run: files of 1 of 16 processes are here")
    assert after.startswith(f"next: sightline doctor {tmp_path}/run  # ")
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("grpo   ✗ crashed   16 processes")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "process 13 in rollout: +300 ms" in done.stdout
    wide = watched(tmp_path / "run", COLUMNS="200").stdout
    assert 140 < max(len(line) for line in wide.splitlines()) <= 200


def test_a_pipe_without_unicode_gets_plain_characters(tmp_path: Path) -> None:
    assert watched(rich_run(tmp_path / "run"), PYTHONIOENCODING="ascii").stdout.isascii()


def test_a_program_gets_all_of_it_and_is_told_what_is_missing(tmp_path: Path) -> None:
    run = rich_run(tmp_path / "run")
    found, code = plain(run, "-m", "train/l*", "-m", "none*", "-n", "20")
    assert code == 3
    assert found["files"] == {"expected": 16, "here": [0], "missing": list(range(1, 16))}
    assert [(metric["key"], len(metric["values"])) for metric in found["metrics"]] == [("train/loss", 20)]
    assert found["unmatched"] == ["none*"]
    assert found["state"]["state"] == "crashed"
    assert found["slow"][0]["slow"]["process"] == 13
    assert found["samples"][0]["rows"][0]["which"] == "best"
    for process in range(1, 16):
        logged(run, process, warning(1.0, "x", process=process))
    assert plain(run)[1] == 0


def test_one_processs_files_without_the_journal_are_an_error(tmp_path: Path) -> None:
    logged(tmp_path / "run", 3, warning(1.0, "x", process=3))
    done = watched(tmp_path / "run", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "files of process 3 and no metrics.jsonl" in done.stderr


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ([], 0, "no commit yet"),
        ([run_line()], 0, "no commit yet"),
        ([run_line(), commit(0, {"train/loss": 0.5})], 0, "step 0"),
        ([run_line(format=9)], 2, "has format 9"),
        ([b"no journal\n"], 1, "the journal: 1 line could not be read"),
    ],
    ids=["empty", "begun", "one step", "newer", "torn"],
)
def test_any_journal_is_shown_or_refused(tmp_path: Path, lines: list[bytes], code: int, said: str) -> None:
    done = watched(written(tmp_path / "run", *lines))
    assert done.returncode == code, done.stderr
    assert said in " ".join((done.stdout + done.stderr).split())


def test_a_reader_that_goes_is_no_error(tmp_path: Path) -> None:
    run = rich_run(tmp_path / "run")
    script = f"{sys.executable} -m sightline.cli watch {run} | head -n 1; exit ${{PIPESTATUS[0]}}"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60, env=env
    )
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert "Error" not in done.stderr
