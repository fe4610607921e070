"""Rows of sample tables: from the files of the processes where they are here, else those of the journal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sightline.file_lines import WholeLines
from sightline.history import History
from sightline.report.log_lines import fair_share
from sightline.sinks.commits import is_number
from sightline.sinks.lineage import Start

_ROWS = 500  # of a table
_TEXT_BYTES = 10 << 20  # of all rows of a run
_CELL_BYTES = 1 << 20
_FILE_BYTES = 96 << 20  # that are read
_FILE = re.compile(r"(?P<table>.+)\.p(?P<process>\d+)\.a(?P<attempt>\d+)\.jsonl")


class _File(NamedTuple):
    attempt: int
    process: int
    path: Path


def sample_tables(
    history: History, run_dirs: Sequence[Path], runs: int = 1, *, room: int = _FILE_BYTES
) -> list[dict[str, Any]]:
    """The newest 500 rows of each table, as long as there is room.

    In full where the files of the processes are here; of the other processes those of the journal, which are
    some, cut. What a later attempt has gone over is left out of the former.

    Args:
        history: of the run.
        run_dirs: its directories.
        runs: how many the page shows, which share its room.
        room: how many bytes of the files are read; of longer ones about so many at their ends.
    """
    files = _files(run_dirs)
    text = _TEXT_BYTES // max(1, runs)
    found = []
    for at, (name, table) in enumerate(history.samples.items()):
        left = len(history.samples) - at
        rows, read = _newest(files.get(name, []), history.starts, table.rows, room // left)
        room -= read
        shown: list[dict[str, Any]] = []
        its_text = text // left
        for row in reversed(rows):
            cells = {key: _bounded(value) for key, value in row.items()}
            size = sum(len(value) for value in cells.values() if isinstance(value, str))
            if size > its_text and shown:
                break
            its_text -= size
            text -= size
            shown.append(cells)
        shown.reverse()
        columns = dict.fromkeys([*table.columns, *(column for row in shown for column in row)])
        present = {column for row in shown for column in row}
        ordered = ["step", *(each for each in columns if each not in ("step", "process")), "process"]
        ordered = [column for column in ordered if column in present]
        found.append(
            {
                "table": name, "recorded": max(table.recorded, len(shown)), "columns": ordered,
                "rows": [[row.get(column) for column in ordered] for row in shown],
            }
        )  # fmt: skip
    return found


def _newest(
    files: Sequence[_File], starts: Sequence[Start], posted: Sequence[Mapping[str, Any]], room: int
) -> tuple[list[dict[str, Any]], int]:
    """The newest rows, ascending, and how many bytes of the files were read: of long ones the ends."""
    sizes = [each.path.stat().st_size for each in files]
    share = fair_share(sizes, room)
    rows: list[tuple[tuple[int, int, int, int], dict[str, Any]]] = []
    in_files: set[tuple[int, int]] = set()
    for each, size in zip(files, sizes, strict=True):
        gone_over = min((start.first_step for start in starts if start.attempt > each.attempt), default=None)
        for place, (step, k, row) in enumerate(_rows_of(each.path, max(0, size - share))):
            if gone_over is not None and step >= gone_over:
                continue
            in_files.add((each.process, step))
            order = (step, k, each.process, place)
            rows.append((order, {"step": step, **row, "process": each.process}))
            if len(rows) > 4 * _ROWS:
                rows = _last(rows)
    for place, shown in enumerate(posted):
        process = shown.get("process")
        if (process, shown["step"]) not in in_files:
            rows.append(((shown["step"], 0, process if isinstance(process, int) else -1, place), dict(shown)))
    return [row for _, row in _last(rows)], sum(min(size, share) for size in sizes)


def _last(
    rows: list[tuple[tuple[int, int, int, int], dict[str, Any]]],
) -> list[tuple[tuple[int, int, int, int], dict[str, Any]]]:
    return sorted(rows, key=lambda each: each[0])[-_ROWS:]


def _files(run_dirs: Sequence[Path]) -> dict[str, list[_File]]:
    """By table."""
    found: dict[str, list[_File]] = {}
    for run_dir in run_dirs:
        folder = run_dir / "samples"
        for path in sorted(folder.rglob("*.jsonl")):
            if match := _FILE.fullmatch(path.relative_to(folder).as_posix()):
                file = _File(int(match["attempt"]), int(match["process"]), path)
                found.setdefault(match["table"], []).append(file)
    return found


def _rows_of(path: Path, begin: int) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Step, k and row; from somewhere in a line on, which is none."""
    with open(path, "rb", 0) as file:
        for line in WholeLines(file.fileno(), begin):
            try:
                said = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(said, dict) and isinstance(said.get("row"), dict) and is_number(said.get("step")):
                k = said.get("k")
                yield said["step"], k if isinstance(k, int) else 0, said["row"]


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _CELL_BYTES:
        return f"{value[:_CELL_BYTES]}… [{len(value) - _CELL_BYTES} of {len(value)} characters left out here]"
    if isinstance(value, (dict, list)):
        return orjson.dumps(value, default=str).decode()
    return value
