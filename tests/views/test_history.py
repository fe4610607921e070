"""A journal, column by column."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import JournalError, RunDirectoryError
from sightline.files.file_lines import Unreadable
from sightline.runs.run_state import state_of
from sightline.tables.metrics import metrics_table
from sightline.views.history import History, bands
from tests.holes import BOUND, HOLE, put_hole, read_bytes


def line(**fields: object) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def run_line(*starts: tuple[int, int, int | None], **more: object) -> bytes:
    known = [list(start) for start in starts or [(1, 0, None)]]
    return line(type="run", **{"format": 1, "run_id": "r", "attempt": len(known), "starts": known, **more})


def commit(seq: int, step: int, attempt: int = 1, **values: float | None) -> bytes:
    return line(type="commit", seq=seq, step=step, attempt=attempt, time=1000.0 + seq, values=values)


def written(path: Path, *lines: bytes) -> History:
    (path / "metrics.jsonl").write_bytes(b"".join(lines))
    history = History(path)
    history.update()
    return history


def test_a_real_run_gives_back_what_was_recorded(tmp_path: Path) -> None:
    """Also values that are not finite, keys that come now and then, texts, and samples."""
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in run.steps(5):
            sl.scalar("train/loss", [1.0, math.nan, -math.inf, 0.25, 2.0][step])
            sl.scalar("train/own", step, per_process=True)
            if step % 2:
                sl.scalar("eval/acc", step / 10)
            sl.sample("rollouts", prompt=f"p{step}", reward=float(step))
            run.commit(step)
    history = History(tmp_path / "run")
    assert history.update()
    assert not history.update()
    loss = history.series("train/loss")
    assert loss.steps.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(loss.values, [1.0, math.nan, -math.inf, 0.25, 2.0])
    assert np.all(np.diff(loss.times) >= 0)
    assert [(step, kind) for step, key, kind in history.nonfinite if key == "train/loss"] == [
        (1, "nan"),
        (2, "-inf"),
    ]
    assert history.series("eval/acc")[::2][0].tolist() == [1, 3]
    assert history.series("none").steps.tolist() == []
    table = history.process_table("train/own")
    assert table is not None
    assert (table.processes, table.values.tolist()) == ([0], [[0.0], [1.0], [2.0], [3.0], [4.0]])
    samples = history.samples["rollouts"]
    assert [row["prompt"] for row in samples.rows] == [f"p{step}" for step in range(5)]
    assert {"prompt", "reward", "process"} <= set(samples.columns)
    assert [event["event"] for event in history.events][-1] == "finish"
    assert (history.commits, history.last_step, history.processes) == (5, 4, 1)


def test_an_attempt_takes_over_as_it_begins(tmp_path: Path) -> None:
    """Before its first commit, for keys that were asked for already, and where keys differ by step."""
    history = written(
        tmp_path, run_line(), commit(1, 0, a=0.0), commit(2, 1, a=1.0, b=1.0), commit(3, 2, a=2.0, b=2.0)
    )
    assert history.series("a").steps.tolist() == [0, 1, 2]
    assert history.series("b").values.tolist() == [1.0, 2.0]
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(run_line((1, 0, None), (2, 2, 1)))
    history.update()
    assert history.series("a").steps.tolist() == [0, 1]
    assert history.gone_over("b").values.tolist() == [2.0]


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Line by line as the file grows, with a line that is only half there."""
    file = tmp_path / "metrics.jsonl"
    whole = b"".join([run_line(), *(commit(seq, seq, a=float(seq)) for seq in range(1, 6))])
    file.write_bytes(b"")
    history = History(tmp_path)
    assert not history.update()
    for at in range(0, len(whole), 37):
        with open(file, "ab") as out:
            out.write(whole[at : at + 37])
        history.update()
        seen = history.series("a").values.tolist()
        assert seen == [float(n + 1) for n in range(len(seen))]
    assert history.commits == 5
    assert history.unread == 0


def test_a_file_that_takes_its_place_is_read_anew(tmp_path: Path) -> None:
    history = written(tmp_path, run_line(), commit(1, 1, a=1.0), commit(2, 2, a=2.0))
    other = tmp_path / "other"
    other.write_bytes(run_line() + commit(1, 7, b=7.0))
    os.replace(other, tmp_path / "metrics.jsonl")
    assert history.update()
    assert history.keys == ["b"]


