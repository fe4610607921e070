"""The rows of a sample table as they lie in the files of the processes, in full."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sightline.errors import RunDirectoryError
from sightline.files.file_lines import JsonLines, Unreadable
from sightline.runs.journal import Record
from sightline.sinks.commits import is_number
from sightline.sinks.lineage import Start
from sightline.support.wording import files_missing
from sightline.tables.lines import Lines
from sightline.tables.table import Cell, Column, Kind, Steps, Table, named

_FILE = re.compile(r"(?P<table>.+)\.p(?P<process>\d+)\.a(?P<attempt>\d+)\.jsonl")
_OF_PROCESS = re.compile(r".*\bp(\d{5,})\.a\d+\b.*")
_HEAD = 64 << 10  # bytes in which a header must come
_NONFINITE = ("nan", "inf", "-inf")  # as `sl.sample` spells what JSON has no number for


#: Told of each file what could not be read of it, and how many bytes its cut last line has.
_Note = Callable[[Path, Unreadable, int], object]


class _File(NamedTuple):
    attempt: int
    process: int
    path: Path
    size: int  # bytes that count: a run that goes on may write more, with cells of other kinds


def sample_tables(run_dir: Path) -> list[str]:
    """The names of the tables of which files are here.

    Example:
        >>> sample_tables(Path("nowhere"))
        []
    """
    folder = run_dir / "samples"
    found = {
        match["table"]
        for path in folder.rglob("*.jsonl")
        if (match := _FILE.fullmatch(path.relative_to(folder).as_posix()))
    }
    return sorted(found)


def sample_table(
    run_dir: Path,
    name: str,
    *,
    steps: Steps = Steps(),  # noqa: B008 - a tuple
    attempts: bool = False,
    advance: Callable[[int], object] = lambda size: None,
) -> Table:
    """A row for each sample, by attempt, then process, then as they were recorded.

    What a later attempt has gone over again is left out. The files are read twice, as far as they go now;
    memory is bounded by the number of columns. Without files here (a journal that was copied alone) the rows
    are the few that the journal shows.

    Args:
        run_dir: of the run.
        name: of the table, as in ``"rollouts"``.
        steps: which.
        attempts: with what was gone over.
        advance: told how many bytes have been read, of twice the size of :func:`sample_bytes`.

    Raises:
        RunDirectoryError: there is no such table.
        JournalError: a newer version of sightline wrote the journal.
    """
    files = _files(run_dir, name)
    shown: list[Record] = []

    def see(record: Record) -> None:
        if record.get("table") == name:
            shown.append(record)

    if files:
        starts = _starts(run_dir)
        source: Callable[[_Note], Iterator[tuple[list[Cell], Mapping[str, Any]]]]
        source = lambda note: _rows_of_files(files, steps, advance, note)  # noqa: E731
        notes, missing = _missing(run_dir, files)
    else:
        lines = Lines(run_dir, "sample", steps, see)
        if not shown:
            tables = sample_tables(run_dir)
            has = f"it has {', '.join(tables)}" if tables else "it has none"
            raise RunDirectoryError(f"{run_dir} has no sample table {name!r}: {has}")
        starts = lines.starts
        source = lambda note: _rows_of_journal(shown)  # noqa: E731
        notes = ["no file of the table is here: these are the rows that the journal shows of it"]
        missing = list(range(int(lines.run.get("processes") or 1)))
    seen: dict[str, set[str]] = {}
    unreadable = Unreadable() if files else lines.unreadable
    cut: dict[Path, int] = {}

    def note(path: Path, damage: Unreadable, cut_bytes: int) -> None:
        nonlocal unreadable
        unreadable += damage
        if cut_bytes:
            cut[path] = cut_bytes

    for _, cells in source(note):
        for column, cell in cells.items():
            seen.setdefault(column, set()).add(_class(cell))
    kinds = {column: _kind(classes - {"none"}) for column, classes in seen.items()}
    first = [Column("step", "int"), Column("k", "int"), Column("time", "float"), Column("attempt", "int")]
    first += [*([Column("gone_over", "bool")] if attempts else []), Column("process", "int")]

    def rows() -> Iterator[list[Cell]]:
        for place, cells in source(lambda path, damage, cut_bytes: None):
            is_over = _is_over(starts, place)
            if is_over and not attempts:
                continue
            *before, process = place
            yield [
                *before, *([is_over] if attempts else []), process,
                *(_as(kind, cells.get(column)) for column, kind in kinds.items()),
            ]  # fmt: skip

    return Table(
        named(first, [Column(column, kind) for column, kind in kinds.items()]),
        rows,
        notes,
        missing,
        unreadable,
        cut,
        is_of_journal=not files,
    )


def sample_bytes(run_dir: Path, name: str) -> int:
    """How large the files of a table are."""
    return sum(each.size for each in _files(run_dir, name))


def _files(run_dir: Path, name: str) -> list[_File]:
    folder = run_dir / "samples"
    return sorted(
        _File(int(match["attempt"]), int(match["process"]), path, path.stat().st_size)
        for path in folder.rglob("*.jsonl")
        if (match := _FILE.fullmatch(path.relative_to(folder).as_posix())) and match["table"] == name
    )


def _starts(run_dir: Path) -> list[Start]:
    """How the attempts began; unknown where the journal is not here."""
    try:
        return Lines(run_dir, "run", Steps(), lambda record: None).starts
    except RunDirectoryError:
        return []


def _rows_of_files(
    files: list[_File],
    steps: Steps,
    advance: Callable[[int], object],
    note: _Note,
) -> Iterator[tuple[list[Cell], Mapping[str, Any]]]:
    for attempt, process, path, size in files:
        with open(path, "rb", 0) as file:
            lines = JsonLines(file.fileno(), end=size)
            place = 0
            for record in lines:
                advance(lines.place - place)
                place = lines.place
                row = record.get("row")
                if not isinstance(row, dict) or not is_number(record.get("step")):
                    continue  # the header
                if steps.has(record["step"]):
                    yield [record["step"], record.get("k"), record.get("time"), attempt, process], row
            note(path, lines.unreadable, lines.cut)


def _rows_of_journal(lines: list[Record]) -> Iterator[tuple[list[Cell], Mapping[str, Any]]]:
    for line in lines:
        for row in line.get("rows") or ():
            if isinstance(row, dict):
                cells = {column: cell for column, cell in row.items() if column != "process"}
                yield [line["step"], line.get("k"), None, line.get("attempt") or 1, row.get("process")], cells


def _missing(run_dir: Path, files: list[_File]) -> tuple[list[str], list[int]]:
    """Processes of which no file at all is here; one that recorded no sample has files of other kinds."""
    processes = 1
    for each in files:
        with open(each.path, "rb") as file:
            try:
                header = orjson.loads(file.readline(_HEAD))
                processes = max(processes, int(header.get("processes") or 1))
            except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
                continue
    here = {each.process for each in files}
    for path in run_dir.glob("*/p*.a*"):
        if match := _OF_PROCESS.fullmatch(path.name):
            here.add(int(match[1]))
    missing = sorted(set(range(processes)) - here)
    return files_missing(run_dir, processes, missing), missing


def _is_over(starts: list[Start], place: list[Cell]) -> bool:
    step, attempt = place[0], place[3]
    assert isinstance(step, int)
    assert isinstance(attempt, int)
    return any(attempt < start.attempt and step >= start.first_step for start in starts)


def _class(cell: Any) -> str:
    if cell is None:
        return "none"
    if isinstance(cell, str):
        return "nonfinite" if cell in _NONFINITE else "text"
    if isinstance(cell, (bool, float)):
        return type(cell).__name__
    return "int" if isinstance(cell, int) and -(2**63) <= cell < 2**63 else "text"


def _kind(classes: set[str]) -> Kind:
    """Of a column with cells of these classes.

    Example:
        >>> _kind({"int"}), _kind({"int", "float", "nonfinite"}), _kind({"int", "text"}), _kind({"nonfinite"})
        ('int', 'float', 'text', 'text')
    """
    if classes == {"int"}:
        return "int"
    if classes == {"bool"}:
        return "bool"
    if classes and classes != {"nonfinite"} and classes <= {"int", "float", "nonfinite"}:
        return "float"
    return "text"


def _as(kind: Kind, cell: Any) -> Cell:
    if cell is None:
        return None
    if kind == "float":
        return float(cell)
    if kind == "text":
        return cell if isinstance(cell, str) else orjson.dumps(cell).decode()
    return cell  # type: ignore[no-any-return]
