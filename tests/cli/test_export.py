"""`sightline export` writes a run as CSV or Parquet."""

from __future__ import annotations

import csv
import fcntl
import io
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

import sightline as sl
from sightline.cli import main
from tests.harness import Workers, until, workers_of
from tests.tables import recorded_runs
from tests.tables.recorded_runs import commit, expected, rewound, run_line, same, written
from tests.terminals import SIGHTLINE, on_terminal


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def rows_in(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rewound(tmp_path_factory.mktemp("runs"), config={"lr": 0.1})


@pytest.fixture
def run(recorded: Path, tmp_path: Path) -> Path:
    """A copy, in which nothing has been exported."""
    return shutil.copytree(recorded, tmp_path / "run")


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(recorded_runs.__file__, tmp_path) as started:
        yield started


def test_a_run_becomes_a_file_in_its_directory(run: Path) -> None:
    done = export(run)
    assert done.exit_code == 0
    assert done.stdout == f"{run / 'metrics.csv'}\n"
    rows = rows_in((run / "metrics.csv").read_text())
    wanted = expected(run)
    assert [int(row["step"]) for row in rows] == sorted(wanted)
    for row in rows:
        for key, value in wanted[int(row["step"])].items():
            assert same(float(row[key]), value), (row["step"], key)
    assert "texts begin as formulas do" in done.stderr
    assert "12 rows" in done.stderr


def test_parquet_has_the_run_in_it(run: Path) -> None:
    done = export(run, "--to", "parquet")
    assert done.exit_code == 0
    table = pyarrow.parquet.read_table(run / "metrics.parquet")
    assert table.column("train/tokens").to_pylist() == [2**53 + 1 + step for step in range(12)]
    facts = orjson.loads(table.schema.metadata[b"sightline"])
    assert facts["config"] == {"lr": 0.1}
    assert facts["run_id"]
    assert "sightline" not in facts
    assert facts["versions"]["sightline"]


def test_the_name_tells_the_format(run: Path, tmp_path: Path) -> None:
    assert export(run, "-o", tmp_path / "a.parquet").exit_code == 0
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 12


def test_the_choices_reach_the_table(run: Path) -> None:
    long = rows_in(
        export(run, "--long", "--attempts", "--steps", "5-6", "-m", "train/loss", "-o", "-").stdout
    )
    assert [(row["attempt"], row["step"], row["gone_over"], row["key"]) for row in long] == [
        ("1", "5", "true", "train/loss"), ("1", "6", "true", "train/loss"),
        ("2", "5", "false", "train/loss"), ("2", "6", "false", "train/loss"),
    ]  # fmt: skip
    own = rows_in(export(run, "--process-values", "-m", "own", "--steps", "-1", "-o", "-").stdout)
    assert [(row["step"], row["process"], row["own"]) for row in own] == [
        ("0", "0", "0.0"),
        ("1", "0", "1.0"),
    ]
    samples = export(run, "--samples", "rollouts/hard", "--steps", "3", "--spreadsheet", "-o", "-")
    assert [row["prompt"] for row in rows_in(samples.stdout)] == ['p3,\n"q"', "'=1+1"]
    done = export(run, "--samples", "rollouts/hard")
    assert done.stdout == f"{run / 'samples.rollouts_hard.csv'}\n"


def test_what_is_there_is_replaced_on_request_only_and_never_the_run_itself(
    run: Path, tmp_path: Path
) -> None:
    """But for the file of the default name, which is the command's own."""
    assert export(run).exit_code == 0
    assert export(run).exit_code == 0
    mine = tmp_path / "mine.csv"
    mine.write_text("mine")
    done = export(run, "-o", mine)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert mine.read_text() == "mine"
    assert export(run, "-o", mine, "--force").exit_code == 0
    assert mine.read_text().startswith("step,")
    before = (run / "metrics.jsonl").read_bytes()
    assert "of the run itself" in export(run, "-o", run / "metrics.jsonl", "--force").stderr
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_failed_export_leaves_nothing(run: Path, tmp_path: Path) -> None:
    written(tmp_path / "newer", run_line(), commit(1, 0, a=1.0), run_line(format=9))
    done = export(tmp_path / "newer")
    assert done.exit_code == 2
    assert "format 9" in done.stderr
    assert [each.name for each in (tmp_path / "newer").iterdir()] == ["metrics.jsonl"]
    done = export(run, "-o", tmp_path / "none" / "a.csv")
    assert done.exit_code == 2
    assert "none" in done.stderr


def test_programs_are_told_what_was_written(run: Path) -> None:
    said = orjson.loads(export(run, "--json").stdout)
    assert said["rows"] == 12
    assert said["file"] == str(run / "metrics.csv")
    assert {"name": "train/tokens", "kind": "int"} in said["columns"]
    assert (said["torn_lines"], said["missing_processes"]) == (0, [])


def test_a_reader_that_goes_away_is_no_error(run: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m sightline.cli export '{run}' --long -o - | head -n 1",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "step,time,attempt,k,key,value,text,count\n"
    assert "Error" not in done.stderr
    assert "defect" not in done.stderr


def test_an_empty_run_and_one_of_one_step_can_be_exported(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="empty", sinks=[]):
        pass
    done = export(tmp_path / "empty")
    assert done.exit_code == 0
    assert "no commit is in it yet" in done.stderr
    assert (tmp_path / "empty" / "metrics.csv").read_text() == "step,time,attempt\n"
    assert export(tmp_path / "empty", "--to", "parquet").exit_code == 0
    one = written(tmp_path / "one", run_line(), commit(1, 3, a=0.5), end=b'{"type":"commit","s')
    done = export(one, "-o", "-")
    assert (done.exit_code, done.stdout) == (0, "step,time,attempt,a\n3,1001.0,1,0.5\n")
    assert "no metric fits" in export(one, "-m", "b*").stderr


def test_torn_lines_are_a_finding(tmp_path: Path) -> None:
    run = written(tmp_path, run_line(), commit(1, 0, a=1.0), end=b"{torn\n")
    done = export(run)
    assert done.exit_code == 1
    assert "1 line could not be read" in done.stderr
    assert (run / "metrics.csv").exists()


def test_samples_whose_last_line_a_kill_has_cut_are_noted_once_nobody_writes_them(run: Path) -> None:
    path = run / "samples" / "rollouts" / "hard.p00000.a02.jsonl"
    with open(path, "ab") as file:
        file.write(b'{"step":12,"row":{"prom')
    done = export(run, "--samples", "rollouts/hard", "--json")
    assert done.exit_code == 0
    assert f"note: {path}: its last line is cut (23 B), as a kill leaves it" in done.stderr
    assert orjson.loads(done.stdout)["cut_bytes"] == 23
    journal = run / "metrics.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))  # it goes on
    with open(run / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = export(run, "--samples", "rollouts/hard")
    assert "is cut" not in done.stderr


def test_a_live_run_of_two_processes_and_after_their_deaths(workers: Workers) -> None:
    """The root's disk has its own files alone: the samples of the other process are known to be missing."""
    job = workers.start_job(2, "commits_until_told", steps=5, is_job=True)
    until(lambda: (job.root.disk / "committed").exists(), job.root.output)
    (run,) = job.root.runs
    until(lambda: len(job.root.commits()) >= 5, job.root.output)
    rows = rows_in(export(run, "-o", "-").stdout)
    assert [row["train/loss"] for row in rows[:5]] == ["0.5", "1.5", "2.5", "3.5", "4.5"]
    job.signal(signal.SIGKILL)
    for worker in job:
        worker.wait(-signal.SIGKILL)
    after = rows_in(export(run, "-o", "-").stdout)
    assert after[: len(rows)] == rows
    assert [row["step"] for row in after] == [str(step) for step in range(len(after))]
    own = rows_in(export(run, "--process-values", "-m", "train/loss", "-o", "-").stdout)
    assert [(row["process"], row["train/loss"]) for row in own[:4]] == [
        ("0", "0.0"), ("1", "1.0"), ("0", "1.0"), ("1", "2.0")
    ]  # fmt: skip
    done = export(run, "--samples", "rollouts", "--json")
    assert done.exit_code == 3
    said = orjson.loads(done.stdout)
    assert said["missing_processes"] == [1]
    assert said["missing"] == [f"{run}: files of 1 of 2 processes are here, without process 1"]
    done = export(run, "--samples", "rollouts")
    assert done.exit_code == 0
    assert {row["prompt"] for row in rows_in((run / "samples.rollouts.csv").read_text())} >= {
        f"p{step} of 0" for step in range(5)
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "x"], "as in 10-50"),
        (["--samples", "rollouts", "--long"], "--samples takes none"),
        (["--samples", "none"], "it has rollouts/hard"),
        (["--json", "-o", "-"], "give -o a file"),
        (["--to", "parquet", "--spreadsheet"], "--spreadsheet is for csv"),
        (["--to", "xlsx"], "csv"),
        (["-m", "train/los"], "there are train/loss"),
        (["-m", "nope", "--long"], "no metric fits nope: there are"),
        (["-m", "nope", "--process-values"], "no process's own values fits nope: there are"),
        (["--steps", "1000-2000"], "the run has steps 0 to"),
        (["--steps", "1000-2000", "--long"], "the run has steps 0 to"),
        (["--samples", "rollouts/hard", "--steps", "1000-"], "is of steps 1000-"),
    ],
)
def test_wrong_usage_says_what_is_right(run: Path, arguments: list[str], said: str) -> None:
    before = sorted(run.iterdir())
    done = export(run, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert sorted(run.iterdir()) == before


def test_no_run_is_an_error(tmp_path: Path) -> None:
    done = export(tmp_path)
    assert done.exit_code == 2
    assert "expected a run directory" in done.stderr


def test_a_commit_with_odd_fields_is_written_as_far_as_it_is_sound(tmp_path: Path) -> None:
    odd = {**commit(2, 1, a=2.0), "attempt": 2**63}
    written(tmp_path / "run", run_line(), commit(1, 0, a=1.0), odd, commit(3, 2, a=3.0))
    done = export(tmp_path / "run", "-o", "-")
    assert (done.exit_code, [row["step"] for row in rows_in(done.stdout)]) == (1, ["0", "1", "2"])
    assert "metrics.jsonl: 1 line is not as sightline writes it: what is sound of it counts" in done.stderr


def test_what_is_shown_on_a_terminal_does_not_act_on_it(tmp_path: Path) -> None:
    """Into a pipe it goes as it was recorded."""
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as live:
        sl.text("note", "a\x1b[2Jb")
        live.commit(0)
    command = [*SIGHTLINE, "export", str(tmp_path / "run"), "-o", "-"]
    seen = on_terminal(command)
    assert b"a\\x1b[2Jb" in seen
    assert b"\x1b" not in seen
    assert b"a\x1b[2Jb" in subprocess.run(command, capture_output=True, check=True).stdout


def test_where_nothing_can_be_written_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    run = written(tmp_path / "run", run_line(), commit(1, 0, a=1.0))
    done = export(run, "-o", tmp_path / "nowhere" / "x.csv")
    assert done.exit_code == 2
    assert (
        f"{tmp_path / 'nowhere' / 'x.csv'} cannot be written: expected a file in a directory of yours"
        in done.stderr
    )


def test_a_relative_path_stays_one_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the directory is looked up; one that was typed in full stays as it is."""
    (tmp_path / "nothing").mkdir()
    written(tmp_path / "newer", run_line(format=9))
    monkeypatch.chdir(tmp_path)
    for name in ("nothing", "newer"):
        for words in (["watch", name], ["logs", name], ["export", name], ["report", name]):
            monkeypatch.setattr("sys.argv", ["sightline", *words])
            said = CliRunner().invoke(main, words, prog_name="sightline").stderr
            assert f"sightline {words[0]}: {name}" in said
            assert str(tmp_path) not in said
    words = ["watch", str(tmp_path / "nothing")]
    monkeypatch.setattr("sys.argv", ["sightline", *words])
    assert str(tmp_path / "nothing") in CliRunner().invoke(main, words, prog_name="sightline").stderr
