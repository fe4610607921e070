"""CSV and Parquet files, by the readers that people use."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import orjson
import pandas
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sightline.tables import formats
from sightline.tables.formats import replacing, write_csv, write_parquet
from sightline.tables.metrics import metrics_table
from sightline.tables.table import Cell, Column, Table
from tests.tables.recorded_runs import expected, rewound, same

KINDS: list[Any] = ["int", "float", "text", "bool"]
CELLS = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(),
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    "bool": st.booleans(),
}


def table(columns: list[Column], rows: list[list[Cell]]) -> Table:
    return Table(columns, lambda: iter(rows))


def as_csv(of: Table, **options: Any) -> str:
    file = io.BytesIO()
    assert write_csv(of, file, **options).rows == len(list(of.rows()))
    return file.getvalue().decode()


@st.composite
def tables(draw: st.DrawFn) -> Table:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    columns = [Column("n", "int"), *(Column(f"c{at}", kind) for at, kind in enumerate(kinds))]
    cells = st.tuples(st.integers(0, 9), *(st.none() | CELLS[kind] for kind in kinds))
    return table(columns, [list(row) for row in draw(st.lists(cells, max_size=5))])


@given(tables())
@example(table([Column("c0", "text")], [["\r"], ["a\rb"], ["\r\n"], [" \n"]]))
def test_csv_gives_back_every_cell_to_the_last_bit(of: Table) -> None:
    """None and an empty text are both nothing there; all else is as it was."""
    names, *lines = csv.reader(io.StringIO(as_csv(of), newline=""))
    assert names == [column.name for column in of.columns]
    for line, row in zip(lines, of.rows(), strict=True):
        for text, cell, column in zip(line, row, of.columns, strict=True):
            if cell is None or cell == "":
                assert text == ""
            elif column.kind == "float":
                assert same(float(text), float(cell))
            elif column.kind == "bool":
                assert text == str(cell).lower()
            else:
                assert text == str(cell)


def test_what_no_file_can_hold_as_text_is_written_as_python_writes_it() -> None:
    """A lone surrogate, in CSV and in Parquet; and numbers of any size are written."""
    of = table([Column("n", "int"), Column("c0", "text")], [[2**70, "a"], [1, "a\ud800"]])
    assert as_csv(of).split("\n")[1:3] == [f"{2**70},a", "1,a\\ud800"]
    file = io.BytesIO()
    write_parquet(table(of.columns, [[1, "a\ud800"]]), file, {})
    (row,) = pyarrow.parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()
    assert row["c0"] == "a\\ud800"


@given(tables())
def test_parquet_gives_back_every_cell_to_the_last_bit(of: Table) -> None:
    file = io.BytesIO()
    write_parquet(of, file, {"run_id": "r"})
    found = pyarrow.parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()
    for line, row in zip(found, of.rows(), strict=True):
        for back, cell, column in zip(line.values(), row, of.columns, strict=True):
            if column.kind == "float" and cell is not None:
                assert same(back, float(cell))
            else:
                assert back == cell


def test_pandas_reads_a_run_as_it_was_recorded(tmp_path: Path) -> None:
    """From both formats, with numbers as numbers."""
    run = rewound(tmp_path)
    of = metrics_table(run)
    with open(tmp_path / "a.csv", "wb") as file:
        write_csv(of, file)
    write_parquet(of, tmp_path / "a.parquet", {})
    for frame in (
        pandas.read_csv(tmp_path / "a.csv"),
        pandas.read_parquet(tmp_path / "a.parquet"),
    ):
        assert str(frame["train/odd"].dtype) == "float64"
        assert str(frame["train/tokens"].dtype) == "int64"
        wanted = expected(run)
        assert frame["step"].tolist() == sorted(wanted)
        for step, row in zip(sorted(wanted), frame.to_dict("records"), strict=True):
            for key in ("train/loss", "train/odd", "train/tokens", "own"):
                assert same(row[key], wanted[step][key]), (step, key)


def test_a_column_of_numbers_is_spelled_alike_throughout() -> None:
    """Readers that go by the first lines, as Polars does, must not take it for whole numbers or text."""
    of = table(
        [Column("n", "int"), Column("x", "float")], [[0, 3.0], [1, math.nan], [2, math.inf], [3, -math.inf]]
    )
    assert as_csv(of) == "n,x\n0,3.0\n1,NaN\n2,inf\n3,-inf\n"


def test_formulas_are_counted_and_only_on_request_changed() -> None:
    """Also in names; numbers below zero are none."""
    of = table([Column("=key", "float"), Column("said", "text")], [[-1.0, "-1"], [2.0, "a=b"], [3.0, "＠x"]])
    plain = as_csv(of)
    assert plain == "=key,said\n-1.0,-1\n2.0,a=b\n3.0,＠x\n"
    assert as_csv(of, spreadsheet=True) == "'=key,said\n-1.0,'-1\n2.0,a=b\n3.0,'＠x\n"
    assert write_csv(of, io.BytesIO()).formulas == 3


def test_parquet_has_the_facts_of_the_run_in_its_schema() -> None:
    file = io.BytesIO()
    write_parquet(table([Column("n", "int")], []), file, {"run_id": "r", "config": {"lr": 0.1}})
    metadata = pyarrow.parquet.read_schema(io.BytesIO(file.getvalue())).metadata
    assert orjson.loads(metadata[b"sightline"]) == {"run_id": "r", "config": {"lr": 0.1}}


def test_parquet_is_written_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many cells or characters, whatever comes first."""
    monkeypatch.setattr(formats, "_BATCH_CELLS", 2)
    monkeypatch.setattr(formats, "_BATCH_CHARACTERS", 1000)
    of = table([Column("n", "int"), Column("said", "text")], [[n, "x" * 100] for n in range(25)])
    file = io.BytesIO()
    assert write_parquet(of, file, {}).rows == 25
    found = pyarrow.parquet.ParquetFile(io.BytesIO(file.getvalue()))
    assert found.num_row_groups == 3
    assert found.read().column("n").to_pylist() == list(range(25))


def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(IsADirectoryError), replacing(path) as part:
        part.write_text("half") and (tmp_path / "a.csv").parent.read_text()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.csv", "old")]
