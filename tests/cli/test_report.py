"""`sightline report`, as it is typed: what it writes, says and returns."""

from __future__ import annotations

import importlib
import re
import socket
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

import sightline as sl
from sightline.cli import main
from sightline.report.log_lines import log_lines
from tests.report.runs import RunFiles, full_run


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def answer(*arguments: str | Path, code: int = 0) -> Any:
    said = invoke(*arguments, "--json")
    assert said.exit_code == code, said.output
    return orjson.loads(said.stdout)


def real_run(folder: Path, name: str = "run") -> Path:
    with sl.start(folder, name=name, sinks=[], naming="off") as run:
        for step in run.steps(6):
            with sl.scope("train"), sl.record_timing("update"):
                sl.scalar(loss=1 / (step + 1))
            sl.sample("rollouts", prompt="p" * 5000, reward=float(step))
            run.commit(step)
    return folder / name


def test_a_real_run_becomes_one_file(tmp_path: Path) -> None:
    """In its directory, with the commands that come next, and nothing in it that leads elsewhere."""
    run = real_run(tmp_path)
    said = invoke(run)
    assert said.exit_code == 0, said.output
    assert str(run / "report.html") in said.stdout
    assert f"sightline trace view {run}" in said.stderr
    page = (run / "report.html").read_text()
    assert "default-src 'none'" in page
    outside = re.compile(r"""(?:src|href)=["'](?!#)""")
    assert outside.search(re.sub(r'<script type="application/octet-stream".*?</script>', "", page)) is None
    assert [path.name for path in run.glob(".report-*")] == []


def test_the_headline_figures_as_data(tmp_path: Path) -> None:
    run = full_run(tmp_path / "run")
    found = answer(run.path, "-o", tmp_path / "out.html")
    assert found["report"] == str(tmp_path / "out.html")
    (figures,) = found["runs"]
    assert (figures["state"], figures["attempts"], figures["last_step"], figures["total_steps"]) == (
        "finished", 2, 59, 60,
    )  # fmt: skip
    assert (figures["best"][0]["key"], figures["best"][0]["value"]) == ("eval/accuracy/mean", 0.625)
    assert sum(figures["kinds"].values()) == pytest.approx(1)
    assert figures["goodput"] == pytest.approx(60 * 0.75 / 71)  # ten steps were gone over, and an end
    assert figures["learnt"]["last"] > figures["learnt"]["first"]
    assert (found["damaged"], found["missing"]) == ([], [])


def test_shares_from_traces_add_up(tmp_path: Path) -> None:
    (figures,) = answer(real_run(tmp_path))["runs"]
    assert sum(figures["kinds"].values()) == pytest.approx(1)
    assert 0 < figures["goodput"] <= 1


def test_a_run_that_was_killed_is_told_from_one_that_ended(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    assert answer(run.path)["runs"][0]["state"] == "crashed"
    run.finish()
    assert answer(run.path)["runs"][0]["state"] == "finished"


def test_a_run_that_an_exception_ended_has_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="loss"), sl.start(tmp_path, name="run", sinks=[]):
        raise ZeroDivisionError("the loss")
    (figures,) = answer(tmp_path / "run")["runs"]
    assert figures["state"] == "failed"
    assert "ZeroDivisionError" in figures["reason"]


