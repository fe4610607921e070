"""`sightline trace merge` and `view`, as they are typed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

import sightline as sl
from tests.harness import free_port
from tests.perfetto import Engine
from tests.terminals import on_terminal
from tests.timeline.live import Live

COMMAND = [sys.executable, "-c", "from sightline.cli import main; main()", "trace"]


def trace(*arguments: object, **options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **options},
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A real run, traced."""
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in run.steps(5):
            with sl.trace_scope("rollout"):
                sl.scalar("train/loss", step)
            run.commit(step)
    return tmp_path / "run"


def test_only_a_timeline_is_replaced_unasked_and_a_file_of_the_run_never(run_dir: Path) -> None:
    """With --force other files are, but none of the run itself."""
    for own in (run_dir / "metrics.jsonl", *run_dir.glob("traces/*.json")):
        before = own.read_bytes()
        done = trace("merge", run_dir, "-o", own, "--force")
        assert (done.returncode, "of the run itself" in done.stderr) == (2, True)
        assert own.read_bytes() == before
    mine = run_dir.parent / "mine.json"
    mine.write_text("mine")
    done = trace("merge", run_dir, "-o", mine)
    assert (done.returncode, "--force" in done.stderr, mine.read_text()) == (2, True, "mine")
    assert trace("merge", run_dir, "-o", mine, "--force").returncode == 0
    usual = run_dir.parent / "timeline.pftrace"
    assert [trace("merge", run_dir, "-o", usual).returncode for _ in range(2)] == [0, 0]


def test_a_run_is_merged_and_the_next_command_is_named(run_dir: Path) -> None:
    done = trace("merge", run_dir)
    file = run_dir / "timeline.json.gz"
    assert (done.returncode, done.stderr) == (0, f"next: sightline trace view {file}\n")
    first, last = done.stdout.splitlines()
    assert first == "1 process: 5 counters, 10 spans"
    assert last == str(file)
    with Engine() as engine:
        loaded = engine.load(file)
        assert loaded.counts()[:3] == (10, 0, 5)
        assert loaded.errors() == {}


@pytest.mark.parametrize("name", ["out.json", "out.pftrace", "out.tar", "out.jsonl"])
def test_the_name_of_the_file_says_its_format(run_dir: Path, tmp_path: Path, name: str) -> None:
    done = trace("merge", run_dir, "-o", tmp_path / "made" / name)
    assert done.returncode == 0, done.stderr
    starts = {"json": b'{"display', "pftrace": b"\x0a", "tar": b"perfetto_manifest.json", "jsonl": b'{"ph"'}
    data = (tmp_path / "made" / name).read_bytes()
    assert data.startswith(starts[name.removeprefix("out.")])


def test_lines_for_other_readers(run_dir: Path) -> None:
    assert trace("merge", run_dir, "--jsonl").returncode == 0
    events = [json.loads(line) for line in (run_dir / "traces.jsonl").read_text().splitlines()]
    kinds = Counter(event["ph"] for event in events)
    assert (kinds["X"], kinds["C"]) == (10, 5)
    assert {event["name"] for event in events if event["ph"] == "M"} >= {"process_name", "thread_name"}


def test_what_is_wrong_with_the_files_is_said_and_shows_in_the_exit_code(tmp_path: Path) -> None:
    run = Live(tmp_path / "run", 2, processes=4).span("a", 1, 1).raw(b"?\n").write()
    done = trace("merge", run)
    assert done.returncode == 1
    (problem,) = (line for line in done.stderr.splitlines() if line.startswith("problem: "))
    assert problem.endswith("1 torn line; the rest is merged")
    (absent,) = (line for line in done.stderr.splitlines() if line.startswith("missing: "))
    assert "files of 1 of 4 processes are here, without processes 0, 1, 3" in absent
    assert (run / "timeline.json.gz").exists()


def test_a_cut_tail_is_no_problem(tmp_path: Path) -> None:
    run = Live(tmp_path / "run").span("a", 1, 1).raw(b'{"ph":').write()
    done = trace("merge", run)
    assert done.returncode == 0
    assert "note: " in done.stderr
    assert "its last line is cut, as a kill leaves it: that line is lost" in done.stderr


def test_what_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    run = Live(tmp_path / "run").span("a", 1, 1).write()
    (tmp_path / "empty").mkdir()
    assert trace("merge", run, "--jsonl").returncode == 0
    for arguments, expected in (
        (("merge", tmp_path / "empty"), "has no traces"),
        (("merge", tmp_path / "nowhere"), "is no directory"),
        (("merge", tmp_path), "it has runs: run"),
        (("merge", run, run), "given twice"),
        (("merge", run, "-o", "/proc/nowhere/out.json"), "/proc/nowhere"),
        (("view", tmp_path / "empty"), "has no traces"),
        (("view", run / "traces.jsonl"), 'is no trace that Perfetto opens (it begins with b\'{"ph"'),
        (("view", Path(__file__)), "give RUN_DIR itself"),
        (("view", run, "--web", "--port", "8000"), "may read port 9001 only"),
    ):
        done = trace(*arguments)
        assert done.returncode == 2, done.stderr
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    done = trace("merge", run, "-o", "out.tar", "--metric", "train/loss")
    assert done.returncode == 2
    assert "holds the files of the processes only" in done.stderr
    done = trace("merge", run, "-o", "out.what")
    assert done.returncode == 2
    assert "out.what tells no format" in done.stderr


