"""`sightline compare` tells what runs differ in."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from sightline.cli import main
from tests.tables.recorded_runs import attempt, commit, rewound, run_line, written
from tests.terminals import SIGHTLINE, on_terminal, plain


def compare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The second and third have losses that are higher, and settings that differ."""
    folder = tmp_path_factory.mktemp("runs")
    a, _ = attempt(folder, "before", 30, config={"lr": 0.1, "model": {"width": 8}})
    b, _ = attempt(folder, "after", 20, add=5.0, config={"lr": 0.2, "model": {"width": 8}})
    return [a, b, rewound(folder, "again", config={"lr": "\x1b[2Jx"})]


def test_what_matters_is_marked_by_more_than_colour(runs: list[Path]) -> None:
    done = compare(*runs[:2])
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["lr", "0.1", "0.2"] in lines
    assert ["*", "train/loss", "0.05", "5.05", "+5", "×101"] in [line[:6] for line in lines]
    assert "metrics at step 19" in done.stdout
    assert "* over 4 standard errors apart" in done.stdout
    assert "model.width" not in done.stdout
    assert f"next: sightline trace diff {runs[0]} {runs[1]}" in done.stderr


def test_programs_get_everything(runs: list[Path]) -> None:
    done = compare(*runs, "--json")
    assert done.exit_code == 0
    said = orjson.loads(done.stdout)
    assert [run["name"] for run in said["runs"]] == ["before", "after", "again"]
    assert said["at_step"]["step"] == 11
    by_key = {row["key"]: row["differences"] for row in said["at_step"]["metrics"]}
    loss, again = by_key["train/loss"]
    assert (loss["first"], loss["second"], loss["matters"]) == (1 / 12, 1 / 12 + 5, True)
    assert again["second"] == 1 / 12 + 100
    odd = by_key["train/odd"][0]
    assert (odd["first"], odd["second"]) == (1e-300, 1e-300)
    assert {"at_time", "stages", "settings", "facts", "only", "notes", "missing"} <= said.keys()
    assert said["settings"][0] == {"name": "lr", "values": [0.1, 0.2, "\x1b[2Jx"], "has": [True] * 3}


def test_what_is_not_finite_is_a_text_for_programs_and_differs(tmp_path: Path) -> None:
    a = written(tmp_path / "a", run_line(), *(commit(n, n, x=1.0) for n in range(20)))
    b = written(tmp_path / "b", run_line(), *(commit(n, n, x=1.0) for n in range(19)), commit(19, 19, x=None))
    done = compare(a, b, "--json")
    assert done.exit_code == 3
    said = orjson.loads(done.stdout)
    (found,) = said["at_step"]["metrics"][0]["differences"]
    assert (found["second"], found["score"], found["matters"]) == ("nan", "inf", True)
    assert [each.partition(":")[0] for each in said["missing"]] == ["run.json of a", "run.json of b"]
    assert "nan" in compare(a, b).stdout


def test_the_place_and_the_metrics_can_be_chosen(runs: list[Path]) -> None:
    done = compare(*runs[:2], "--at-step", "5", "-m", "train/l*")
    assert "metrics at step 5" in done.stdout
    assert "own" not in done.stdout
    assert "metrics after" not in done.stdout
    done = compare(*runs[:2], "--at-time", "2h")
    assert "metrics after 2 h 00 min" in done.stdout
    assert "metrics at" not in done.stdout


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_what_fits_and_settings_do_not_act_on_it(runs: list[Path], columns: int) -> None:
    for chosen in (runs[:2], runs):
        command = [*SIGHTLINE, "compare", *chosen, "--all"]
        said = on_terminal(command, columns=columns)
        text = plain(said)
        assert all(char.isprintable() or char == "\n" for char in text)
        assert max(map(len, text.splitlines())) <= columns, text
        assert b"\x1b[1;33m*" in said
        assert b"33m" not in on_terminal(command, columns=columns, NO_COLOR="1")


def test_keys_of_one_run_alone_are_broken_between_them_on_a_terminal(tmp_path: Path) -> None:
    keys = [f"eval_full/reward/part_{at}/mean" for at in range(9)]
    one = written(tmp_path / "one", run_line(), commit(1, 0, **dict.fromkeys([*keys, "a"], 1.0)))
    other = written(tmp_path / "other", run_line(), commit(1, 0, a=2.0))
    said = plain(on_terminal([*SIGHTLINE, "compare", one, other])).splitlines()
    listed = said[next(at for at, line in enumerate(said) if line.startswith("only in A: ")) :]
    assert all(any(key in line for line in listed) for key in keys)
    assert max(map(len, listed)) <= 80
    elsewhere = compare(one, other).stdout.splitlines()
    assert f"only in A: {', '.join(keys)}" in elsewhere


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda runs: runs[:1], "two runs or more"),
        (lambda runs: [runs[0], runs[0] / ".." / runs[0].name], "given twice"),
        (lambda runs: [*runs, "--at-time", "soon"], "expected a time"),
        (lambda runs: [*runs, "--at-time", "5", "--at-step", "5"], "one of --at-step"),
        (lambda runs: [runs[0], runs[0].parent], "has runs"),
        (lambda runs: [runs[0], "nowhere"], "no directory"),
    ],
)
def test_wrong_usage_says_what_is_right(runs: list[Path], arguments: object, said: str) -> None:
    done = compare(*arguments(runs))  # type: ignore[operator]
    assert done.exit_code == 2
    assert said in done.stderr


def test_runs_that_share_nothing_say_so(tmp_path: Path, runs: list[Path]) -> None:
    empty = written(tmp_path / "empty", run_line())
    done = compare(runs[0], empty)
    assert done.exit_code == 0
    assert "empty has no commits yet" in done.stderr
    other = written(tmp_path / "other", run_line(), commit(1, 0, something=1.0))
    assert "there is none that the runs share" in compare(runs[0], other).stdout
    newer = written(tmp_path / "newer", run_line(format=9))
    assert compare(runs[0], newer).exit_code == 2


def test_a_run_that_was_copied_alone_is_compared_by_its_journal(tmp_path: Path, runs: list[Path]) -> None:
    shutil.copy(runs[1] / "metrics.jsonl", tmp_path)
    done = compare(runs[0], tmp_path)
    assert "* " in done.stdout
    assert "run.json of" in done.stderr


def test_how_each_run_stands_is_said(tmp_path: Path) -> None:
    """A run that has crashed, or goes on, is compared by what there is of it."""
    lines = [run_line(), commit(1, 0, a=1.0), commit(2, 1, a=1.0)]
    end = {"type": "event", "event": "finish", "attempt": 1, "missing": [], "time": 3.0}
    whole, crashed = written(tmp_path / "whole", *lines, end), written(tmp_path / "crashed", *lines)
    shown = [each.split() for each in compare(whole, crashed).stdout.splitlines()[:3]]
    assert "state" in shown[0]
    assert ("finished" in shown[1], "crashed" in shown[2]) == (True, True)
    said = orjson.loads(compare(whole, crashed, "--json").stdout)["runs"]
    assert [each["state"] for each in said] == ["finished", "crashed"]
