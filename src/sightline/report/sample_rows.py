"""Rows of sample tables: from the files of the processes where they are here, else those of the journal."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sightline.files.file_lines import WholeLines
from sightline.report.log_lines import fair_share
from sightline.sinks.commits import is_number
from sightline.sinks.lineage import Start
from sightline.values.samples import rank_of
from sightline.views.history import History, SampleTable

_ROWS = 500  # of a table
_STEPS = 50  # of which rows are shown beside the newest ones
_TEXT_BYTES = 10 << 20  # of all rows of a run
_CELL_BYTES = 1 << 20
_FILE_BYTES = 96 << 20  # that are read
_FILE = re.compile(r"(?P<table>.+)\.p(?P<process>\d+)\.a(?P<attempt>\d+)\.jsonl")


class _File(NamedTuple):
    attempt: int
    process: int
    path: Path


class _Place(NamedTuple):
    """Where a row stands.

    Attributes:
        step, k: of its commit.
        process: whose it is; -1 where that is unknown.
        source: the number of its file; -1: the journal's rows.
        line: in there.
        rank: by which rows are best and worst; None without.
    """

    step: int
    k: int
    process: int
    source: int
    line: int
    rank: float | None


def sample_tables(
    history: History, run_dirs: Sequence[Path], runs: int = 1, *, room: int = _FILE_BYTES
) -> list[dict[str, Any]]:
    """500 rows of each table, as long as there is room: half of them the newest, half of up to 50 steps.

    Of each step the best and the worst row come first, then all processes in turn. In full where the files of
    the processes are here; of the other processes those of the journal, which are some, cut. What a later
    attempt has gone over is left out of the former.

    Args:
        history: of the run.
        run_dirs: its directories.
        runs: how many the page shows, which share its room.
        room: how many bytes of the files are read; of longer ones about so many at their ends.

    Returns:
        each with ``table``, ``columns``, ``rows``; ``recorded``, how many rows there have been; ``chosen``,
        whether more of them are here than are shown; ``ranked_by``, of which column the best are.
    """
    files = _files(run_dirs)
    text = _TEXT_BYTES // max(1, runs)
    found = []
    for at, (name, table) in enumerate(history.samples.items()):
        left = len(history.samples) - at
        rows, there, read = _chosen_rows(files.get(name, []), history.starts, table, room // left)
        room -= read
        shown: list[tuple[_Place, dict[str, Any]]] = []
        its_text = text // left
        for place, row in rows:
            cells = {key: _bounded(value) for key, value in row.items()}
            size = sum(len(value) for value in cells.values() if isinstance(value, str))
            if size > its_text and shown:
                break
            its_text -= size
            text -= size
            shown.append((place, cells))
        shown.sort(key=lambda each: each[0][:5])
        columns = dict.fromkeys([*table.columns, *(column for _, row in shown for column in row)])
        present = {column for _, row in shown for column in row}
        ordered = ["step", *(each for each in columns if each not in ("step", "process")), "process"]
        ordered = [column for column in ordered if column in present]
        found.append(
            {
                "table": name, "recorded": max(table.recorded, len(shown)), "columns": ordered,
                "chosen": len(shown) < there, "ranked_by": table.ranked_by,
                "rows": [[row.get(column) for column in ordered] for _, row in shown],
            }
        )  # fmt: skip
    return found


def _chosen_rows(
    files: Sequence[_File], starts: Sequence[Start], table: SampleTable, room: int
) -> tuple[list[tuple[_Place, dict[str, Any]]], int, int]:
    """The rows to show, what matters most first; of how many; how many bytes of the files were read.

    Of long files the ends are read, and all of them twice, so that not all rows are held: to know which there
    are, and for those that are shown.
    """
    sizes = [each.path.stat().st_size for each in files]
    share = fair_share(sizes, room)
    begins = [max(0, size - share) for size in sizes]
    places: list[_Place] = []
    in_files: set[tuple[int, int]] = set()
    for source, each in enumerate(files):
        gone_over = min((start.first_step for start in starts if start.attempt > each.attempt), default=None)
        for line, step, k, row in _rows_of(each.path, begins[source], sizes[source]):
            if gone_over is not None and step >= gone_over:
                continue
            in_files.add((each.process, step))
            places.append(_Place(step, k, each.process, source, line, rank_of(row, table.ranked_by)))
    for line, shown in enumerate(table.rows):
        process = shown.get("process")
        if (process, shown["step"]) not in in_files:
            who = process if isinstance(process, int) else -1
            places.append(_Place(shown["step"], 0, who, -1, line, rank_of(shown, table.ranked_by)))
    chosen = _chosen(places)
    rows = {each: dict(table.rows[each.line]) for each in chosen if each.source < 0}
    of_file: defaultdict[int, dict[int, _Place]] = defaultdict(dict)
    for place in chosen:
        if place.source >= 0:
            of_file[place.source][place.line] = place
    for source, wanted in of_file.items():
        of = files[source]
        for line, step, _, row in _rows_of(of.path, begins[source], sizes[source], wanted):
            rows[wanted[line]] = {"step": step, **row, "process": of.process}
    read = sum(min(size, share) for size in sizes)
    return [(each, rows[each]) for each in chosen if each in rows], len(places), read


def _chosen(places: Sequence[_Place]) -> list[_Place]:
    """By turns one of the newest rows and one of steps that lie evenly over the run, by turns too."""
    by_step: defaultdict[tuple[int, int], list[_Place]] = defaultdict(list)
    for each in places:
        by_step[each.step, each.k].append(each)
    steps = sorted(by_step, reverse=True)
    evenly = [steps[at * (len(steps) - 1) // max(1, _STEPS - 1)] for at in range(_STEPS)]
    newest: list[_Place] = []
    for step in steps:
        newest += _in_turn(by_step[step])[:_ROWS]
        if len(newest) >= _ROWS:
            break
    some = [_in_turn(by_step[step]) for step in dict.fromkeys(steps if len(steps) <= _STEPS else evenly)]
    spread = (row for row in itertools.chain.from_iterable(itertools.zip_longest(*some)) if row is not None)
    by_turns = itertools.chain.from_iterable(itertools.zip_longest(newest, itertools.islice(spread, _ROWS)))
    return list(dict.fromkeys(row for row in by_turns if row is not None))[:_ROWS]


def _in_turn(rows: Sequence[_Place]) -> list[_Place]:
    """Those of a step: the best, the worst, then of each process the first, of each the second, and so on."""
    ranked = [(each.rank, at) for at, each in enumerate(rows) if each.rank is not None]
    ends = [rows[choose(ranked)[1]] for choose in (max, min)] if ranked else []
    turn: Counter[int] = Counter()
    in_turn = []
    for each in rows:
        in_turn.append((turn[each.process], each.process, each))
        turn[each.process] += 1
    return list(dict.fromkeys([*ends, *(each for *_, each in sorted(in_turn, key=lambda it: it[:2]))]))


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


def _rows_of(
    path: Path, begin: int, end: int, wanted: Container[int] | None = None
) -> Iterator[tuple[int, int, int, Mapping[str, Any]]]:
    """The number of its line from there on, step, k and row; from somewhere in a line on, which is none.

    Args:
        path: of the file.
        begin: where to begin.
        end: how many bytes of it count.
        wanted: only these lines; None: all.
    """
    with open(path, "rb", 0) as file:
        for number, line in enumerate(WholeLines(file.fileno(), begin, end)):
            if wanted is not None and number not in wanted:
                continue
            try:
                said = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(said, dict) and isinstance(said.get("row"), dict) and is_number(said.get("step")):
                k = said.get("k")
                yield number, said["step"], k if isinstance(k, int) else 0, said["row"]


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _CELL_BYTES:
        return f"{value[:_CELL_BYTES]}… [{len(value) - _CELL_BYTES} of {len(value)} characters left out here]"
    if isinstance(value, (dict, list)):
        return orjson.dumps(value, default=str).decode()
    return value
