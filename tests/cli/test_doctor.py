"""`sightline doctor`, as it is typed: runs in every state, each with what is wrong and what mends it."""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.runs.run_directory import RunDirectory
from sightline.support.foreign_text import one_line
from tests import waiting_run
from tests.harness import PATIENCE, Workers, workers_of
from tests.terminals import SIGHTLINE, on_terminal
from tests.waiting_run import started


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(waiting_run.__file__, tmp_path) as started:
        yield started


def doctor(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline.cli", "doctor", *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, **env},
    )  # fmt: skip


def findings(*arguments: object, code: int | None = None) -> dict[str, dict[str, Any]]:
    """By check; the last one of several."""
    done = doctor(*arguments, "--json")
    if code is not None:
        assert done.returncode == code, done.stdout + done.stderr
    return {each["check"]: each for each in json.loads(done.stdout)["findings"]}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of twenty steps that has ended, with a sink that has all of them."""
    with sl.start(tmp_path, name="run", sinks=["jsonl"], naming="off") as run:
        for step in run.steps(20):
            sl.scalar(loss=step)
            run.commit(step)
    return tmp_path / "run"


def appended(run_dir: Path, *lines: dict[str, Any] | bytes) -> None:
    with (run_dir / "metrics.jsonl").open("ab") as file:
        for each in lines:
            file.write(each if isinstance(each, bytes) else orjson.dumps(each) + b"\n")


def test_a_run_that_ended_well_has_nothing_wrong(run_dir: Path) -> None:
    done = doctor(run_dir)
    assert done.returncode == 0, done.stdout
    assert "✓ state" in done.stdout
    assert "finished: step 19 of 19" in done.stdout
    assert "jsonl has everything" in done.stdout
    assert done.stdout.endswith("nothing is wrong\n")
    assert done.stderr.startswith("next: ")


def test_states_of_runs_are_told_with_what_to_do(workers: Workers) -> None:
    """Running, and killed: with what the sinks lack, and the command that brings it, which does."""
    worker = started(workers, 5, total=100, sinks=["jsonl"])
    path = worker.disk / "runs" / "run"
    found = findings(path, code=0)
    assert found["state"]["what"].startswith("running: step 4 of 99")
    assert found["lock"]["what"] == f"held by process {worker.popen.pid} on {os.uname().nodename}"
    worker.signal(signal.SIGKILL)
    worker.wait(-signal.SIGKILL)
    shutil.rmtree(path / "cursors")
    rows = path / "rows.jsonl"
    rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:2]))
    found = findings(path, code=1)
    assert found["state"]["what"].startswith("crashed: step 4 of 99")
    assert "resume='must'" in found["state"]["fix"]
    assert found["sink"]["what"] == "jsonl lacks 3 commits, by its file"
    assert found["sink"]["fix"] == f"sightline sync {path} --to jsonl"
    command = [sys.executable, "-m", "sightline.cli", *found["sink"]["fix"].split()[1:]]
    subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True)
    assert findings(path)["sink"]["level"] == "ok"


def sl_run_id(path: Path) -> str:
    return str(json.loads((path / "run.json").read_text())["run_id"])


def test_a_run_without_a_commit_is_no_trouble(workers: Workers) -> None:
    worker = started(workers, total=100)
    assert findings(worker.disk / "runs" / "run", code=0)["state"]["what"].startswith("running: no step yet")


def test_a_run_that_stalls_names_who_is_waited_for(run_dir: Path) -> None:
    held = RunDirectory(run_dir.parent, "run", "must")
    (run_dir / "run.json").unlink()  # which names another process than the one that holds it
    appended(
        run_dir,
        {
            "type": "event",
            "event": "stall",
            "attempt": 1,
            "step": 20,
            "waiting_for": [3],
            "time": time.time(),
        },
        {
            "type": "event", "event": "stacks", "attempt": 1, "step": 20, "process": 3, "stacks": "in x",
            "time": time.time(), "span": "reward", "span_s": 41.0, "at": "rollout.py:88 in score",
        },
    )  # fmt: skip
    journal = run_dir / "metrics.jsonl"
    lines = [orjson.loads(line) for line in journal.read_bytes().splitlines()]
    for line in lines:
        if line["type"] == "commit":
            line["time"] -= 1000 - line["step"]
    journal.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    found = findings(run_dir, code=1)
    held.close()
    assert found["state"]["what"].startswith("stalled: step 19 of 19")
    assert "step 20 waits for process 3; process 3 has been in reward for 4" in found["state"]["why"]
    assert "(rollout.py:88 in score)" in found["state"]["why"]
    assert "logs/p00003" in found["state"]["fix"]


def test_a_stall_that_is_over_says_where_all_were(run_dir: Path) -> None:
    """Also where there is one process, or all stood in one collective, so that none of them is a suspect."""
    now = time.time()
    where = {"span": "update", "span_s": 20.0, "at": "train.py:13 in step", "stacks": "in x"}
    stall = {
        "type": "event",
        "event": "stall",
        "attempt": 1,
        "step": None,
        "waiting_for": [0, 1],
        "time": now,
    }
    appended(
        run_dir,
        stall,
        *({**stall, "event": "stacks", "process": process, **where} for process in (0, 1)),
        {"type": "event", "event": "resumed", "attempt": 1, "step": 20, "seconds": 25.0, "time": now + 15},
        {"type": "commit", "seq": 10**6, "step": 20, "k": 0, "attempt": 1, "time": now + 15, "expected": 1,
         "reported": 1, "values": {}},
    )  # fmt: skip
    found = orjson.loads(doctor(run_dir, "--json").stdout)["findings"]
    (said,) = [each for each in found if each["check"] == "stalls"]
    assert "process 0 was in update for 20 s (train.py:13 in step)" in said["why"]
    assert "process 1 was in update for 20 s" in said["why"]


def test_a_damaged_journal_is_told(run_dir: Path) -> None:
    appended(run_dir, b"\0\0\0 torn\n", b'{"type":"commit","se')
    said = json.loads(doctor(run_dir, "--json").stdout)["findings"]
    found = {(each["level"], each["what"]) for each in said if each["check"] == "journal"}
    assert found == {
        ("wrong", "1 line could not be read; 3 B of zeros, as a crash of a machine leaves them"),
        ("note", "its last line is cut (20 B), as a kill leaves it: that line is lost, and nothing else"),
    }  # fmt: skip


def test_a_newer_journal_is_told(run_dir: Path) -> None:
    journal = run_dir / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"format":1', b'"format":7'))
    found = findings(run_dir, code=1)
    assert "it has format 7" in found["journal"]["what"]
    assert found["journal"]["fix"] == "pip install --upgrade sightline"
    assert found.keys() == {"journal", "lock", "space", "run.json"}  # nothing that the journal says


def test_what_was_counted_is_explained(run_dir: Path) -> None:
    line = {
        "type": "commit", "attempt": 1, "k": 0, "time": time.time(), "expected": 4, "reported": 3,
    }  # fmt: skip
    appended(
        run_dir,
        {"type": "event", "event": "nonfinite", "key": "train/kl", "step": 20, "attempt": 1, "count": 2,
         "processes": [2], "site": "train.py:7"},
        {**line, "seq": 21, "step": 20, "missing": [3],
         "values": {"obs/nonfinite": 2, "obs/late_snapshots": 1}},
        {**line, "seq": 22, "step": 21, "values": {"obs/pending_device_values": 4, "obs/brand_new": 1}},
        {"type": "late", "attempt": 1, "process": 3, "step": 20},
    )  # fmt: skip
    found = findings(run_dir, code=1)
    assert (
        found["processes"]["what"] == "process 3 was missing in one commit (step 20), and has not come back"
    )
    assert found["processes"]["level"] == "wrong"
    assert "train/kl first in step 20 on process 2 at train.py:7" in found["obs/nonfinite"]["why"]
    assert "deadline_s" in found["obs/pending_device_values"]["fix"]
    assert "process 3: 1 (step 20)" in found["late"]["what"]
    assert found["obs/brand_new"]["level"] == "note"
    assert "obs/late_snapshots" not in found


def test_files_of_other_hosts_are_missed(run_dir: Path) -> None:
    """Of 16 processes one is here: a program is told by its exit code, and in a field."""
    journal = run_dir / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"processes":1', b'"processes":16'))
    done = doctor(run_dir, "--json")
    assert done.returncode == 3
    missing = f"{run_dir}: files of 1 of 16 processes are here, without processes 1-15"
    assert json.loads(done.stdout)["missing"] == [missing]
    shown = doctor(run_dir)
    assert shown.returncode == 0
    assert "files of 1 of 16 processes are here, without processes 1-15" in shown.stdout
    assert f"sightline collect {run_dir}" in shown.stderr


def test_a_part_of_a_run_is_not_taken_for_a_broken_one(run_dir: Path) -> None:
    """What lies on another host than the root's has no journal."""
    for name in ("metrics.jsonl", "run.json", ".lock"):
        (run_dir / name).unlink()
    shutil.rmtree(run_dir / "cursors")
    found = findings(run_dir, code=0)
    assert found["state"]["level"] == "note"
    assert "whose root wrote elsewhere" in found["state"]["what"]