def test_what_an_attempt_goes_over_again_is_left_out_and_kept(tmp_path: Path) -> None:
    history = written(
        tmp_path,
        run_line(),
        *(commit(n, n, a=float(n)) for n in range(1, 5)),
        run_line((1, 0, None), (2, 3, 4)),
        *(commit(n + 2, n, 2, a=10.0 * n) for n in range(3, 6)),
    )
    assert history.series("a").values.tolist() == [1.0, 2.0, 30.0, 40.0, 50.0]
    assert history.gone_over("a").values.tolist() == [3.0, 4.0]


def test_the_last_commit_of_a_step_counts(tmp_path: Path) -> None:
    history = written(
        tmp_path, run_line(), commit(1, 1, a=1.0, b=1.0), commit(2, 1, a=2.0), commit(3, 2, b=3.0, a=3.0)
    )
    assert history.series("a").values.tolist() == [2.0, 3.0]
    assert history.series("b").values.tolist() == [1.0, 3.0]


@given(st.lists(st.sets(st.sampled_from("abcd"), min_size=1), max_size=40))
def test_any_pattern_of_keys_gives_each_key_its_steps(patterns: list[set[str]]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        lines = [
            commit(n, n, **{key: n + ord(key) / 1000 for key in sorted(keys)})
            for n, keys in enumerate(patterns)
        ]
        history = written(Path(folder), run_line(), *lines)
        for key in "abcd":
            steps = [n for n, keys in enumerate(patterns) if key in keys]
            assert history.series(key).steps.tolist() == steps
            assert history.series(key).values.tolist() == [n + ord(key) / 1000 for n in steps]


def test_many_commits_are_packed_and_nothing_is_lost(tmp_path: Path) -> None:
    """Values of each process are joined to their maximum when there are many, so that a spike stays."""
    lines = [run_line()]
    for n in range(10_000):
        lines.append(commit(n + 1, n, a=float(n), b=None if n == 5000 else 1.0))
        own = [1.0, 99.0 if n == 7777 else 2.0]
        lines.append(line(type="process_values", seq=n + 1, step=n, processes=[0, 3], values={"t": own}))
    history = written(tmp_path, *lines)
    assert history.series("a").values.tolist() == [float(n) for n in range(10_000)]
    assert np.flatnonzero(np.isnan(history.series("b").values)).tolist() == [5000]
    table = history.process_table("t")
    assert table is not None
    assert table.processes == [0, 3]
    assert len(table.steps) <= 2048
    assert np.nanmax(table.values[:, 0]) == 1.0
    (row,) = np.flatnonzero(table.values[:, 1] == 99.0)
    assert table.steps[row] <= 7777 < table.steps[row] + table.joined


def test_processes_may_be_others_from_step_to_step(tmp_path: Path) -> None:
    """In any order; a table may begin late."""
    lines = [run_line()]
    for n, processes in enumerate([[2, 0], [2, 0], [0, 1, 2], [1]]):
        own = [10.0 * n + process for process in processes]
        lines.append(line(type="process_values", seq=n + 1, step=n, processes=processes, values={"t": own}))
    history = written(tmp_path, *lines)
    table = history.process_table("t")
    assert table is not None
    assert table.processes == [0, 1, 2]
    nan = math.nan
    expected = [[0.0, nan, 2.0], [10.0, nan, 12.0], [20.0, 21.0, 22.0], [nan, 31.0, nan]]
    np.testing.assert_array_equal(table.values, expected)
    late = history.process_table("t", first_step=3)
    assert late is not None
    assert (late.processes, late.values.tolist(), late.steps.tolist()) == ([1], [[31.0]], [3])
    two = written(tmp_path, *lines[:3]).process_table("t")
    assert two is not None
    assert (two.processes, two.values.tolist()) == ([0, 2], [[0.0, 2.0], [10.0, 12.0]])
    none = history.process_table("t", first_step=9)
    assert none is not None
    assert none.values.shape == (0, 0)


def test_samples_and_histograms_are_bounded(tmp_path: Path) -> None:
    """The newest stay; of the older ones every other one goes."""
    lines = [run_line()]
    for n in range(5000):
        lines.append(line(type="sample", seq=n, step=n, table="t", recorded=4, rows=[{"x": n}]))
        lines.append(line(type="histogram", seq=n, step=n, key="h", edges=[0, 1], counts=[n]))
    history = written(tmp_path, *lines)
    table = history.samples["t"]
    assert table.recorded == 20_000
    assert 900 < len(table.rows) <= 2000
    assert [row["x"] for row in table.rows[-500:]] == list(range(4500, 5000))
    assert len(history.histograms("h")) <= 256
    assert history.histograms("h")[-1]["counts"] == [4999]


def test_what_cannot_be_read_is_counted_and_the_rest_is_there(tmp_path: Path) -> None:
    history = written(
        tmp_path,
        run_line(),
        b"{torn\n",
        b"[1]\n",
        line(type="commit", seq=1, step="one", values={"a": 1.0}),
        line(type="sample", table=3),
        line(type="process_values", step=1, processes=[0], values={"t": ["x"]}),
        line(type="of a later version", x=1),
        commit(2, 2, a=2.0) + b'{"type":"commit","seq":3',
    )
    assert history.unreadable == Unreadable(torn=2, odd=2)
    assert history.series("a").values.tolist() == [2.0]


def test_what_is_no_run_is_an_error_that_helps(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no directory"):
        History(tmp_path / "none")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "metrics.jsonl").touch()
    with pytest.raises(RunDirectoryError, match="it has runs: one"):
        History(tmp_path)
    with pytest.raises(JournalError, match="format 9"):
        written(tmp_path, run_line(format=9))


def test_keys_of_one_distribution_are_found() -> None:
    keys = ["a/x", "a/x/p05", "a/x/p99.9", "a/y/mean", "a/y/std", "a/z/max", "a/pass", "a"]
    assert bands(keys) == {
        "a/x": {"mean": "a/x", "p05": "a/x/p05", "p99.9": "a/x/p99.9"},
        "a/y": {"mean": "a/y/mean", "std": "a/y/std"},
    }


def test_it_may_begin_near_the_end(tmp_path: Path) -> None:
    """With the run line that stands before, wherever the tail begins, and then follows as ever."""
    lines = [run_line(), *(commit(n, n, a=float(n)) for n in range(1, 200))]
    lines += [run_line((1, 0, None), (2, 150, 199), name="second"), line(type="event", event="x", attempt=2)]
    lines += [commit(n + 60, n, 2, a=float(n)) for n in range(150, 400)]
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"".join(lines))
    size = file.stat().st_size
    for tail in (*range(1, 400, 7), 5000, size // 2, size - 1, size, size + 1):
        history = History(tmp_path, tail=tail)
        history.update()
        series = history.series("a")
        assert series.values.tolist() == series.steps.tolist()
        assert history.begins_at + history.read == size
        assert not history.unreadable
        if tail < size:
            assert size - tail <= history.begins_at <= size - tail + max(map(len, lines))
        if history.begins_at > len(b"".join(lines[:202])):
            assert [record.get("name") for record in history.runs] == ["second"]
    history = History(tmp_path, tail=1000)
    history.update()
    with open(file, "ab") as out:
        out.write(commit(999, 400, 2, a=400.0))
    assert history.update()
    assert history.last_step == 400


def test_the_tail_of_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    lines = [run_line(format=9), *(commit(n, n, a=float(n)) for n in range(1, 200))]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match="format 9"):
        History(tmp_path, tail=500).update()


