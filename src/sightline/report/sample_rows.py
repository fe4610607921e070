"""Rows of sample tables: those of the journal, their full text where the files of the processes are here."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from sightline.file_lines import WholeLines
from sightline.history import History
from sightline.sparse_files import data_size

_ROWS = 500  # of a table
_TEXT_BYTES = 10 << 20  # of all rows of a run
_CELL_BYTES = 1 << 20
_FILE_BYTES = 96 << 20  # that are searched for full text
_CUT = re.compile(r"… \[\d+ of \d+ characters cut\]$")


def sample_tables(history: History, run_dirs: Sequence[Path], runs: int = 1) -> list[dict[str, Any]]:
    """The newest 500 rows of each table, thinned as :class:`History` does, as long as there is room."""
    room = _TEXT_BYTES // max(1, runs)
    found = []
    searched = _FILE_BYTES
    for name, table in history.samples.items():
        rows = [dict(row) for row in table.rows[-_ROWS:]]
        searched -= _complete(rows, name, run_dirs, searched)
        shown: list[dict[str, Any]] = []
        for row in reversed(rows):
            cells = {key: _bounded(value) for key, value in row.items()}
            room -= sum(len(value) for value in cells.values() if isinstance(value, str))
            if room < 0 and shown:
                break
            shown.append(cells)
        shown.reverse()
        columns = ["step", *(each for each in table.columns if each not in ("step", "process")), "process"]
        found.append(
            {
                "table": name, "recorded": table.recorded,
                "columns": [each for each in columns if any(each in row for row in shown)],
                "rows": [[row.get(column) for column in columns if any(column in r for r in shown)]
                         for row in shown],
            }
        )  # fmt: skip
    return found


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _CELL_BYTES:
        return f"{value[:_CELL_BYTES]}… [{len(value) - _CELL_BYTES} of {len(value)} characters left out here]"
    if isinstance(value, (dict, list)):
        return orjson.dumps(value, default=str).decode()
    return value


def _complete(rows: list[dict[str, Any]], table: str, run_dirs: Sequence[Path], room: int) -> int:
    """Puts full texts in place of cut ones; returns how many bytes were searched for them."""
    wanted: defaultdict[int, defaultdict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if isinstance(row.get("process"), int) and any(map(_is_cut, row.values())):
            wanted[row["process"]][row["step"]].append(row)
    read = 0
    for process, by_step in wanted.items():
        for run_dir in run_dirs:
            for path in sorted((run_dir / "samples").glob(f"{_escaped(table)}.p{process:05d}.a*.jsonl")):
                size = data_size(path.stat())
                if read + size > room:
                    return read
                read += size
                for step, full in _rows_of(path):
                    for row in by_step.get(step, ()):
                        _take(row, full)
    return read


def _escaped(table: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", table)


def _rows_of(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open(path, "rb", 0) as file:
        for line in WholeLines(file.fileno()):
            try:
                said = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(said, dict) and isinstance(said.get("row"), dict):
                yield said.get("step", -1), said["row"]


def _is_cut(value: Any) -> bool:
    return isinstance(value, str) and _CUT.search(value[-80:]) is not None


def _take(row: dict[str, Any], full: Mapping[str, Any]) -> None:
    """If a full row is what a cut one was cut from."""
    for name, value in full.items():
        had = row.get(name)
        if _is_cut(had) and isinstance(value, str):
            if not value.startswith(_CUT.sub("", str(had))):
                return
        elif had != value:
            return
    row.update({name: value for name, value in full.items() if _is_cut(row.get(name))})
