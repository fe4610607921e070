"""The rows of the file are the commits of the journal, after crashes and rewinds too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.files.file_lines import WholeLines
from sightline.sinks.jsonl import last_row
from tests.holes import BOUND, put_hole, read_bytes
from tests.sinks import attempts
from tests.sinks.attempts import attempt, commits, kill_and_go_on, rewound, settings, start
from tests.sinks.readers.jsonl import rows


def test_a_row_has_all_values_and_texts_of_its_commit(tmp_path: Path) -> None:
    with start(tmp_path, settings("jsonl")) as run:
        for step in run.steps(3):
            sl.scalar(loss=step / 8, odd=[float("nan"), float("inf"), 1.0][step])
            sl.summary("reward", [1.0, 2.0])
            sl.text(split="té\udc80st")
            run.commit(step)
    found = rows(run.dir / "rows.jsonl")
    assert len(found) == 3
    for row, commit in zip(found, commits(run.dir), strict=True):
        about = {name: commit[name] for name in ("step", "time", "seq")}
        assert row == {"run_id": run.logger.run_id, **about, **commit["values"], **commit["texts"]}
        assert row["reward/mean"] == 1.5


def test_a_key_called_as_one_of_the_rows_own_has_an_underscore(tmp_path: Path) -> None:
    with start(tmp_path, settings("jsonl")) as run:
        run.commit(7, {"step": 1.5, "seq": 2.5})
    (row,) = rows(run.dir / "rows.jsonl")
    assert (row["step"], row["step_"], row["seq"], row["seq_"]) == (7, 1.5, 1, 2.5)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_file_that_is_cut_anywhere_is_made_good(kept: float, tmp_path: Path) -> None:
    """As after a crash of the machine."""
    run, _ = attempt(tmp_path, settings("jsonl"), 6)
    assert run.dir is not None
    path = run.dir / "rows.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    attempt(tmp_path, settings("jsonl"), 8)
    assert [row["seq"] for row in rows(path)] == list(range(1, 9))
    assert [row["step"] for row in rows(path)] == list(range(8))


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    """What some file systems leave after a crash of the machine."""
    run, _ = attempt(tmp_path, settings("jsonl"), 2)
    assert run.dir is not None
    path = run.dir / "rows.jsonl"
    path.write_bytes(path.read_bytes() + bytes(100) + b"\n")
    attempt(tmp_path, settings("jsonl"), 4)
    assert [row["seq"] for row in rows(path)] == [1, 2, 3, 4]


def test_runs_may_append_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    logger = settings("jsonl", path=str(path))
    for folder, stop in (("a", 3), ("b", 2), ("a", 5)):
        attempt(tmp_path / folder, logger, stop)
    found = rows(path)
    assert [row["step"] for row in found] == [0, 1, 2, 0, 1, 3, 4]
    first, second = found[0]["run_id"], found[3]["run_id"]
    assert [row["run_id"] for row in found] == [first] * 3 + [second] * 2 + [first] * 2


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.01, 0.1))
    path = tmp_path / "notes.txt"
    path.write_text("precious\nnotes")
    with attempts.warnings_said() as said, start(tmp_path, settings("jsonl", path=str(path))) as run:
        run.commit(0, {"loss": 1.0})
        assert not run.flush(60)
    assert path.read_text() == "precious\nnotes"
    assert any("does not hold rows of the sink 'jsonl': choose another path" in each for each in said)


def test_a_write_that_is_refused_half_way_leaves_no_half_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes the beginning of a row; once there is space, the row is there once, and whole."""
    real, halves = os.write, []

    def write(file: int, data: Any) -> int:
        if halves == [] and bytes(data).startswith(b'{"run_id"'):
            halves.append(bytes(data)[: len(data) // 2])
            return real(file, halves[0])
        if len(halves) == 1 and not bytes(data).startswith(b'{"type"'):  # the rest; the journal goes on
            halves.append(bytes(data))
            raise OSError(28, "No space left on device")
        return real(file, data)

    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.01, 0.1))
    with start(tmp_path, settings("jsonl")) as run:
        monkeypatch.setattr("os.write", write)
        for step in run.steps(5):
            sl.scalar(loss=step)
            run.commit(step)
    assert len(halves) == 2
    assert [row["seq"] for row in rows(run.dir / "rows.jsonl")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
def test_killed_runs_have_every_commit_once(kills: int, tmp_path: Path) -> None:
    run = kill_and_go_on(tmp_path, kills, {"sinks": ["jsonl"]})
    found = rows(run / "rows.jsonl")
    assert [row["seq"] for row in found] == [each["seq"] for each in commits(run)]
    assert [(row["step"], row["loss"]) for row in found] == attempts.series(run, "loss")


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("rewind", ["continue", "fork", "skip"])
def test_a_rewound_run_is_shown_as_wanted(rewind: str, announced: bool, tmp_path: Path) -> None:
    run = rewound(tmp_path, settings("jsonl", rewind=rewind), announced=announced)
    first = [(step, float(step)) for step in range(10)]
    again = [(step, 100.0 + step) for step in range(5, 12)]
    shown = [(row["step"], row["loss"]) for row in rows(run / "rows.jsonl")]
    if rewind == "continue":
        assert shown == [*first, *again]
    elif rewind == "skip":
        assert shown == [*first, *again[-2:]]
    else:
        assert shown == first
        forked = rows(run / "rows.fork02.jsonl")
        assert [(row["step"], row["loss"]) for row in forked] == [*first[:5], *again]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(sl.ConfigurationError, match="jsonl rewind='back': expected 'continue', 'fork' or"):
        sl.JSONLConfig(rewind="back")  # type: ignore[arg-type]


def test_last_row_counts_whole_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = b'{"run_id":"a","seq":3}\n'
    for data, expected in ((b"", (0, 0)), (good, (3, len(good))), (good + good[:-1], (3, len(good)))):
        path.write_bytes(data)
        assert last_row(path, "a")[:2] == expected
    assert last_row(path, "b")[:2] == (0, len(good))


def test_a_path_may_begin_with_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    attempt(tmp_path / "runs", settings("jsonl", path="~/out/rows.jsonl"), 2)
    assert [row["seq"] for row in rows(tmp_path / "out" / "rows.jsonl")] == [1, 2]


def test_a_hole_among_rows_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = b'{"run_id":"a","seq":%d}\n'
    path.write_bytes(row % 3)
    put_hole(path, row % 4)
    size = path.stat().st_size
    put_hole(path)
    begin = read_bytes()
    assert last_row(path, "a") == (4, size, 3, len(row % 3), True, False)
    assert read_bytes() - begin < BOUND


def without_rows(path: Path, first: int, last: int, *, torn: bool = False) -> bytes:
    """Takes some rows out of a file, as a crash of the machine does; returns what it leaves."""
    lines = path.read_bytes().splitlines(keepends=True)
    gone = b"".join(lines[first:last])
    left = gone[: len(gone) // 2] + b"\n" if torn else bytes(len(gone))
    path.write_bytes(b"".join(lines[:first]) + left + b"".join(lines[last:]))
    return path.read_bytes()


@pytest.mark.parametrize("torn", [False, True])
def test_rows_that_a_crash_took_from_among_others_are_written_again(torn: bool, tmp_path: Path) -> None:
    """Each row is there once, in order; and the damaged file is kept, for what only it may have."""
    run, _ = attempt(tmp_path, settings("jsonl"), 10)
    assert run.dir is not None
    path = run.dir / "rows.jsonl"
    before = rows(path)
    damaged = without_rows(path, 3, 5, torn=torn)
    with attempts.warnings_said() as said:
        attempt(tmp_path, settings("jsonl"), 11)
    found = rows(path)
    assert found[:10] == before
    assert [row["step"] for row in found] == list(range(11))
    assert len([each for each in said if "kept as rows.damaged01.jsonl" in each]) == 1
    assert (run.dir / "rows.damaged01.jsonl").read_bytes() == damaged
    without_rows(path, 0, 2)
    attempt(tmp_path, settings("jsonl"), 12)
    assert [row["step"] for row in rows(path)] == list(range(12))
    assert (run.dir / "rows.damaged02.jsonl").exists()


def test_a_damaged_file_of_several_runs_stays_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    logger = settings("jsonl", path=str(path))
    attempt(tmp_path / "a", logger, 6)
    attempt(tmp_path / "b", logger, 2)
    damaged = without_rows(path, 2, 4)
    with attempts.warnings_said() as said:
        attempt(tmp_path / "a", logger, 7)
    assert path.read_bytes().startswith(damaged)
    assert len([each for each in said if "several runs share that file" in each]) == 1
    assert rows_of(path, tmp_path / "a") == [0, 1, 4, 5, 6]


def rows_of(path: Path, folder: Path) -> list[int]:
    (run,) = (each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
    run_id = next(record["run_id"] for record in sl.read_journal(run))
    with path.open("rb") as file:
        found = [orjson.loads(line) for line in WholeLines(file.fileno())]
    return [row["step"] for row in found if row["run_id"] == run_id]
