"""`sightline ls` shows the runs of a folder, on terminals of any width and to programs."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

import sightline as sl
from sightline.cli import main
from tests.tables.recorded_runs import attempt, commit, run_line, written
from tests.terminals import SIGHTLINE, on_terminal, plain

HOSTILE = "x\x1b]0;gotcha\x07\x1b[2J\u202eevil\n\r.\udcff[red]"


def ls(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ls", *map(str, arguments)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    attempt(folder, "grpo-small", 12)
    attempt(folder / "sweep", "learning-rate-of-three-times-ten-to-the-minus-four", 5, add=10.0)
    written(folder / "crashed", run_line(started=1e9), commit(1, 7, **{"train/loss": None, "eval/x": 2.0}))
    (folder / "peer" / "logs").mkdir(parents=True)
    (folder / "peer" / "logs" / "p00003.a01.log").touch()
    return folder


def test_each_run_is_a_whole_line_where_there_is_no_terminal(runs: Path) -> None:
    done = ls(runs)
    assert done.exit_code == 0
    head, *lines = done.stdout.splitlines()
    assert head.split()[:4] == ["run", "state", "step", "train/loss"]
    assert head.split()[4:] == ["heard", "elapsed", "attempt", "processes", "size", "started"]
    long = "sweep/learning-rate-of-three-times-ten-to-the-minus-four"
    assert [line.split()[0] for line in lines] == ["peer", "crashed", "grpo-small", long]
    assert "finished" in lines[2]
    assert "11 of 11" in lines[2]
    assert "nan" in lines[1]
    assert "\x1b" not in done.stdout
    assert "missing: peer: there is no metrics.jsonl here" in done.stderr
    assert f"sightline compare {runs / 'grpo-small'}" in done.stderr


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_shows_what_fits(runs: Path, columns: int) -> None:
    """The name, cut in its middle, state and step stay; at 200 columns all is there."""
    said = plain(on_terminal([*SIGHTLINE, "ls", runs], columns=columns))
    lines = said.splitlines()
    assert all(len(line) <= columns for line in lines), said
    assert len(lines) == 5
    assert all(word in lines[0] for word in ("run", "state", "step"))
    assert ("started" in lines[0]) == (columns == 200)
    assert ("heard" in lines[0]) == (columns >= 80)
    (long,) = (line for line in lines if "minus-four" in line or "four" in line)
    assert ("…" in long) == (columns < 200)


def test_colours_are_for_terminals_that_want_them(runs: Path) -> None:
    assert b"\x1b[1;31mcrashed" in on_terminal([*SIGHTLINE, "ls", runs])
    assert b"31m" not in on_terminal([*SIGHTLINE, "ls", runs], NO_COLOR="1")


def test_names_do_not_act_on_the_terminal(tmp_path: Path) -> None:
    written(tmp_path / HOSTILE, run_line(), commit(1, 0, **{"train/\x1b[31mloss": 1.0}))
    for said in (on_terminal([*SIGHTLINE, "ls", tmp_path], columns=200), ls(tmp_path).stdout.encode()):
        text = plain(said)
        assert all(char.isprintable() or char == "\n" for char in text), text
        assert len(text.splitlines()) == 2
        assert "gotcha" in text
        assert "[red]" in text


def test_programs_get_everything_and_what_is_missing(runs: Path) -> None:
    done = ls(runs, "--json")
    assert done.exit_code == 3
    said = orjson.loads(done.stdout)
    assert said["without_journal"] == [str(runs / "peer")]
    by_name = {run["name"]: run for run in said["runs"]}
    small = by_name["grpo-small"]
    assert (small["state"], small["last_step"], small["total_steps"], small["attempt"]) == (
        "finished",
        11,
        12,
        1,
    )
    assert small["metrics"]["train/loss"] == 1 / 12
    assert small["disk_bytes"] > 0
    assert (by_name["crashed"]["metrics"]["train/loss"], by_name["crashed"]["nonfinite"]) == (
        None,
        {"train/loss": "nan"},
    )


def names(done: Result) -> list[str]:
    return [run["name"].rpartition("/")[2][:5] for run in orjson.loads(done.stdout)["runs"]]


def test_runs_are_chosen_and_sorted(runs: Path) -> None:
    assert names(ls(runs, "--json", "--state", "finished, crashed")) == ["crash", "grpo-", "learn"]
    assert names(ls(runs, "--json", "--sort", "name", "--reverse")) == ["learn", "peer", "grpo-", "crash"]
    assert names(ls(runs, "--json", "--sort", "train/loss")) == ["crash", "peer", "grpo-", "learn"]
    assert names(ls(runs, "--json", "--sort", "step", "-n", "2")) == ["crash", "grpo-"]
    done = ls(runs, "--state", "stalled")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "none of 4 runs" in done.stderr


def test_metrics_are_chosen(runs: Path) -> None:
    head = ls(runs, "-m", "eval/*", "-m", "own").stdout.splitlines()[0].split()
    assert head[3:6] == ["eval/acc", "eval/x", "own"]
    (run, *_) = orjson.loads(ls(runs, "--json", "-m", "eval/*", "--state", "crashed").stdout)["runs"]
    assert run["metrics"] == {"eval/x": 2.0}


def test_of_what_evaluations_are_made_for_the_one_that_most_runs_have_is_shown(tmp_path: Path) -> None:
    values = {"train/loss": 1.0, "train/reward/total/mean": 1.0, "eval/reward/total/mean": 1.0}
    for name, result in (("a", "eval/ndcg@10"), ("b", "eval/ndcg@10"), ("c", "eval_full/accuracy")):
        written(tmp_path / name, run_line(started=1e9), commit(1, 1, **{**values, result: 0.5}))
    head = ls(tmp_path).stdout.splitlines()[0].split()
    assert head[3:7] == ["train/loss", "train/reward/total/mean", "eval/ndcg@10", "heard"]


def test_metrics_that_no_run_has_and_damage_at_the_end_are_said(runs: Path, tmp_path: Path) -> None:
    """Further up in a journal nothing is looked at."""
    done = ls(runs, "-m", "nope*")
    assert (done.exit_code, "note: no run has a metric that fits nope*" in done.stderr) == (0, True)
    many = [commit(seq, seq, a=1.0) for seq in range(200)]
    written(tmp_path / "end", run_line(), *many, end=b"{torn\n")
    written(tmp_path / "middle", run_line(), *many, end=b"")
    journal = tmp_path / "middle" / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"seq":9,', b'"seq":9\x00,', 1))
    done = ls(tmp_path, "--json")
    torn = {run["name"]: run["torn_lines"] for run in orjson.loads(done.stdout)["runs"]}
    assert (done.exit_code, torn) == (1, {"end": 1, "middle": 0})
    assert done.stderr == "problem: end: at the end of its journal 1 line could not be read\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sort", "colour"], "expected one of started, name"),
        (["--state", "happy"], "expected some of running"),
        (["-n", "0"], "0"),
    ],
)
def test_wrong_usage_names_what_is_right(runs: Path, arguments: list[str], said: str) -> None:
    done = ls(runs, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_folder_without_runs_says_what_to_do(tmp_path: Path) -> None:
    done = ls(tmp_path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert 'sl.start("runs")' in done.stderr
    assert orjson.loads(ls(tmp_path, "--json").stdout) == {"runs": [], "missing": [], "without_journal": []}
    done = ls(tmp_path / "none")
    assert done.exit_code == 2
    assert "no directory" in done.stderr
    assert "sl.start(" in done.stderr


def test_of_a_journal_of_a_newer_version_no_value_is_told(tmp_path: Path) -> None:
    """That it is one is a problem; the other runs are listed."""
    for name in ("newer", "fine"):
        with sl.start(tmp_path, name=name, sinks=[], naming="off") as run:
            for step in run.steps(2):
                sl.scalar(loss=0.1898)
                run.commit(step)
    journal = tmp_path / "newer" / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"format":1', b'"format":99'))
    done = ls(tmp_path, "--json")
    said = {each["name"]: each for each in orjson.loads(done.stdout)["runs"]}
    assert said["newer"]["metrics"] == {}
    assert (said["newer"]["state"], said["newer"]["started"], said["newer"]["last_step"]) == (
        "unknown",
        None,
        None,
    )
    assert said["fine"]["metrics"] == {"loss": 0.1898}
    assert done.exit_code == 1
    assert "problem: newer: " in done.stderr
    assert "format 99" in done.stderr
    assert "pip install --upgrade sightline" in done.stderr