def test_without_its_extra_a_format_is_told_how_to_get_it(tmp_path: Path) -> None:
    run = Live(tmp_path / "run").span("a", 1, 1).write()
    hidden = "import sys; sys.modules['perfetto'] = None; from sightline.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "trace", "merge", run, "--format", "pftrace"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'sightline[perfetto]'" in done.stderr
    assert sorted(path.name for path in run.iterdir()) == ["traces"]


def test_a_terminal_sees_progress(run_dir: Path) -> None:
    assert b"merging" in on_terminal([*COMMAND, "merge", run_dir], shown="stderr")


@pytest.mark.parametrize("is_file", [True, False], ids=["a merged file", "a run"])
def test_the_trace_is_served_once(run_dir: Path, tmp_path: Path, is_file: bool) -> None:
    source: Path = run_dir
    if is_file:
        source = tmp_path / "out.json.gz"
        assert trace("merge", run_dir, "-o", source).returncode == 0
    viewer = subprocess.Popen(
        [*COMMAND, "view", str(source), "--offline", "--port", "0", "--no-open", "--once"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert viewer.stdout is not None
    url = next(line for line in viewer.stdout if line.startswith("http")).strip()
    with urllib.request.urlopen(f"{url}localtrace", timeout=60) as answer, Engine() as engine:
        assert engine.load(answer.read()).counts().slices == 10
    _, errors = viewer.communicate(timeout=60)
    assert viewer.returncode == 0, errors
    assert "Ctrl-C" in errors


def test_programs_are_told_what_was_merged(run_dir: Path, tmp_path: Path) -> None:
    """And what is missing, by a field and exit code 3."""
    done = trace("merge", run_dir, "--json")
    said = json.loads(done.stdout)
    file = run_dir / "timeline.json.gz"
    assert (done.returncode, said["file"], said["format"]) == (0, str(file), "json")
    assert (said["bytes"], said["processes"], said["events"]["spans"]) == (file.stat().st_size, 1, 10)
    assert (said["problems"], said["missing"]) == ([], [])
    run = Live(tmp_path / "part", 2, processes=4).span("a", 1, 1).write()
    done = trace("merge", run, "--json")
    assert done.returncode == 3
    assert "files of 1 of 4 processes are here" in json.loads(done.stdout)["missing"][0]


@pytest.mark.parametrize(
    ("processes", "raw", "code"),
    [(1, b"", 0), (4, b"", 3), (4, b"?\n", 1)],
    ids=["all", "missing", "damaged"],
)
def test_programs_are_told_where_the_trace_is_served(
    tmp_path: Path, processes: int, raw: bytes, code: int
) -> None:
    """In one line, as soon as it is; and by the exit code how complete it was."""
    run = Live(tmp_path / "run", 0, processes=processes).span("a", 1, 1).raw(raw).write()
    viewer = subprocess.Popen(
        [*COMMAND, "view", str(run), "--offline", "--port", "0", "--no-open", "--once", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert viewer.stdout is not None
    said = json.loads(viewer.stdout.readline())
    assert (len(said["missing"]), len(said["problems"])) == (code != 0, bool(raw))
    with urllib.request.urlopen(f"{said['url']}localtrace", timeout=60) as answer:
        assert answer.read()
    out, errors = viewer.communicate(timeout=60)
    assert (viewer.returncode, out) == (code, ""), errors


def test_ctrl_c_ends_the_viewer(run_dir: Path) -> None:
    port = free_port()
    viewer = subprocess.Popen(
        [*COMMAND, "view", str(run_dir), "--offline", "--port", str(port), "--no-open"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert viewer.stdout is not None
    assert (
        next(line for line in viewer.stdout if line.startswith("http")).strip() == f"http://127.0.0.1:{port}/"
    )
    assert viewer.stderr is not None
    said = next(line for line in viewer.stderr if line.startswith("next: "))
    assert said == f"next: sightline trace summary {run_dir}  # the same in figures\n"
    viewer.send_signal(signal.SIGINT)
    _, errors = viewer.communicate(timeout=60)
    assert (viewer.returncode, errors.strip()) == (130, "")


def test_a_port_that_is_taken_is_said(run_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = trace("view", run_dir, "--offline", "--port", other.getsockname()[1], "--no-open")
    assert done.returncode == 2
    assert "another viewer may be open" in done.stderr
