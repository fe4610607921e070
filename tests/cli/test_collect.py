"""`sightline collect`, as it is typed, on the files of real runs; and what `upload_to` brings there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sightline as sl
from tests.cli import log_workers as script
from tests.cli.typed_logs import PYTHONPATH, logs, messages
from tests.harness import Workers, until, workers_of
from tests.run_logs.written import Written
from tests.terminals import on_terminal

COMMAND = [sys.executable, "-m", "sightline.cli", "collect"]


def collect(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env={**os.environ, **PYTHONPATH},
    )  # fmt: skip


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(script.__file__, tmp_path) as started:
        yield started


def test_a_run_of_several_hosts_is_brought_together(workers: Workers, tmp_path: Path) -> None:
    """Of three processes, each with a disk of its own; again and again while it goes on, and at its end."""
    job = workers.start_job(3, "talk", env=PYTHONPATH, lines=40, pause_s=0.1, segment_bytes=2000)
    hosts = [worker.disk / "runs" for worker in job]
    out = tmp_path / "out"
    until(lambda: all(list(each.glob("run/logs/*.jsonl")) for each in hosts))
    while job.root.popen.poll() is None:
        done = collect(out, *hosts, "--json")
        assert done.returncode in (0, 3), done.stderr
    job.wait()
    done = collect(out, *hosts)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "processes of attempt 1 (3): complete: processes 0-2"
    assert f"sightline logs {out}" in done.stderr
    for each in hosts:
        for path in (path for path in (each / "run").rglob("p0*") if path.is_file()):
            assert (out / path.relative_to(each / "run")).read_bytes() == path.read_bytes()
    assert len(list(out.glob("logs/*.jsonl"))) == sum(
        len(list(each.glob("run/logs/*.jsonl"))) for each in hosts
    )
    shown = messages(logs(out, "--json", "--grep", "line").stdout)
    assert sorted(shown) == sorted(f"line {step}" for step in range(40) for _ in range(3))
    assert "0 new files, 0 longer ones" in collect(out, *hosts).stdout


def test_missing_processes_and_other_runs_are_told(tmp_path: Path) -> None:
    one = Written(tmp_path / "h1", 1, processes=4).end().write()
    other = Written(tmp_path / "h2", 2, processes=4, run_id="r2").write()
    out = tmp_path / "out"
    dry = collect(out, one, "--dry-run")
    assert (dry.returncode, out.exists()) == (0, False)
    out.mkdir()
    (out / ".collect.lock").touch()  # as one that failed leaves it
    assert collect(out, one, "--dry-run").returncode == 0
    assert "would be brought: 1 new file," in dry.stdout
    done = collect(out, one, "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["processes"]["missing"]) == (3, [0, 2, 3])
    assert "files of 1 of 4 processes are here, without processes 0, 2, 3" in said["missing"][0]
    done = collect(out, other)
    assert done.returncode == 1
    assert f"{other} is of run r2, and this is run r1" in done.stderr
    assert "missing: processes 0, 2, 3" in done.stdout
    for source, said in (("none", "is no directory"), ("nosuch://x", "a URL that fsspec knows")):
        done = collect(out, tmp_path / source if source == "none" else source)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert said in done.stderr


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_has_a_progress_bar(tmp_path: Path, columns: int) -> None:
    one = Written(tmp_path / "h1", 1)
    one.data += b"x" * (20 << 20)
    command = [*COMMAND, tmp_path / "out", one.write()]
    assert b"collecting" in on_terminal(command, columns=columns, shown="stderr", **PYTHONPATH)


def test_a_run_of_a_newer_sightline_is_brought_as_it_is(tmp_path: Path) -> None:
    journal = Written(tmp_path / "h0").write() / "metrics.jsonl"
    journal.write_bytes(b'{"type":"run","format":99,"run_id":"r1","attempt":1,"started":1,"processes":1}\n')
    done = collect(tmp_path / "out", tmp_path / "h0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "metrics.jsonl").read_bytes() == journal.read_bytes()


# Uploads


def test_full_segments_are_uploaded_during_the_run_and_the_rest_at_its_end(
    workers: Workers, tmp_path: Path
) -> None:
    to = tmp_path / "bucket"
    job = workers.start_job(
        2, "talk", env=PYTHONPATH, lines=60, pause_s=0.1, segment_bytes=2000, upload_to=str(to)
    )
    until(lambda: all(list(to.glob(f"run/logs/p0000{p}.a01.0*.jsonl")) for p in range(2)))
    assert job.root.popen.poll() is None  # the run goes on
    assert not list(to.glob("run/logs/p00000.a01.jsonl"))
    job.wait()
    out = tmp_path / "out"
    assert collect(out, to).returncode == 0
    for worker in job:
        run = worker.disk / "runs" / "run"
        for path in (path for path in run.rglob("*") if path.is_file() and path.name != ".lock"):
            assert (out / path.relative_to(run)).read_bytes() == path.read_bytes(), path
    assert "complete: processes 0, 1" in collect(out, *(worker.disk / "runs" for worker in job)).stdout


def test_a_place_that_fails_does_not_hurt_training(workers: Workers, tmp_path: Path) -> None:
    """It is tried again, counted and said once; when it works again, all is there."""
    to = tmp_path / "bucket"
    to.write_text("a file where a folder is expected")
    worker = workers.start(
        "talk", env=PYTHONPATH, lines=80, pause_s=0.1, segment_bytes=2000, upload_to=str(to)
    )
    until(lambda: "is tried again" in worker.output)
    until(lambda: any("obs/upload_failures" in each["values"] for each in worker.commits()))
    to.unlink()
    worker.wait()
    assert worker.output.count("is tried again") == 1
    assert messages(logs(to / "run", "--json", "--grep", "^talk: line").stdout) == [
        f"line {i}" for i in range(80)
    ]


def test_a_place_that_stays_away_holds_up_the_end_for_a_bounded_time(tmp_path: Path) -> None:
    to = tmp_path / "bucket"
    to.write_text("a file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sightline.files.uploading._LONGEST_PAUSE_S", 0.05)
        run = sl.start(
            tmp_path / "runs", name="run", sinks=[], naming="off", upload_to=str(to),
            logging={"console_processes": "9"},
        )  # fmt: skip
        sl.scalar(a=1)
        run.commit(0)
        assert not run.finish()


def test_files_of_another_run_of_that_name_are_left_alone(tmp_path: Path) -> None:
    to = tmp_path / "bucket"
    finished = []
    for disk in ("a", "b"):
        run = sl.start(
            tmp_path / disk, name="run", sinks=[], naming="off", upload_to=str(to),
            logging={"console_processes": "9"},
        )  # fmt: skip
        run.commit(0)
        finished.append(run.finish())
    assert finished == [True, False]
    for path in (path for path in (tmp_path / "a" / "run").rglob("*") if path.is_file()):
        if path.name != ".lock":
            assert (to / "run" / path.relative_to(tmp_path / "a" / "run")).read_bytes() == path.read_bytes()


def test_a_forked_child_uploads_nothing_and_the_parent_goes_on(workers: Workers, tmp_path: Path) -> None:
    to = tmp_path / "bucket"
    workers.start("fork", env=PYTHONPATH, to=str(to)).wait()
    assert messages(logs(to / "run", "--json", "--grep", "line").stdout) == [f"line {i}" for i in range(20)]


def test_a_preempted_run_uploads_what_it_has(workers: Workers, tmp_path: Path) -> None:
    to = tmp_path / "bucket"
    worker = workers.start("endless", env=PYTHONPATH, upload_to=str(to))
    until(lambda: worker.notes("started"))
    time.sleep(0.5)
    worker.signal(signal.SIGTERM)
    worker.wait(None)
    shown = messages(logs(to / "run", "--json").stdout)
    assert any("SIGTERM: all is written" in message for message in shown)


def test_what_cannot_work_fails_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(sl.ConfigurationError, match="nosuch"):
        sl.start(tmp_path, name="run", sinks=[], upload_to="nosuch://bucket")
