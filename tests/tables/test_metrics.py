"""The commits of a run as rows and columns."""

from __future__ import annotations

import math
from pathlib import Path

import orjson
import pytest

import sightline as sl
from sightline.errors import JournalError, RunDirectoryError
from sightline.files.file_lines import Unreadable
from sightline.tables.metrics import long_table, metrics_table, process_table
from sightline.tables.table import Steps, Table
from sightline.views.history import History
from tests.holes import BOUND, HOLE, put_hole, read_bytes
from tests.tables.recorded_runs import commit, expected, rewound, run_line, same, written


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rewound(tmp_path_factory.mktemp("runs"))


def rows_of(table: Table) -> list[dict[str, object]]:
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows()]


def test_a_row_a_step_has_what_the_journal_says_to_the_last_bit(run: Path) -> None:
    """What the second attempt went over is not there, and both commits of a step are one row."""
    rows = rows_of(metrics_table(run))
    wanted = expected(run)
    assert [row["step"] for row in rows] == list(range(12)) == sorted(wanted)
    for row in rows:
        values = wanted[row["step"]]  # type: ignore[index]
        for key in ("train/loss", "train/odd", "train/tokens", "own", "eval/acc"):
            assert same(row[key], values.get(key)), (row["step"], key)  # type: ignore[arg-type]
        assert row["split"] == f"=part {row['step']}"
        assert row["attempt"] == (1 if row["step"] < 5 else 2)  # type: ignore[operator]


def test_columns_of_whole_numbers_alone_are_such(run: Path) -> None:
    kinds = dict(metrics_table(run).columns)
    assert kinds["train/tokens"] == "int"
    assert kinds["train/odd"] == kinds["eval/acc"] == "float"
    assert kinds["split"] == "text"
    assert rows_of(metrics_table(run))[3]["train/tokens"] == 2**53 + 4


def test_it_agrees_with_the_reader_of_views(run: Path) -> None:
    history = History(run)
    history.update()
    rows = rows_of(metrics_table(run))
    for key in ("train/loss", "own", "eval/acc"):
        series = history.series(key)
        found = [(row["step"], row[key]) for row in rows if row[key] is not None]
        assert found == list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_metrics_and_steps_can_be_chosen(run: Path) -> None:
    table = metrics_table(run, metrics=["train/l*", "eval/*"], steps=Steps(4, 8))
    assert [column.name for column in table.columns] == ["step", "time", "attempt", "train/loss", "eval/acc"]
    assert [row[0] for row in table.rows()] == [4, 5, 6, 7, 8]


def test_all_attempts_have_what_was_gone_over_too(run: Path) -> None:
    rows = rows_of(metrics_table(run, attempts=True))
    places = [(row["attempt"], row["step"], row["gone_over"]) for row in rows]
    assert places == [
        *((1, step, step >= 5) for step in range(10)),
        *((2, step, False) for step in range(5, 12)),
    ]
    loss = {(row["attempt"], row["step"]): row["train/loss"] for row in rows}
    assert (loss[1, 7], loss[2, 7]) == (1 / 8, 1 / 8 + 100)


def test_a_row_a_value_has_the_same_values_and_their_counts(run: Path) -> None:
    wide = {row["step"]: row for row in rows_of(metrics_table(run))}
    rows = rows_of(long_table(run))
    for row in rows:
        there = wide[row["step"]][str(row["key"])]
        if row["key"] == "split":
            assert (row["text"], row["value"], row["count"]) == (there, None, None)
        else:
            assert same(row["value"], there)  # type: ignore[arg-type]
    cells = sum(cell is not None for row in wide.values() for cell in list(row.values())[3:])
    assert len(rows) == cells
    assert {row["count"] for row in rows if row["key"] == "train/loss"} == {1}
    assert {row["k"] for row in rows if row["key"] == "eval/acc"} == {1}


def test_each_process_has_its_own_values(run: Path) -> None:
    rows = rows_of(process_table(run, metrics=["own"]))
    assert [(row["step"], row["attempt"], row["process"], row["own"]) for row in rows] == [
        (step, 1 if step < 5 else 2, 0, step if step < 5 else step + 100.0) for step in range(12)
    ]
    long = rows_of(process_table(run, metrics=["own"], long=True, attempts=True))
    assert len(long) == 17
    assert {row["key"] for row in long} == {"own"}


def test_a_journal_without_own_values_says_how_to_have_them(tmp_path: Path) -> None:
    table = process_table(written(tmp_path, run_line(), commit(1, 0, a=1.0)))
    assert list(table.rows()) == []
    assert "per_process=True" in table.notes[0]


def test_keys_that_are_called_as_our_columns_get_an_underscore(tmp_path: Path) -> None:
    table = metrics_table(written(tmp_path, run_line(), commit(1, 7, step=1.5, time=2.5)))
    assert rows_of(table) == [{"step": 7, "time": 1001.0, "attempt": 1, "step_": 1.5, "time_": 2.5}]


def test_steps_that_were_written_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    steps = [3, 1, 2, 1]
    run = written(tmp_path, run_line(), *(commit(n, step, a=float(n)) for n, step in enumerate(steps)))
    assert [(row[0], row[-1]) for row in metrics_table(run).rows()] == [(1, 3.0), (2, 2.0), (3, 0.0)]


def test_what_cannot_be_read_is_counted_and_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    """In a file of others; a line that is being written is none."""
    run = written(
        tmp_path, run_line(), commit(1, 0, a="x", b=1), commit(2, 1, a=None, b=2**63), end=b'{"type":"comm'
    )
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b"\n[1]\n")
    table = metrics_table(run)
    assert table.unreadable == Unreadable(torn=2, odd=1)
    names = [column.name for column in table.columns]
    first, second = (dict(zip(names, row, strict=True)) for row in table.rows())
    assert (first["a"], first["b"], second["b"]) == (None, 1.0, 2.0**63)
    assert math.isnan(second["a"])  # type: ignore[arg-type]


def test_runs_without_commits_have_columns_alone(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="empty", sinks=[]):
        pass
    for make in (metrics_table, long_table):
        table = make(tmp_path / "empty")
        assert table.columns[0].name == "step"
        assert list(table.rows()) == []


def test_what_is_no_run_or_of_a_newer_version_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="has no journal"):
        metrics_table(tmp_path)
    with pytest.raises(JournalError, match="format 9"):
        metrics_table(written(tmp_path / "newer", run_line(format=9)))


@pytest.mark.parametrize("text", ["", "x", "5-3", "-", "1-2-3"])
def test_what_is_no_range_of_steps_is_an_error_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="step"):
        Steps.parse(text)


def test_a_hole_is_passed_over_and_noted(tmp_path: Path) -> None:
    """What a crash of the machine took; the rows behind it are there, each time they are asked for."""
    run = written(tmp_path, run_line(), commit(1, 0, a=1.0))
    put_hole(run / "metrics.jsonl", b"\n", orjson.dumps(commit(2, 1, a=2.0)) + b"\n")
    begin = read_bytes()
    for table in (metrics_table(run), long_table(run)):
        assert len(list(table.rows())) == len(list(table.rows())) == 2
        assert (table.notes, table.unreadable) == ([], Unreadable(torn=1, zeros=HOLE))
    assert read_bytes() - begin < BOUND
