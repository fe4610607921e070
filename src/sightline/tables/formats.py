"""Tables as CSV or Parquet files, written row by row."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import orjson

from sightline.errors import ConfigurationError
from sightline.tables.table import Cell, Table

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BATCH_CELLS = 1 << 20
_BATCH_CHARACTERS = 32 << 20


class Written:
    """What was written.

    Attributes:
        rows: how many.
        formulas: texts that a spreadsheet would take for formulas.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.formulas = 0


def write_csv(table: Table, file: IO[bytes], *, spreadsheet: bool = False) -> Written:
    """Writes a table as CSV: UTF-8, a line of names first, lines end with a newline character.

    Numbers are written with the fewest digits that give the same number again; what is not finite as ``NaN``,
    ``inf``, ``-inf``, which pandas and Polars take for numbers; nothing as nothing; truth as ``true`` and
    ``false``.

    Args:
        table: what to write.
        file: where to.
        spreadsheet: put an apostrophe before texts that a spreadsheet would take for formulas. Else texts are
            as they were recorded.

    Example:
        >>> from sightline.tables.table import Column
        >>> table = Table(
        ...     [Column("step", "int"), Column("loss", "float"), Column("said", "text")],
        ...     lambda: iter([[0, 0.1, "=1+1"], [1, math.nan, None], [2, None, "a,b"]]),
        ... )
        >>> file = io.BytesIO()
        >>> written = write_csv(table, file)
        >>> print(file.getvalue().decode(), end="")
        step,loss,said
        0,0.1,=1+1
        1,NaN,
        2,,"a,b"
        >>> written.rows, written.formulas
        (3, 1)
    """
    written = Written()
    line = io.StringIO()
    writer = csv.writer(line)  # its lines end with \r\n: it quotes what lines end with, and no other \r
    texts = [at for at, column in enumerate(table.columns) if column.kind == "text"]

    def put(cells: Sequence[Any], at_texts: Sequence[int]) -> bytes:
        cells = list(cells)
        for at in at_texts:
            cell = cells[at]
            if isinstance(cell, str) and cell.startswith(_FORMULA):
                written.formulas += 1
                if spreadsheet:
                    cells[at] = f"'{cell}"
        line.seek(0)
        line.truncate()
        writer.writerow(cells)
        return line.getvalue().removesuffix("\r\n").encode(errors="backslashreplace") + b"\n"

    names = [column.name for column in table.columns]
    file.write(put(names, range(len(names))))
    for row in table.rows():
        written.rows += 1
        file.write(_numbers(row) or put([_spelled(cell) for cell in row], texts))
    return written


def _numbers(row: Sequence[Cell]) -> bytes | None:
    """A row of finite numbers alone, with nothing in it that would have to be quoted; None: it is no such.

    Ten times as fast as the csv module, which asks Python for each number's digits.
    """
    try:
        text = orjson.dumps(row)
    except TypeError:  # a lone surrogate, a number beyond 64 bits
        return None
    if b'"' in text:  # of a text
        return None
    if b"null" in text:  # of None, and of what is not finite
        if any(cell is not None and not isinstance(cell, str) and not math.isfinite(cell) for cell in row):
            return None
        text = text.replace(b"null", b"")
    return text[1:-1] + b"\n"


def _spelled(cell: Cell) -> str | int | None:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return "NaN" if math.isnan(cell) else repr(cell)
    return cell


def write_parquet(table: Table, file: Any, facts: Mapping[str, Any]) -> Written:
    """Writes a table as Parquet, some MB at a time; None is null, and NaN is NaN.

    Args:
        table: what to write.
        file: where to; a path, or something to write bytes to.
        facts: of the run, kept as JSON under ``sightline`` in the metadata of the schema.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    need_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
    schema = pa.schema(
        [pa.field(_utf8(name), kinds[kind]) for name, kind in table.columns],
        metadata={"sightline": orjson.dumps(facts, default=str)},
    )
    written = Written()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _batches(table):
            columns = [
                pa.array(
                    [_utf8(cell) if isinstance(cell, str) else cell for cell in cells],
                    kinds[column.kind],
                    from_pandas=False,
                )
                for column, cells in zip(table.columns, zip(*rows, strict=True), strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            written.rows += len(rows)
    return written


def need_parquet() -> None:
    """Raises ConfigurationError unless Parquet can be written."""
    spec = find_spec("pyarrow")
    if spec is None or spec.origin is None:  # the latter: a folder of that name where we were started
        raise ConfigurationError("Parquet needs pyarrow: pip install 'sightline[parquet]'")


def _batches(table: Table) -> Iterator[list[list[Cell]]]:
    most = max(64, _BATCH_CELLS // max(1, len(table.columns)))
    texts = [at for at, column in enumerate(table.columns) if column.kind == "text"]
    rows: list[list[Cell]] = []
    characters = 0
    for row in table.rows():
        rows.append(row)
        characters += sum(len(str(row[at])) for at in texts)
        if len(rows) >= most or characters >= _BATCH_CHARACTERS:
            yield rows
            rows, characters = [], 0
    if rows:
        yield rows


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside another one, which takes its place once all is written; if it is not, nothing is left.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "a.csv") as part:
        ...         _ = part.write_text("x")
        ...     [each.name for each in Path(folder).iterdir()]
        ['a.csv']
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