def test_a_line_that_is_cut_or_torn_costs_that_line(tmp_path: Path) -> None:
    """One that is being written is nothing to speak of; a torn one in the middle is said: exit code 1."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    run.write(b'{"type":"comm')
    assert answer(run.path)["runs"][0]["last_step"] == 0
    run.write(b"\n")
    run.commit(1, {"a": 2.0})
    found = answer(run.path, code=1)
    assert found["runs"][0]["last_step"] == 1
    assert "1 line could not be read" in found["damaged"][0]
    assert "problem: " in invoke(run.path).stderr


def test_lines_that_sightline_never_writes_are_damage_and_no_crash(tmp_path: Path) -> None:
    """JSON, but with fields of any other type: whatever stands in them, there is a page, and exit code 1."""
    run = full_run(tmp_path / "run", steps=12)
    run.say(
        "event", event="stacks", process=3, time=run.time, span="reward", span_s=1.0, waited_s=2.0, at="x"
    )
    run.say("event", event="silent", processes=[3], time=run.time)
    run.say("event", event="resumed", step=4, seconds=3.0, missing=[3], time=run.time)
    kinds = {
        (line["type"], line.get("event"), tuple(line)): line
        for line in map(orjson.loads, (run.path / "metrics.jsonl").read_bytes().splitlines())
    }
    odd: list[Any] = [None, "x", -1, 1e308, True, [], {}, [None], ["a", {}], {"a": [1]}, 1 << 63]
    for line in kinds.values():
        for name in line.keys() - {"format"}:  # a newer one is refused
            for value in odd:
                run.write(orjson.dumps({**line, name: value}) + b"\n")
    run.write(b'[1]\n"text"\n{"type":[]}\n{"type":"commit"}\n{}\n')
    said = invoke(run.path)
    assert said.exit_code == 1, said.output
    assert "could not be read" in said.stderr
    other = full_run(tmp_path / "other", steps=12).path
    for typed in (["ls", tmp_path], ["watch", run.path, "--once"], ["compare", run.path, other]):
        said = CliRunner().invoke(main, list(map(str, typed)))
        assert said.exit_code in (0, 1), said.output


def test_what_is_not_here_is_named_by_its_kind(tmp_path: Path) -> None:
    """The journal is a file of the root; logs and traces are those that every process has."""
    run = RunFiles(tmp_path / "run", processes=4)
    run.begin()
    run.commit(0, {"a": 1.0})
    for process in (1, 2):
        for kind in ("logs", "traces", "samples") if process == 1 else ("logs",):
            (run.path / kind).mkdir(exist_ok=True)
            (run.path / kind / f"p{process:05d}.a01.jsonl").touch()
    said = invoke(run.path, "--json")
    assert said.exit_code == 3
    assert orjson.loads(said.stdout)["missing"] == [
        f"{run.path}: files of 3 of 4 processes are here, without process 3",
        f"{run.path}: logs of process 0 are not here",
        f"{run.path}: traces of processes 0, 2 are not here",
    ]


def test_directories_of_one_run_are_one_and_other_runs_are_beside_it(tmp_path: Path) -> None:
    """Warnings, rows and counts come from all hosts; in whatever order they are given."""
    run, other = full_run(tmp_path / "run"), full_run(tmp_path / "other", seed=1)
    away = tmp_path / "host-b" / "run"
    (away / "logs").mkdir(parents=True)
    for path in sorted((run.path / "logs").iterdir())[8:]:
        path.rename(away / "logs" / path.name)
    from sightline.report import Runs

    for order in ([run.path, away, other.path], [other.path, away, run.path]):
        runs = Runs(order)
        found = runs.gather()
        assert (len(found.names), found.absent, found.damaged) == (2, [], [])
    warned = log_lines([run.path, away]).said
    assert {each.line.process for each in warned} == set(range(16))
    mixed = tmp_path / "mixed"
    (mixed / "logs").mkdir(parents=True)
    (mixed / "logs" / "p00000.a01.jsonl").write_bytes(
        b'{"type":"header","kind":"log","format":1,"run_id":"who","attempt":1,"process":0}\n'
    )
    said = invoke(run.path, mixed)
    assert said.exit_code == 2
    assert "run who" in said.stderr


def test_files_of_one_of_sixteen_processes(tmp_path: Path) -> None:
    """Said on the page, on stderr, and to programs by exit code 3; with the other directories all is well."""
    run = full_run(tmp_path / "run")
    away = tmp_path / "other-host"
    (away / "logs").mkdir(parents=True)
    for path in sorted((run.path / "logs").iterdir())[1:]:
        path.rename(away / "logs" / path.name)
    found = answer(run.path, code=3)
    assert "files of 1 of 16 processes are here" in found["missing"][0]
    said = invoke(run.path)
    assert said.exit_code == 0
    assert "missing: " in said.stderr
    assert answer(run.path, away)["missing"] == []


def test_what_is_no_run_or_is_of_a_newer_version_is_an_error_in_one_line(tmp_path: Path) -> None:
    said = invoke(tmp_path)
    assert said.exit_code == 2
    assert "no journal" in said.stderr
    newer = RunFiles(tmp_path / "newer")
    newer.begin(format=99)
    newer.commit(0, {"a": 1.0})
    said = invoke(newer.path)
    assert said.exit_code == 2
    assert "99" in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
    run = full_run(tmp_path / "run")
    assert "given twice" in invoke(run.path, run.path).stderr


def test_what_cannot_work_is_said_before_anything_long_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No place for the file, no port, no plotting library: each with the fix."""
    run = full_run(tmp_path / "run")
    said = invoke(run.path, "-o", tmp_path / "none" / "report.html")
    assert said.exit_code == 2
    assert "after -o" in said.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = invoke(run.path, "--serve", "--port", str(taken.getsockname()[1]))
    assert said.exit_code == 2
    assert "expected a free one" in said.stderr
    library = importlib.import_module("sightline.report.one_file")._library
    library.cache_clear()
    monkeypatch.setitem(sys.modules, "plotly", None)
    said = invoke(run.path)
    library.cache_clear()
    assert said.exit_code == 2
    assert "pip install 'sightline[report]'" in said.stderr


def test_only_a_page_is_replaced_unasked_and_a_file_of_the_run_never(tmp_path: Path) -> None:
    """With --force other files are, but none of the run itself."""
    run = full_run(tmp_path / "run").path
    own = [run / "metrics.jsonl", run / "run.json", run / "logs" / "p00001.a01.jsonl"]
    before = [path.read_bytes() if path.exists() else b"" for path in own]
    for path in own:
        said = invoke(run, "-o", path, "--force")
        assert said.exit_code == 2
        assert "of the run itself" in said.stderr
    assert [path.read_bytes() if path.exists() else b"" for path in own] == before
    kept = tmp_path / "keep.txt"
    kept.write_text("mine")
    said = invoke(run, "-o", kept)
    assert said.exit_code == 2
    assert "--force" in said.stderr
    assert kept.read_text() == "mine"
    assert invoke(run, "-o", kept, "--force").exit_code == 0
    assert invoke(run, "-o", kept).exit_code == 0


def test_a_journal_without_a_line_yet(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").touch()
    assert answer(tmp_path / "run")["runs"][0]["commits"] == 0


def test_full_texts_come_from_the_files_of_samples(tmp_path: Path) -> None:
    from sightline.report.run_data import find_runs
    from sightline.report.sample_rows import sample_tables

    (run,) = find_runs([real_run(tmp_path)])
    run.history.update()
    (table,) = sample_tables(run.history, run.dirs)
    assert table["columns"] == ["step", "prompt", "reward", "process"]
    assert {len(row[1]) for row in table["rows"]} == {5000}


def test_twelve_runs_share_what_one_has(tmp_path: Path) -> None:
    """Names stay apart, also where directories have the same name."""
    runs = [full_run(tmp_path / f"{number}/run", seed=number, steps=30).path for number in range(12)]
    found = answer(*runs, "-o", tmp_path / "out.html")
    assert [each["name"] for each in found["runs"]] == [f"{number}/run" for number in range(12)]
