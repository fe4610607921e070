"""Sample tables as rows."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from sightline.errors import RunDirectoryError
from sightline.files.file_lines import Unreadable
from sightline.tables.samples import sample_table, sample_tables
from sightline.tables.table import Steps
from tests.holes import BOUND, HOLE, put_hole, read_bytes
from tests.tables.recorded_runs import rewound


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rewound(tmp_path_factory.mktemp("runs"))


def test_all_rows_are_there_in_full_and_typed(run: Path) -> None:
    table = sample_table(run, "rollouts/hard")
    assert dict(table.columns) == {
        "step": "int", "k": "int", "time": "float", "attempt": "int", "process": "int",
        "prompt": "text", "reward": "float",
    }  # fmt: skip
    rows = list(table.rows())
    assert [row[0] for row in rows] == [step for step in range(12) for _ in range(2)]
    assert rows[6][-2:] == ['p3,\n"q"', 3.0]
    assert rows[7][-2] == "=1+1"
    assert math.isnan(rows[7][-1])  # type: ignore[arg-type]
    assert (table.notes, table.missing, table.unreadable) == ([], [], Unreadable())


def test_steps_and_attempts_can_be_chosen(run: Path) -> None:
    rows = list(sample_table(run, "rollouts/hard", steps=Steps(6, 6), attempts=True).rows())
    assert [(row[3], row[4]) for row in rows] == [(1, True), (1, True), (2, False), (2, False)]


def test_a_journal_alone_has_the_rows_that_it_shows(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "metrics.jsonl", tmp_path)
    table = sample_table(tmp_path, "rollouts/hard", steps=Steps(3, 3))
    assert [row[-2] for row in table.rows()] == ['p3,\n"q"', "=1+1"]
    assert "no file" in table.notes[0]
    assert table.missing == [0]


def test_the_tables_that_there_are_are_named(run: Path) -> None:
    assert sample_tables(run) == ["rollouts/hard"]
    with pytest.raises(RunDirectoryError, match="no sample table 'x': it has rollouts/hard"):
        sample_table(run, "x")


def test_torn_lines_are_counted_and_a_cut_one_is_left_out(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    with open(copy / "samples" / "rollouts" / "hard.p00000.a02.jsonl", "ab") as file:
        file.write(b'{"torn\n{"step":12,"row":{"prom')
    table = sample_table(copy, "rollouts/hard")
    assert len(list(table.rows())) == 24
    assert table.unreadable.torn == 1


def test_what_a_run_writes_meanwhile_is_not_in_the_table(run: Path, tmp_path: Path) -> None:
    """Its cells may be of other kinds than the columns, which are known by then."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    table = sample_table(copy, "rollouts/hard")
    with open(copy / "samples" / "rollouts" / "hard.p00000.a02.jsonl", "ab") as file:
        file.write(b'{"step":12,"k":0,"time":1.0,"row":{"prompt":"x","reward":"late"}}\n')
    assert len(list(table.rows())) == 24
    assert len(list(sample_table(copy, "rollouts/hard").rows())) == 25


def test_a_hole_is_passed_over_and_noted(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    row = b'{"step":12,"k":0,"time":1.0,"row":{"prompt":"behind","reward":1.0}}\n'
    put_hole(copy / "samples" / "rollouts" / "hard.p00000.a02.jsonl", b"\n", row)
    begin = read_bytes()
    table = sample_table(copy, "rollouts/hard")
    assert [cells[-2] for cells in table.rows()][-1] == "behind"
    assert table.unreadable.torn == 1
    assert (table.notes, table.unreadable.zeros) == ([], HOLE)
    assert read_bytes() - begin < BOUND