def test_a_folder_of_runs_names_them(run_dir: Path) -> None:
    done = doctor(run_dir.parent)
    assert done.returncode == 2
    assert f"it has runs: {run_dir.name}" in done.stderr or f", {run_dir.name}" in done.stderr


def test_an_empty_directory_is_no_run(tmp_path: Path) -> None:
    assert findings(tmp_path, code=1)["state"]["what"] == "there is no metrics.jsonl here"
    nowhere = doctor(tmp_path / "nowhere")
    assert nowhere.returncode == 2
    assert "expected a run's, as in runs/latest" in nowhere.stderr


def test_offline_runs_of_sinks_wait_to_be_uploaded(workers: Workers) -> None:
    """Until W&B has marked them."""
    worker = started(workers, 3, total=100, sinks=["wandb"])
    worker.tell("end")
    worker.wait()
    path = worker.disk / "runs" / "run"
    found = findings(path, code=0)["offline"]
    assert found["what"] == "1 W&B run is on disk only"
    (offline,) = (path / "wandb").glob("offline-run-*")
    (file,) = offline.glob("*.wandb")
    file.with_suffix(".wandb.synced").touch()
    assert "offline" not in findings(path)


def test_a_directory_that_nobody_may_write_is_looked_at(run_dir: Path) -> None:
    before = sorted(run_dir.rglob("*"))
    run_dir.chmod(0o555)
    try:
        assert doctor(run_dir).returncode == 0
    finally:
        run_dir.chmod(0o755)
    assert sorted(run_dir.rglob("*")) == before


