"""`sightline sync`, as it is typed: a run that was not watched is brought up to date, and nothing twice."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from click.testing import CliRunner

import sightline as sl
from sightline.cli.sync import sync as cli
from sightline.runs.run_directory import held
from tests.sinks.readers.tensorboard import numbers, read, seqs


def command(*words: object) -> subprocess.CompletedProcess[str]:
    typed = [sys.executable, "-c", "from sightline.cli import main; main()", *map(str, words)]
    return subprocess.run(typed, capture_output=True, text=True, timeout=120)


def sync(*arguments: object) -> subprocess.CompletedProcess[str]:
    return command("sync", *arguments)


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
    assert first.returncode == 0
    assert first.stderr.startswith("next: ")
    assert "up to date; 20 commits (steps 0 to 19)" in first.stdout
    second = sync(run_dir, "--to", "tensorboard")
    assert "up to date; 0 commits" in second.stdout
    assert seqs(run_dir / "tensorboard") == list(range(1, 21))
    assert numbers(read(run_dir / "tensorboard"), "loss") == [(step, float(step)) for step in range(20)]


def test_what_is_handed_over_is_counted_whatever_the_cursor_says(run_dir: Path) -> None:
    sync(run_dir, "--to", "jsonl")
    (run_dir / "rows.jsonl").unlink()
    assert (
        "by its file, 20 commits (steps 0 to 19) would" in sync(run_dir, "--to", "jsonl", "--dry-run").stdout
    )
    assert "20 commits (steps 0 to 19) were handed over" in sync(run_dir, "--to", "jsonl").stdout
    assert len((run_dir / "rows.jsonl").read_bytes().splitlines()) == 20


@pytest.mark.parametrize("left", [11, 20], ids=["cut", "torn"])
def test_a_dry_run_and_doctor_see_what_a_crash_has_done_to_rows(run_dir: Path, left: int) -> None:
    """Whatever the cursor says; nothing is changed for that, and what is named next mends it."""
    sync(run_dir, "--to", "jsonl")
    rows = run_dir / "rows.jsonl"
    whole = rows.read_bytes().splitlines(keepends=True)
    whole[10] = b"\0" * (len(whole[10]) // 2) + b"\n" if left == 20 else whole[10][:9]
    rows.write_bytes(b"".join(whole[:left]))
    before = rows.read_bytes()
    dry = sync(run_dir, "--to", "jsonl", "--dry-run")
    assert "jsonl: by its file, 10 commits (steps 10 to 19) would be sent" in dry.stdout
    assert dry.returncode == (1 if left == 20 else 0)
    assert (f"problem: {rows}: rows are damaged" in dry.stderr) == (left == 20)
    looked = command("doctor", run_dir, "--json")
    (found,) = [each for each in json.loads(looked.stdout)["findings"] if each["check"] == "sink"]
    assert (found["level"], found["what"]) == ("wrong", "jsonl lacks 10 commits, by its file")
    assert found["fix"] == f"sightline sync {run_dir} --to jsonl"
    assert rows.read_bytes() == before
    sync(run_dir, "--to", "jsonl")
    assert [json.loads(line)["step"] for line in rows.read_bytes().splitlines()] == list(range(20))
    assert "by its file, 0 commits would be sent" in sync(run_dir, "--to", "jsonl", "--dry-run").stdout


def test_a_journal_that_is_cut_in_its_last_line_gives_all_whole_commits(run_dir: Path) -> None:
    journal = run_dir / "metrics.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = [i for i, line in enumerate(lines) if b'"type":"commit"' in line][-1]
    journal.write_bytes(b"".join(lines[:last]) + lines[last][:50])
    for sink in ("jsonl", "tensorboard"):
        done = sync(run_dir, "--to", sink)
        assert done.returncode == 0
        assert done.stderr.startswith(f"note: {run_dir}/metrics.jsonl: its last line is cut (")
        assert "19 commits (steps 0 to 18)" in done.stdout
    assert seqs(run_dir / "tensorboard") == list(range(1, 20))


def test_the_run_has_its_own_name_however_the_directory_is_called(run_dir: Path) -> None:
    """By `run.json`; without that, by where the link leads."""
    for dry in (False, True):
        if dry:
            (run_dir / "run.json").unlink()
            (run_dir / "cursors" / "trackio.json").unlink()
            shutil.rmtree(run_dir / "trackio")
        assert sync(run_dir.parent / "latest", "--to", "trackio").returncode == 0
        with closing(sqlite3.connect(run_dir / "trackio" / "sightline.db")) as database:
            assert list(database.execute("SELECT DISTINCT run_name FROM metrics")) == [("run",)]


def test_steps_that_match_nothing_are_said_and_can_be_sent_later(run_dir: Path) -> None:
    done = sync(run_dir, "--to", "jsonl", "--from-step", 100)
    assert done.returncode == 2
    assert "no commit of a step from 100 on: the last is of step 19" in done.stderr
    assert "20 commits" in sync(run_dir, "--to", "jsonl").stdout


def test_a_journal_of_a_newer_format_is_refused(run_dir: Path) -> None:
    journal = run_dir / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"format":1', b'"format":2'))
    done = sync(run_dir, "--to", "jsonl")
    assert done.returncode == 2
    assert "has format 2, and this sightline writes 1" in done.stderr


def test_lines_that_are_no_commits_are_passed_over(run_dir: Path) -> None:
    with (run_dir / "metrics.jsonl").open("ab") as file:
        file.write(b'{"type":"commit"}\n{"type":"commit","seq":21,"step":20}\n{"type":"run"}\n')
    done = sync(run_dir, "--to", "jsonl")
    assert done.returncode == 1
    odd = "3 lines are not as sightline writes them: what is sound of them counts"
    assert done.stderr.splitlines()[0] == f"problem: {run_dir / 'metrics.jsonl'}: {odd}"
    assert "20 commits" in done.stdout
    assert json.loads(sync(run_dir, "--to", "jsonl", "--json").stdout)["odd_lines"] == 3


def test_a_run_that_is_synced_is_held(run_dir: Path) -> None:
    """By another sync, and by an attempt that would go on: both would send the same commits."""
    with held(run_dir):
        assert "is held by" in sync(run_dir, "--to", "jsonl").stderr
    replay = Event(), Event()

    def wait(*_: object, **__: object) -> Iterator[tuple[int, int]]:
        replay[0].set()
        assert replay[1].wait(60)
        yield 1, 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sightline.sinks.syncing.Replay.run", wait)
        said = []
        thread = Thread(target=lambda: said.append(CliRunner().invoke(cli, [str(run_dir), "--to", "jsonl"])))
        thread.start()
        assert replay[0].wait(60)
        with pytest.raises(sl.RunDirectoryError, match="held by a live run or by `sightline sync`"):
            sl.start(run_dir.parent, name="run", sinks=[], resume="allow")
        replay[1].set()
        thread.join()
    assert said[0].exit_code == 0
    sl.start(run_dir.parent, name="run", sinks=[], resume="allow").finish()


def test_a_lost_cursor_costs_nothing_where_the_sink_can_be_asked(run_dir: Path) -> None:
    sync(run_dir, "--to", "tensorboard")
    (run_dir / "cursors" / "tensorboard.json").write_text("torn")
    assert sync(run_dir, "--to", "tensorboard").returncode == 0
    assert seqs(run_dir / "tensorboard") == list(range(1, 21))


def test_a_dry_run_says_what_is_missing_and_writes_nothing(run_dir: Path) -> None:
    before = sorted(run_dir.rglob("*"))
    done = sync(run_dir, "--to", "tensorboard", "--dry-run", "--from-step", 15)
    assert "by its cursor, 5 commits (steps 15 to 19) would be sent" in done.stdout
    assert sorted(run_dir.rglob("*")) == before


def test_programs_are_told_what_each_sink_was_sent(run_dir: Path) -> None:
    """Before and after; what failed, and that `run.json` is not here, by exit codes too."""
    dry = sync(run_dir, "--to", "jsonl", "--to", "tensorboard", "--from-step", 15, "--dry-run", "--json")
    assert (dry.returncode, dry.stderr) == (0, "")
    part = {"commits": 5, "first_step": 15, "last_step": 19, "error": None}
    assert json.loads(dry.stdout) == {
        "dry_run": True, "torn_lines": 0, "odd_lines": 0, "bytes_of_zeros": 0, "cut_bytes": 0, "missing": [],
        "sinks": [{"sink": "jsonl", **part}, {"sink": "tensorboard", **part}],
    }  # fmt: skip
    (run_dir / "tensorboard").write_text("in the way")
    done = sync(run_dir, "--to", "jsonl", "--to", "tensorboard", "--json")
    first, second = json.loads(done.stdout)["sinks"]
    assert (done.returncode, first["commits"], second["commits"]) == (1, 20, 0)
    assert "FileExistsError" in second["error"]
    assert "problem: sink 'tensorboard' took no more" in done.stderr
    shown = sync(run_dir, "--to", "tensorboard", "--debug")
    assert "Traceback" in shown.stderr
    (run_dir / "run.json").unlink()
    done = sync(run_dir, "--to", "jsonl", "--json")
    missing = ["run.json: settings and name of the run are unknown"]
    assert (done.returncode, json.loads(done.stdout)["missing"]) == (3, missing)


def test_a_damaged_line_reaches_no_sink_and_is_said(run_dir: Path) -> None:
    journal = run_dir / "metrics.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b'"step":7,' in line and b'"type":"commit"' in line)
    lines[at] = lines[at][: len(lines[at]) // 2] + b"\n"
    journal.write_bytes(b"".join(lines))
    done = sync(run_dir, "--to", "jsonl")
    assert (done.returncode, "19 commits (steps 0 to 19) were handed over" in done.stdout) == (1, True)
    assert done.stderr.startswith(f"problem: {journal}: 1 line could not be read\n")
    assert "torn" not in done.stderr


def test_a_run_line_and_a_last_commit_behind_zeros_count(run_dir: Path) -> None:
    """What a crash of a machine took is said; what stands behind it reaches the sink."""
    journal = run_dir / "metrics.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if b'"type":"commit"' in line)
    journal.write_bytes(b"\0\0\0" + b"".join(lines[:last]) + b"\0" * 997 + b"".join(lines[last:]))
    done = sync(run_dir, "--to", "jsonl")
    assert (done.returncode, "20 commits (steps 0 to 19) were handed over" in done.stdout) == (1, True)
    assert f"problem: {journal}: 2 lines could not be read; 1 kB of zeros" in done.stderr


def test_settings_are_those_of_the_run_and_those_given(run_dir: Path, tmp_path: Path) -> None:
    done = sync(run_dir, "--to", "tensorboard", "--set", f"tensorboard.dir={tmp_path / 'elsewhere'}")
    assert done.returncode == 0, done.stderr
    assert seqs(tmp_path / "elsewhere") == list(range(1, 21))


def test_relative_settings_of_the_run_mean_the_same_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"sinks": ["jsonl"], "naming": "off", "jsonl": {"path": "out/rows.jsonl"}}
    with sl.start("runs", name="run", logger=sl.StatsLoggerConfig.from_dict(data)) as run:
        run.commit(0, {"loss": 0.5})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "0 commits were handed over" in sync(tmp_path / "runs" / "run", "--to", "jsonl").stdout
    (tmp_path / "out" / "rows.jsonl").unlink()
    assert "1 commit (step 0) was handed over" in sync(tmp_path / "runs" / "run", "--to", "jsonl").stdout
    assert (tmp_path / "out" / "rows.jsonl").exists()
    assert not list(Path().iterdir())


def test_a_setting_without_its_credentials_is_asked_for(tmp_path: Path) -> None:
    data = {"sinks": [], "mlflow": {"tracking_uri": "http://user:hunter2@127.0.0.1:9/"}}
    with sl.start(tmp_path, name="run", logger=sl.StatsLoggerConfig.from_dict(data)) as run:
        run.commit(0, {"train/loss": 0.5})
    done = sync(run.dir, "--to", "mlflow")
    assert done.returncode == 2
    assert "give --set mlflow.tracking_uri=…" in done.stderr
    dry = sync(
        run.dir, "--to", "mlflow", "--set", f"mlflow.tracking_uri=sqlite:///{tmp_path}/m.db", "--dry-run"
    )
    assert "1 commit (step 0) would be sent" in dry.stdout


def test_settings_of_a_sink_that_is_not_ours_are_refused_for_what_they_are(run_dir: Path) -> None:
    done = sync(run_dir, "--to", "lines", "--set", "lines.x=1")
    assert done.returncode == 2
    assert "sink 'lines' is none of sightline's, and takes no settings" in done.stderr


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


def test_a_run_that_went_back_unannounced_is_replayed_by_its_commits(tmp_path: Path) -> None:
    """Without the event too, as the disk may have refused it."""
    for steps, add in ((range(10), 0), (range(5, 7), 100)):
        with sl.start(tmp_path, name="run", sinks=[], naming="off", resume="allow") as run:
            for step in steps:
                run.commit(step, {"loss": float(step + add)})
    expected = [*((step, float(step)) for step in range(5)), (5, 105.0), (6, 106.0)]
    assert sync(run.dir, "--to", "tensorboard").returncode == 0
    assert numbers(read(run.dir / "tensorboard"), "loss") == expected
    journal = run.dir / "metrics.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"rewound"' not in line))
    assert sync(run.dir, "--to", "jsonl", "--set", "jsonl.rewind=fork").returncode == 0
    rows = list(map(json.loads, (run.dir / "rows.fork02.jsonl").read_text().splitlines()))
    assert [(row["step"], row["loss"]) for row in rows] == expected


def test_what_cannot_be_is_said_in_one_line(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, expected in (
        ((tmp_path / "empty", "--to", "tensorboard"), "has no journal metrics.jsonl"),
        ((run_dir, "--to", "console"), "keeps nothing"),
        ((run_dir, "--to", "nowhere"), "unknown sink 'nowhere'"),
        ((run_dir, "--to", "tensorboard", "--set", "wandb.mode=online"), "expected SINK.NAME=VALUE"),
        ((run_dir, "--to", "jsonl", "--set", "jsonl.path=5"), "jsonl.path=5 is a int; expected str, Path or"),
        ((run_dir, "--to", "tensorboard", "--set", "tensorboard.dir=true"), "tensorboard.dir=True is a bool"),
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
    assert "is held by a live run" in done.stderr


def test_a_sink_that_takes_nothing_is_said(run_dir: Path) -> None:
    (run_dir / "tensorboard").write_text("in the way")
    done = sync(run_dir, "--to", "tensorboard")
    assert done.returncode == 1
    assert "took no more: FileExistsError" in done.stderr