def test_steps_are_those_of_the_commits_that_count(tmp_path: Path) -> None:
    history = written(
        tmp_path,
        run_line((1, 0, None), (2, 2, 3)),
        *(commit(n, n, a=1.0) for n in range(1, 4)),
        commit(5, 2, 2, a=1.0),
        commit(6, 2, 2, a=1.0),
    )
    steps, times = history.steps()
    assert (steps.tolist(), times.tolist()) == ([1, 2], [1001.0, 1005.0])


@pytest.mark.parametrize("last", [4, 7], ids=["all of it", "an older checkpoint"])
def test_one_more_commit_of_a_checkpoints_last_step_goes_over_nothing(tmp_path: Path, last: int) -> None:
    """In views and tables, as in sinks: an evaluation of the restored state belongs to its step."""
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in run.steps(last + 1):
            run.commit(step, {"loss": float(step)})
            if step == 4:
                state = run.state_dict()
    more: dict[str, Any] = {"sinks": [], "naming": "off", "resume": "must"}
    with sl.start(tmp_path, name="run", state_dict=state, **more) as run:
        run.commit(4, {"eval/loss": 1.0})
        run.commit(5, {"loss": 50.0})
    for tail in (None, 700):
        history = History(run.dir, tail=tail)
        history.update()
        assert history.starts[-1].first_step == 5
        assert history.series("loss").values.tolist()[-1] == 50.0
    history = History(run.dir)
    history.update()
    assert history.series("loss").values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 50.0]
    table = metrics_table(run.dir)
    names = [column.name for column in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in table.rows()]
    assert [row["loss"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0, 50.0]
    assert rows[4]["eval/loss"] == 1.0


def test_an_attempt_that_says_in_an_event_that_it_went_back_has(tmp_path: Path) -> None:
    """Also to the very step before the one that it announced; for one who reads the end alone, too."""
    lines = [
        run_line(), *(commit(n, n, a=1.0) for n in range(1, 100)), run_line((1, 0, None), (2, 100, 99)),
        line(type="event", event="rewound", attempt=2, step=99, starts=[[1, 0, None], [2, 99, 99]]),
        *(commit(n, n, 2, a=2.0) for n in range(99, 200)),
    ]  # fmt: skip
    assert written(tmp_path, *lines).gone_over("a").steps.tolist() == [99]
    assert metrics_table(tmp_path).columns
    assert [row[2] for row in metrics_table(tmp_path).rows()].count(2) == 101
    tail = History(tmp_path, tail=500)
    tail.update()
    assert tail.starts[-1].first_step == 99


def test_an_attempt_that_began_lower_than_it_knew_has_gone_over_steps(
    tmp_path: Path,
) -> None:
    """A start without the checkpoint's state, and a loop with ``start``: the first commit tells."""
    for start in (0, 3):
        with sl.start(tmp_path, name="run", sinks=[], naming="off", resume="allow") as run:
            for step in run.steps(start + 4, start=start):
                sl.scalar(loss=float(10 * start + step))
                run.commit(step)
    history = History(tmp_path / "run")
    history.update()
    assert [(each.attempt, each.first_step) for each in history.starts] == [(1, 0), (2, 3)]
    assert history.series("loss").steps.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert history.gone_over("loss").steps.tolist() == [3]


@pytest.mark.parametrize(
    "odd",
    [
        {"time": "abc"}, {"time": [1]}, {"attempt": "two"}, {"attempt": 2**63}, {"step": True},
        {"step": 2**63},
        {"nonfinite": {"a": "odd"}}, {"nonfinite": 3}, {"missing": 1}, {"missing": ["x"]}, {"texts": "no"},
    ],
    ids=str,
)  # fmt: skip
def test_a_commit_with_odd_fields_counts_as_far_as_it_is_sound(tmp_path: Path, odd: dict[str, Any]) -> None:
    """Whatever somebody has written there; without a step it is none. Sinks and tables have it so, too."""
    fields = {"type": "commit", "seq": 2, "step": 1, "attempt": 1, "time": 2.0, "values": {"a": 7.0}}
    history = written(
        tmp_path, run_line(), commit(1, 0, a=1.0), line(**{**fields, **odd}), commit(3, 2, a=3.0)
    )
    kept = [1.0, 3.0] if "step" in odd else [1.0, 7.0, 3.0]
    assert history.unreadable == Unreadable(odd=1)
    assert history.series("a").values.tolist() == kept
    table = metrics_table(tmp_path)
    assert table.unreadable == Unreadable(odd=1)
    assert [row[-1] for row in table.rows()] == kept


def test_odd_lines_of_other_types_do_no_harm(tmp_path: Path) -> None:
    """Values of processes without numbers, a table without a count, a run without processes."""
    history = written(
        tmp_path,
        run_line(processes="two"),
        commit(1, 0, a=1.0),
        line(type="process_values", step=0, processes=["x"], values={"a": [1.0]}),
        line(type="process_values", step=0, processes=[0], values={"a": 1.0, "b": [2.0]}),
        line(type="sample", step=0, table="t", rows=[{"a": 1}], recorded="many"),
    )
    assert (history.processes, history.process_keys, history.samples["t"].recorded) == (1, ["b"], 1)


def test_who_is_out_is_known_until_it_is_heard_of(tmp_path: Path) -> None:
    """Only the first commit without a process names it."""

    def of(seq: int, reported: int, **more: object) -> bytes:
        return line(type="commit", seq=seq, step=seq, attempt=1, time=1.0, values={}, expected=3,
                    reported=reported, **more)  # fmt: skip

    lines = [run_line(processes=3), of(1, 3), of(2, 1, missing=[1, 2]), of(3, 1)]
    history = written(tmp_path, *lines)
    assert (history.out, history.reported) == ({1: 2, 2: 2}, (1, 3))
    own = line(type="process_values", step=4, processes=[0, 2], values={"a": [1.0, 2.0]})
    lines += [of(4, 2), own]
    assert written(tmp_path, *lines).out == {1: 2}
    assert written(tmp_path, *lines, line(type="late", process=1, step=2)).out == {}
    assert written(tmp_path, *lines, of(5, 3)).out == {}
    assert written(tmp_path, *lines, run_line((1, 0, None), (2, 3, 4), processes=3)).out == {}


@pytest.mark.parametrize(
    "odd",
    [{"processes": "two"}, {"processes": 1 << 40}, {"started": "noon"}, {"attempt": 1.5}, {"starts": 3}],
    ids=str,
)
def test_a_run_line_with_odd_fields_is_damaged(tmp_path: Path, odd: dict[str, Any]) -> None:
    """For a view that reads all of the journal, or its end, and for how the run stands."""
    lines = [run_line(**odd), *(commit(n, n, a=1.0) for n in range(1, 100))]
    history = written(tmp_path, *lines)
    assert history.unreadable == Unreadable(odd=1)
    assert (history.runs, history.processes, history.commits) == ([], 1, 99)
    tail = History(tmp_path, tail=500)
    tail.update()
    assert (tail.runs, tail.last_step) == ([], 99)
    state = state_of(tmp_path)
    assert (state.last_step, state.processes, state.started) == (99, 0, None)


def test_events_come_without_fields_of_other_kinds(tmp_path: Path) -> None:
    odd = {"event": "stall", "time": 1e300, "step": [1], "waiting_for": [1, "x"], "key": 3}
    history = written(tmp_path, run_line(), line(type="event", **odd), line(type="late", process=[1], step=2))
    assert history.events == [{"type": "event", "event": "stall", "waiting_for": [1], "key": 3}]
    assert history.late == [{"type": "late", "step": 2}]


def test_rows_of_samples_have_the_step_of_their_line(tmp_path: Path) -> None:
    """Whatever stands in them; a line without one is damaged."""
    rows = [{"step": [1], "a": 1}, "x"]
    history = written(
        tmp_path,
        run_line(),
        line(type="sample", step=3, table="t", rows=rows),
        line(type="sample", step=[3], table="t", rows=rows),
    )
    assert (history.samples["t"].rows, history.unreadable.odd) == ([{"step": 3, "a": 1}], 2)


def test_a_hole_is_passed_over_counted_and_not_read(tmp_path: Path) -> None:
    history = written(tmp_path, run_line(), commit(1, 1, loss=1.0), b'{"type"')
    put_hole(history.path, b"}\n", commit(7, 7, loss=7.0), commit(8, 8, loss=8.0))
    begin = read_bytes()
    while history.update(limit=100):
        pass
    assert history.series("loss").values.tolist() == [1.0, 7.0, 8.0]
    assert (history.unreadable, history.unread) == (Unreadable(torn=1, zeros=HOLE), 0)
    put_hole(history.path)
    assert not history.update()
    assert not history.update()
    assert history.unreadable == Unreadable(torn=1, zeros=2 * HOLE)
    assert metrics_table(tmp_path).unreadable == history.unreadable
    assert read_bytes() - begin < BOUND


def test_a_view_of_the_end_counts_no_hole_as_part_of_it(tmp_path: Path) -> None:
    lines = [run_line(), *(commit(seq, seq, loss=float(seq)) for seq in range(1, 1000))]
    path = written(tmp_path, *lines).path
    put_hole(path, b"\n", commit(1000, 1000, loss=1000.0))
    put_hole(path)
    begin = read_bytes()
    history = History(tmp_path, tail=20_000)
    history.update()
    steps = history.series("loss").steps.tolist()
    assert steps[-2:] == [999, 1000]
    assert 50 < len(steps) < 500
    assert len(history.runs) == 1
    assert read_bytes() - begin < BOUND


def test_damaged_starts_are_left_out_and_counted(tmp_path: Path) -> None:
    """The attempts that a run line tells of."""
    history = written(
        tmp_path, run_line(starts=[[1, 0, None], ["2", 3, 4], [2, 5, 9]]), commit(1, 1, loss=1.0)
    )
    assert [start.attempt for start in history.starts] == [1, 2]
    assert history.unreadable == Unreadable(odd=1)