def test_locks_that_cannot_be_seen_are_said(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import fcntl\ndef refuse(*_):\n    raise OSError({errno.ENOLCK}, 'No locks available')\n"
        "fcntl.flock = refuse\n"
    )
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = doctor(run_dir, PYTHONPATH=path)
    assert "cannot be locked here: No locks available" in done.stdout
    assert callable(fcntl.flock)


def test_a_disk_that_hangs_holds_nothing_up(run_dir: Path) -> None:
    """Here a pipe in the journal's place, which nobody fills."""
    (run_dir / "metrics.jsonl").unlink()
    os.mkfifo(run_dir / "metrics.jsonl")
    done = doctor(run_dir, "--timeout", "1")
    assert done.returncode == 1
    assert "does not answer within 1 s" in done.stdout


def test_texts_of_others_act_on_no_terminal(run_dir: Path) -> None:
    evil = "train/\x1b[2J\x07\u202e" + "x" * 1_000_000
    appended(
        run_dir,
        {"type": "event", "event": "nonfinite", "key": evil, "step": 20, "attempt": 1, "processes": [0]},
        {"type": "commit", "seq": 21, "attempt": 1, "step": 20, "k": 0, "time": 1.0,
         "values": {"obs/nonfinite": 1, "obs/\x1b[31mred": 1, "obs/sink/\x9b2J/errors": 1}},
        {"type": "event", "event": "failed", "attempt": 1, "error": evil, "time": time.time()},
        {"type": "event", "event": "finish", "attempt": 1, "missing": [], "time": time.time()},
    )  # fmt: skip
    done = doctor(run_dir)
    assert done.returncode == 1
    for text in (done.stdout, done.stderr):
        assert all(char.isprintable() or char == "\n" for char in text)
        assert max(map(len, text.splitlines())) < 3000
    assert one_line("a\ud800b") == "a\\ud800b"


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal_lines_fit_and_have_colours(run_dir: Path, columns: int) -> None:
    """NO_COLOR takes the colours, and an encoding without the marks gets others."""
    appended(run_dir, b"torn\n")
    show = functools.partial(
        on_terminal, [*SIGHTLINE, "doctor", run_dir], columns=columns, shown="both", code=1
    )  # fmt: skip
    for env, has_colours in (({}, True), ({"NO_COLOR": "1"}, False)):
        out = show(PYTHONIOENCODING="utf-8", **env).decode()
        assert ("\x1b[31m" in out) == has_colours
        assert "✗" in out
        if not has_colours:
            shown = [each for each in out.partition("next: ")[0].splitlines() if "fix: " not in each]
            assert all(len(line) <= columns for line in shown)
    ascii_ = show(PYTHONIOENCODING="ascii", NO_COLOR="1").decode()
    assert ascii_.isascii()
    assert "x  journal" in ascii_
    assert "ok state" in ascii_


def test_without_a_run_the_installation_is_looked_at(tmp_path: Path) -> None:
    """The network is left alone, and asked only when told to."""
    env = {"WANDB_API_KEY": "hunter2" * 5, "WANDB_BASE_URL": "http://127.0.0.1:9", "MLFLOW_TRACKING_URI": ""}
    done = doctor("--log-dir", tmp_path, "--timeout", "120", "--json", **env)
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    by_check = {each["check"]: each for each in said["findings"]}
    assert {"python", "jax", "jax store", "switches", "disk kind", "launch"} <= by_check.keys()
    assert by_check["servers"]["level"] == "skipped"
    assert "hunter2" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_servers_are_asked_when_told_to(run_dir: Path) -> None:
    env = {"WANDB_BASE_URL": "http://127.0.0.1:9", "SWANLAB_API_HOST": "http://127.0.0.1:9"}
    done = doctor(run_dir, "--online", "--json", **env)
    assert done.returncode == 1
    said = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "servers"]
    assert {each["data"]["sink"] for each in said} == {"wandb", "swanlab"}
    assert all("Connection refused" in each["what"] for each in said)
