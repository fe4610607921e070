"""Perfetto's engine finds in a merged trace what the processes recorded, no more and no less."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.timeline.events import Counter, Instant
from sightline.timeline.merging import Format, Timeline, merge
from tests.perfetto import Engine
from tests.timeline.conftest import Merged
from tests.timeline.live import EPOCH, Live

FORMATS: tuple[Format, ...] = ("json", "pftrace")
LANE: dict[str, Any] = {"cat": "lane", "id": "0x200000001", "tid": 1}


def full(run_dir: Path, *, run_id: str = "run", attempt: int = 1) -> Path:
    """Two processes: nested spans, lanes, an arrow from the first to the second, counters, instants."""
    first = Live(run_dir, 0, processes=2, run_id=run_id, attempt=attempt)
    first.add(ph="s", cat="flow", name="flow", id="0x77", tid=1, ts=12)
    first.span("inner", 11, 5, args={"n": 1}).span("outer", 10, 10, cat="compute")
    first.add(ph="C", name="queue", ts=13, args={"waiting": 3, "running": 8})
    first.add(ph="i", name="mark", tid=1, ts=14, s="t").span("other", 11, 1, tid=2)
    first.write()
    second = Live(run_dir, 1, processes=2, run_id=run_id, attempt=attempt)
    second.add(ph="f", bp="e", cat="flow", name="flow", id="0x77", tid=1, ts=31)
    second.span("receive", 30, 5)
    second.add(ph="i", name="flow", tid=1, ts=41, s="t", lane="0x200000001")
    second.add(ph="s", cat="flow", name="flow", id="0x78", tid=1, ts=41, lane="0x200000001")
    second.add(ph="b", name="task", ts=40, **LANE).add(ph="e", name="task", ts=50, **LANE)
    second.add(ph="f", bp="e", cat="flow", name="flow", id="0x78", tid=1, ts=61).span("last", 60, 2)
    return second.write()


@pytest.mark.parametrize("kind", FORMATS)
def test_everything_is_there_with_its_times_and_names(tmp_path: Path, merged: Merged, kind: Format) -> None:
    trace, report = merged(full(tmp_path / "run"), kind=kind)
    slices = trace.query("select name, ts, dur, depth from slice where name != 'flow' order by ts, depth")
    zero = min(row["ts"] for row in slices) - 10_000
    shown = [(row["name"], row["ts"] - zero, row["dur"], row["depth"]) for row in slices]
    assert sorted(shown) == sorted(
        [
            ("outer", 10_000, 10_000, 0), ("inner", 11_000, 5_000, 1), ("other", 11_000, 1_000, 0),
            ("mark", 14_000, 0, 2), ("receive", 30_000, 5_000, 0), ("task", 40_000, 10_000, 0),
            ("last", 60_000, 2_000, 0),
        ]
    )  # fmt: skip
    counts = trace.counts()
    assert (counts.flows, counts.counters, counts.processes) == (2, 2, 2)
    assert report.events == {"spans": 6, "instants": 1, "counters": 1, "flow ends": 4}
    assert report.problems == []
    assert trace.args("inner")["debug.n" if kind == "pftrace" else "args.n"] == 1
    names = trace.column("select name from process where pid != 0 order by pid")
    assert names == ["process 0 · host", "process 1 · host"]
    arrows = trace.query(
        "select o.name as a, i.name as b from flow"
        " join slice o on o.id = slice_out join slice i on i.id = slice_in"
    )
    if kind == "json":
        assert {(row["a"], row["b"]) for row in arrows} == {("inner", "receive"), ("flow", "last")}


@pytest.mark.parametrize("kind", FORMATS)
def test_attempts_and_runs_are_never_taken_for_each_other(
    tmp_path: Path, merged: Merged, kind: Format
) -> None:
    """All have the same numbers of processes, threads, lanes and arrows."""
    full(tmp_path / "a", run_id="a")
    full(tmp_path / "a", run_id="a", attempt=2)
    full(tmp_path / "b", run_id="b")
    trace, report = merged(tmp_path / "a", tmp_path / "b", kind=kind)
    counts = trace.counts()
    assert (counts.flows, counts.counters, counts.processes, counts.threads) == (6, 6, 6, 9)
    assert report.events["spans"] == 18
    depths = trace.query(
        "select name, count(*) as n, max(depth) as depth, max(dur) as dur from slice group by name"
    )
    assert {row["name"]: (row["n"], row["depth"]) for row in depths if row["name"] in ("outer", "task")} == {
        "outer": (3, 0), "task": (3, 0),
    }  # fmt: skip
    names = set(trace.column("select name from process where pid != 0"))
    assert "process 1 · host · attempt 2 · a" in names
    assert "process 0 · host · b" in names
    across = trace.column(
        "select count(*) from flow join slice o on o.id = slice_out join slice i on i.id = slice_in"
        " join thread_track ot on ot.id = o.track_id join thread_track it on it.id = i.track_id"
        " join thread a using (utid) join thread b on b.utid = it.utid where abs(a.tid - b.tid) > 110000"
    )
    assert across == [0] if kind == "json" else True


def test_spans_that_begin_together_are_nested(tmp_path: Path, merged: Merged) -> None:
    """The outer one stands after the inner one in the file, which is in the order of the ends."""
    live = Live(tmp_path / "run").span("inner", 10, 2).span("outer", 10, 5)
    for ts, name in ((12, "inner task"), (15, "outer task")):
        live.add(ph="b", name=name, ts=10, **LANE).add(ph="e", name=name, ts=ts, **LANE)
    run = live.write()
    for kind in FORMATS:
        trace, _ = merged(run, kind=kind)
        depths = dict(
            zip(
                trace.column("select name from slice order by id"),
                trace.column("select depth from slice order by id"),
                strict=True,
            )
        )
        assert depths == {"inner": 1, "outer": 0, "inner task": 1, "outer task": 0}, kind


def test_ten_days_apart_a_nanosecond_is_a_nanosecond(tmp_path: Path, merged: Merged) -> None:
    day = 86_400 * 1_000_000
    run = Live(tmp_path / "run").span("first", 1, 1).span("late", 10 * day, 0.001).write()
    trace, _ = merged(run)
    assert trace.column("select dur from slice where name = 'late'") == [1]


def test_metrics_of_the_journal_are_curves(tmp_path: Path, merged: Merged) -> None:
    with sl.start(tmp_path, name="run", sinks=[], naming="off") as run:
        for step in run.steps(3):
            with sl.scope("train"):
                sl.scalar(loss=step / 2, other=float("nan") if step else 1.0)
            run.commit(step)
    trace, report = merged(tmp_path / "run")
    values = trace.query(
        "select t.name, c.value from counter c join counter_track t on t.id = c.track_id order by c.ts"
    )
    assert [(row["name"].split()[0], row["value"]) for row in values] == [
        ("train/loss", x / 2) for x in range(3)
    ]
    assert "metrics" in trace.column("select name from process")
    assert report.events["counters"] == 3
    trace, report = merged(tmp_path / "run", metrics=["train/other", "train/none"])
    assert trace.column("select value from counter") == [1.0]
    assert report.problems == ["--metric train/none: no commit has it"]


def test_what_has_more_events_than_trace_files_may_add_them(tmp_path: Path, merged: Merged) -> None:
    run = Live(tmp_path / "run").span("a", 1, 1).write()

    def source(timeline: Timeline) -> list[Any]:
        clock = timeline.clocks[0]
        added = Instant("added", clock.at(2000), 1, "t", "session", {})
        return [(0, added), (0, Counter("n", clock.of(1), {"value": 1}))]

    trace, report = merged(run, sources=[source])
    assert trace.column("select name from slice order by ts") == ["a", "added"]
    assert report.events["counters"] == 1


def test_the_archive_holds_the_files_and_says_how_they_belong_together(
    tmp_path: Path, merged: Merged
) -> None:
    run = full(tmp_path / "run")
    trace, _ = merged(run, kind="tar")
    assert trace.counts()[:3] == (8, 1, 2)  # no arrows between members
    with tarfile.open(tmp_path / "out.tar") as archive:
        manifest, *members = archive.getmembers()
        assert {each.name for each in members} == {path.name for path in run.glob("traces/*")}
        for each in members:
            file = archive.extractfile(each)
            assert file is not None
            assert file.read() == (run / "traces" / each.name).read_bytes()
        file = archive.extractfile(manifest)
        assert file is not None
        text = file.read()
    assert text.startswith(b'{"perfetto_manifest"')  # by which Perfetto knows it
    told = json.loads(text)["perfetto_manifest"]
    assert told["version"] == 1
    assert [each["machine"]["name"] for each in told["files"]] == ["host", "host"]


def test_the_archive_moves_later_files_later(tmp_path: Path) -> None:
    Live(tmp_path / "run", 0, processes=2, ahead_ns=250_000_000).span("a", 1, 1).write()
    run = Live(tmp_path / "run", 1, processes=2).span("b", 1, 1).write()
    merge([run], tmp_path / "out.tar", "tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        file = archive.extractfile("perfetto_manifest.json")
        assert file is not None
        first, second = json.loads(file.read())["perfetto_manifest"]["files"]
    assert first["clocks"] == {"sync_to": {"file": second["path"]}, "offset_ns": 250_000_000}
    assert "clocks" not in second


def test_the_archive_has_a_task_once_that_ended_in_the_next_segment(tmp_path: Path, merged: Merged) -> None:
    """While it is open its thread is not known, and it is written whole where it ends."""
    where = {"cat": "lane", "id2": {"local": "0x100000001"}, "name": "task", "ts": 10}
    Live(tmp_path / "run").add(ph="b", tid=0, **where).write()
    second = Live(tmp_path / "run", segment=1).add(ph="b", tid=1, **where)
    run = second.add(ph="e", tid=1, **{**where, "ts": 20}).write()
    trace, _ = merged(run, kind="tar")
    assert trace.column("select name from slice") == ["task"]


def test_a_torn_file_does_not_fail_the_archive(tmp_path: Path, merged: Merged) -> None:
    Live(tmp_path / "run").span("a", 1, 1).raw(b'{"ph":"X","na{"ph"\n').add(
        ph="B", name="long", tid=1, ts=3
    ).write()
    second = Live(tmp_path / "run", segment=1).add(ph="B", name="long", tid=1, ts=3)
    run = second.add(ph="E", name="long", tid=1, ts=9).raw(b'{"ph":"X"').write()
    trace, report = merged(run, kind="tar")
    assert trace.query("select name, dur from slice order by ts") == [
        {"name": "a", "dur": 1000},
        {"name": "long", "dur": 6000},
    ]
    assert "1 torn line" in report.problems[0]


def test_times_since_the_epoch_a_line_an_event(tmp_path: Path) -> None:
    run = full(tmp_path / "run")
    merge([run], tmp_path / "traces.jsonl", "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "traces.jsonl").read_bytes().splitlines()]
    spans = {line["name"]: line for line in lines if line["ph"] == "X"}
    assert spans.keys() == {"inner", "outer", "other", "receive", "task", "last"}
    outer = spans["outer"]
    assert (outer["ts"], outer["dur"], outer["cat"]) == (EPOCH / 1000 + 10, 10.0, "compute")
    assert {line["pid"] for line in lines} == {100_001, 200_001}


def test_lines_of_lanes_nest_and_have_the_rank_that_areals_tools_number_by(
    tmp_path: Path, engine: Engine
) -> None:
    """Tasks that overlap on one thread are on numbers of their own; as they stand, and without metadata."""
    for process in range(2):
        live = Live(tmp_path / "run", process, processes=2)
        live.span("thread", 1.1, 1000.3, args={"rank": "mine", "n": 1}).add(
            ph="i", name="moment", tid=1, ts=5, s="t"
        )
        for lane in range(40):
            begin, end = 10 + lane * 7.3, 500.001 + lane * 5.7
            for name, early, late in (("task", 0, 0), ("inner", 0.001, 0.0005)):
                about = {"name": name, "cat": "lane", "id2": {"local": hex(lane)}, "tid": 1}
                live.add(ph="b", **about, ts=begin + early).add(ph="e", **about, ts=end - late)
        live.write()
    report = merge([tmp_path / "run"], tmp_path / "traces.jsonl", "jsonl")
    assert report.events["spans"] == 2 * 81
    lines = [json.loads(line) for line in (tmp_path / "traces.jsonl").read_bytes().splitlines()]
    for given in (lines, sorted((each for each in lines if each["ph"] != "M"), key=lambda each: each["ts"])):
        trace = engine.load(json.dumps({"traceEvents": given}).encode())
        assert trace.errors() == {}
        assert (trace.counts().slices, trace.counts().threads) == (2 * 82, 2 * 41)
    assert {(each["pid"], each["args"]["rank"]) for each in lines if each["ph"] != "M"} == {
        (100_001, 0), (200_001, 1)
    }  # fmt: skip
    assert next(each["args"] for each in lines if each["name"] == "thread") == {
        "rank_": "mine",
        "n": 1,
        "rank": 0,
    }


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = full(tmp_path / "run")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    for kind in ("json", "jsonl", "pftrace", "tar"):
        out = tmp_path / f"out.{kind}"
        out.write_bytes(b"as it was")
        with monkeypatch.context() as patch:
            patch.setattr("sightline.timeline.merging.Timeline.events", fail)
            patch.setattr("sightline.timeline.archive._join", fail)
            with pytest.raises(KeyboardInterrupt):
                merge([run], out, kind)  # type: ignore[arg-type]
        assert out.read_bytes() == b"as it was"
        assert not list(tmp_path.glob("*.part"))


def test_a_plain_file_is_json_that_anything_reads(tmp_path: Path, engine: Engine) -> None:
    run = full(tmp_path / "run")
    merge([run], tmp_path / "out.json")
    plain = json.loads((tmp_path / "out.json").read_bytes())
    merge([run], tmp_path / "out.json.gz")
    assert plain == json.loads(gzip.decompress((tmp_path / "out.json.gz").read_bytes()))
    assert plain["otherData"]["runs"] == ["run"]
    assert all(event["ts"] >= 0 for event in plain["traceEvents"] if event["ph"] != "M")
