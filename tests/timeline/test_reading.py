"""Whatever has happened to a trace file, what is whole in it is read, and each span once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.timeline.events import Flow, Instant, Span
from sightline.timeline.merging import Format, Timeline, merge
from tests.holes import BOUND, put_hole, read_bytes
from tests.perfetto import Engine
from tests.timeline.conftest import Merged
from tests.timeline.live import EPOCH, Live

FORMATS: tuple[Format, ...] = ("json", "pftrace")
DEEP: dict[str, Any] = {}
for _ in range(300):  # orjson reads that, and cannot write it
    DEEP = {"a": DEEP}


def spans(timeline: Timeline) -> list[tuple[str, int, int, bool]]:
    """Names, starts and ends in µs from ``EPOCH``, and whether they never ended."""
    return [
        (e.name, (e.start - EPOCH) // 1000, (e.end - EPOCH) // 1000, "unfinished" in e.args)
        for _, e in timeline.events()
        if isinstance(e, Span)
    ]


def test_times_and_arguments_are_as_they_were_to_the_nanosecond(tmp_path: Path) -> None:
    args = {"step": 3, "deep": {"list": [1, 2.5, None, True, "text"]}}
    run = Live(tmp_path).span("a", 12.345, 0.001, args=args, cat="io").write()
    (span,) = [event for _, event in Timeline([run]).events() if isinstance(event, Span)]
    assert span == Span("a", EPOCH + 12_345, EPOCH + 12_346, 1, None, "io", args)


@pytest.mark.parametrize(
    ("damage", "torn", "is_cut"),
    [
        (b'{"ph":"X","name":"lost","pid":1,"ti', 0, True),
        (
            b'{"ph":"X","name":"lost","pid":1,"ti{"ph":"X","name":"lost","pid":1,"tid":1,"ts":1,"dur":1},\n',
            1,
            False,
        ),
        (b"\0" * 5000, 0, False),
        (b"\0" * 5000 + b"\n", 0, False),
        (b'"a string",\n[1, 2],\n17,\n', 3, False),
        (
            b'{"ph":"X","name":"no times","tid":1},\n{"ph":"X","name":"bad","tid":1,"ts":"1","dur":{}},\n',
            2,
            False,
        ),
        (b'{"ph":"i","name":"sightline: events dropped","tid":1,"ts":1},\n', 1, False),
        (b"\xff\xfe\x00garbage\n", 0, False),
        (b"]\n", 0, False),
    ],
    ids=["cut", "torn", "NULs at the end", "NULs", "no events", "no times", "no args", "binary", "closed"],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_what_is_whole_in_a_damaged_file_is_read(
    tmp_path: Path, damage: bytes, torn: int, is_cut: bool, is_last: bool
) -> None:
    live = Live(tmp_path).span("before", 1, 1)
    if is_last:
        live.raw(damage)
    else:
        live.raw(damage).raw(b"\n").span("after", 3, 1)
    run = live.write()
    timeline = Timeline([run])
    assert [name for name, *_ in spans(timeline)] == ["before", "after"][: 1 if is_last else 2]
    (found,) = timeline.traces[0].damage.values()
    if is_cut and not is_last:
        torn, is_cut = 1, False
    assert (found.torn, found.is_cut) == (torn, is_cut)
    assert len(timeline.report.problems) == (1 if torn or b"\0" in damage else 0)


@pytest.mark.parametrize(
    "event",
    [
        {"name": 5}, {"name": None}, {"name": ["a"]}, {"tid": "1"}, {"tid": 1.5}, {"tid": [1]}, {"cat": 3},
        {"args": [1]}, {"args": "text"}, {"ts": 1e300}, {"dur": 1e300}, {"ts": None}, {"ts": [1]},
        {"dur": "1"},
        {"ph": "b"}, {"ph": "b", "id": 5}, {"ph": "b", "id2": 5}, {"ph": "s"}, {"ph": "s", "id": 7},
        {"ph": "s", "id": "0xq"}, {"ph": "f", "id": "1", "lane": 3}, {"ph": ["X"], "ts": 1e300},
        {"ph": ["X"]}, {"ts": True}, {"dur": False}, {"args": DEEP}, {"ph": "s", "id": "-0x5"},
        {"ph": "f", "id": "0x10000000000000000"}, {"ph": "M", "name": "thread_name"},
        {"ph": "i", "name": "sightline: events dropped", "args": {"dropped": "many"}},
    ],
    ids=lambda each: str(each)[:50],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["json", "jsonl", "pftrace", "tar"])
def test_json_that_is_no_event_of_ours_stops_no_writer(
    tmp_path: Path, engine: Engine, event: dict[str, Any], kind: Format
) -> None:
    odd = {"ph": "X", "name": "odd", "tid": 1, "ts": 5, "dur": 1, **event}
    run = Live(tmp_path / "run").span("before", 1, 1).add(**odd).span("after", 9, 1).write()
    report = merge([run], tmp_path / "out", kind)
    assert "1 torn line" in report.problems[0]
    if kind != "tar":
        assert report.events["spans"] == 2
    if kind != "jsonl":
        trace = engine.load(tmp_path / "out")
        assert (trace.counts().slices, trace.errors()) == (2, {})


def test_odd_values_are_made_such_as_every_viewer_takes(tmp_path: Path, merged: Merged) -> None:
    live = (
        Live(tmp_path / "run").span("a", -5, -1, args={"a": None, "": 2**63, "b": {"": [{}]}}).span("", 2, 0)
    )
    live.add(ph="C", name="c", ts=3, args={"x": "nan", "y": 2, "z": True}).add(
        ph="i", name="i", ts=3, s="what"
    )
    live.add(ph="C", name="none", ts=3, args={"x": True}).add(ph="C", name="nothing", ts=3, args={})
    for kind in (*FORMATS, "tar"):
        trace, report = merged(live.write(), kind=kind)
        assert trace.counts()[:3] == (3, 0, 1)
        assert report.problems == []


def test_a_file_that_was_just_made_is_no_problem(tmp_path: Path) -> None:
    run = Live(tmp_path / "run").span("a", 1, 1).write()
    (run / "traces" / "p00000.a01.0001.json").write_bytes(b"")
    (run / "traces" / "p00001.a01.0000.json").write_bytes(b'[\n{"ph":"M","name":"sightline","pid":2,"ti')
    timeline = Timeline([run])
    assert [name for name, *_ in spans(timeline)] == ["a"]
    assert timeline.report.problems == []
    assert ["holds nothing yet" in note for note in timeline.report.notes] == [True, True]


def test_a_line_longer_than_memory_should_hold_costs_itself_only(tmp_path: Path) -> None:
    long = b'{"ph":"X","name":"' + b"x" * (40 << 20) + b'","pid":1,"tid":1,"ts":1,"dur":1},\n'
    run = Live(tmp_path).span("before", 1, 1).raw(long).span("after", 3, 1).write()
    assert [name for name, *_ in spans(Timeline([run]))] == ["before", "after"]


def test_a_begun_span_and_its_end_are_one(tmp_path: Path) -> None:
    run = (
        Live(tmp_path)
        .add(ph="B", name="step", tid=1, ts=10, args={"step": 1})
        .span("inner", 11, 2)
        .add(ph="E", name="step", tid=1, ts=20, args={"tokens": 5})
        .write()
    )
    assert spans(Timeline([run])) == [("inner", 11, 13, False), ("step", 10, 20, False)]
    (step,) = [e for _, e in Timeline([run]).events() if isinstance(e, Span) and e.name == "step"]
    assert step.args == {"step": 1, "tokens": 5}


@pytest.mark.parametrize("again", [True, False], ids=["begun again", "written whole"])
@pytest.mark.parametrize("lane", [True, False])
def test_a_span_that_goes_on_in_the_next_segment_is_one(tmp_path: Path, again: bool, lane: bool) -> None:
    begin, end, where = ("b", "e", {"cat": "lane", "id": "0x100000001"}) if lane else ("B", "E", {})
    Live(tmp_path).add(ph=begin, name="epoch", tid=1, ts=10, **where).write()
    second = Live(tmp_path, segment=1)
    if again or lane:
        second.add(ph=begin, name="epoch", tid=1, ts=10, **where).add(
            ph=end, name="epoch", tid=1, ts=30, **where
        )
    else:
        second.span("epoch", 10, 20)
    run = second.write()
    assert spans(Timeline([run])) == [("epoch", 10, 30, False)]


def test_what_never_ended_ends_with_what_is_around_it_or_with_the_file(tmp_path: Path) -> None:
    run = (
        Live(tmp_path)
        .add(ph="B", name="run", tid=1, ts=1)
        .add(ph="B", name="lost end", tid=1, ts=5)
        .span("inner", 6, 1)
        .span("outer", 4, 10)
        .span("last", 20, 5)
        .write()
    )
    assert spans(Timeline([run])) == [
        ("inner", 6, 7, False),
        ("lost end", 5, 14, True),
        ("outer", 4, 14, False),
        ("last", 20, 25, False),
        ("run", 1, 25, True),
    ]


def test_an_end_without_its_beginning_is_told(tmp_path: Path) -> None:
    run = Live(tmp_path).add(ph="E", name="a", tid=1, ts=10).span("b", 20, 1).write()
    timeline = Timeline([run])
    assert spans(timeline) == [("b", 20, 21, False)]
    assert "1 end of spans that have no beginning" in timeline.report.problems[0]


def test_two_spans_of_one_name_in_one_lane_end_the_inner_one_first(tmp_path: Path) -> None:
    where: dict[str, Any] = {"cat": "lane", "id": "0x100000001", "name": "task", "tid": 1}
    live = Live(tmp_path).add(ph="b", ts=10, **where)
    live.add(ph="b", ts=12, **where).add(ph="e", ts=14, **where).add(ph="e", ts=20, **where)
    assert spans(Timeline([live.write()])) == [("task", 12, 14, False), ("task", 10, 20, False)]


def test_arrows_belong_to_the_innermost_span_around_them(tmp_path: Path) -> None:
    live = Live(tmp_path)
    for phase, ts in (("s", 12), ("f", 16), ("s", 50)):
        live.add(ph=phase, cat="flow", name="flow", id="0x7", tid=1, ts=ts)
    live.span("inner", 11, 2).span("outer", 10, 10)
    events = [event for _, event in Timeline([live.write()]).events()]
    ends = {
        e.name: [(f.is_out, (f.at - EPOCH) // 1000) for f in e.flows] for e in events if isinstance(e, Span)
    }
    assert ends == {"inner": [(True, 12)], "outer": [(False, 16)]}
    assert [(e.end.at - EPOCH) // 1000 for e in events if isinstance(e, Flow)] == [50]


def test_dropped_events_are_told_and_stay_in_the_trace(tmp_path: Path) -> None:
    live = Live(tmp_path).add(
        ph="i", name="sightline: events dropped", tid=0, ts=5, s="p", args={"dropped": 7}
    )
    timeline = Timeline([live.write()])
    assert [e.name for _, e in timeline.events() if isinstance(e, Instant)] == ["sightline: events dropped"]
    assert "could not write 7 events" in timeline.report.problems[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"traceEvents":[{"ph":"X","name":"x","pid":1,"tid":1,"ts":1,"dur":1}]}', "no header"),
        (b"\x1f\x8b\x08binary", "no header"),
        (b'[\n{"ph":"M","name":"sightline","args":{"run_id":"r"}},\n', "lacks format, run"),
        (
            b'[\n{"ph":"M","name":"sightline","args":{"format":9,"run_id":"r","attempt":1,"process":0,"base_ns":0,'
            b'"perf_counter_ns":0,"time_ns":0}},\n',
            "format 9",
        ),
    ],
    ids=["Chrome's", "binary", "half a header", "newer"],
)
def test_a_foreign_file_is_named_and_the_rest_is_read(tmp_path: Path, content: bytes, why: str) -> None:
    run = Live(tmp_path).span("a", 1, 1).write()
    (run / "traces" / "foreign.json").write_bytes(content)
    timeline = Timeline([run])
    assert [name for name, *_ in spans(timeline)] == ["a"]
    (problem,) = timeline.report.problems
    assert "foreign.json" in problem
    assert why in problem


def test_what_is_not_here_is_said(tmp_path: Path) -> None:
    run = Live(tmp_path, 3, processes=16, segment=2).span("a", 1, 1).write()
    timeline = Timeline([run])
    list(timeline.events())
    (missing,), (gone,) = timeline.report.missing, timeline.report.problems
    assert "files of 1 of 16 processes are here, without processes 0-2, 4-15" in missing
    assert "2 segments of this process gone" in gone


def test_directories_of_the_hosts_of_one_run_are_one_run(tmp_path: Path) -> None:
    first = Live(tmp_path / "host0", 0, processes=2).span("a", 1, 1).write()
    second = Live(tmp_path / "host1", 1, processes=2).span("b", 1, 1).write()
    timeline = Timeline([first, second])
    assert [(trace.run, trace.process) for trace in timeline.traces] == [(0, 0), (0, 1)]
    assert timeline.report.problems == []


def test_two_directories_with_the_same_process_are_not_mixed(tmp_path: Path) -> None:
    """As when a run without a shared disk gave every host the number 0."""
    first = Live(tmp_path / "host0", 0, base_ns=5).span("a", 1, 1).write()
    second = Live(tmp_path / "host1", 0, base_ns=9).span("b", 1, 1).write()
    timeline = Timeline([first, second])
    assert [name for name, *_ in spans(timeline)] == ["a"]
    assert "another process of the same number" in timeline.report.problems[0]


def test_a_directory_without_traces_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(sl.RunDirectoryError, match="has no traces"):
        Timeline([tmp_path])
    run = Live(tmp_path).write()
    with pytest.raises(sl.RunDirectoryError, match="given twice"):
        Timeline([run, run])
    (run / "traces").joinpath("p00000.a01.0000.json").write_bytes(b"?\n")
    with pytest.raises(sl.RunDirectoryError, match="no trace file of 1 can be read"):
        Timeline([run])


@pytest.mark.parametrize("kind", ["json", "tar"])
def test_a_hole_is_passed_over_and_told(tmp_path: Path, kind: Format, merged: Merged) -> None:
    """What lies behind it is in the timeline, and in every file that is made of it."""
    live = Live(tmp_path / "run").span("before", 1, 1)
    run = live.write()
    live.data.clear()
    put_hole(live.path, b"\n", bytes(live.span("behind", 3, 1).data))
    begin = read_bytes()
    timeline = Timeline([run])
    assert [name for name, *_ in spans(timeline)] == ["before", "behind"]
    assert "4.29 GB of zeros, as a crash of a machine leaves them" in timeline.report.problems[0]
    trace, _ = merged(run, kind=kind)
    assert set(trace.column("select name from slice")) >= {"before", "behind"}
    assert read_bytes() - begin < 4 * BOUND


def test_a_counter_without_a_number_is_no_counter(tmp_path: Path) -> None:
    """It is neither written nor counted as one that is drawn."""
    live = Live(tmp_path).span("a", 1, 1)
    live.add(ph="C", name="queue", ts=1, args={"value": 3})
    live.add(ph="C", name="queue", ts=2, args={})
    run = live.add(ph="C", name="queue", ts=3, args={"value": "x"}).write()
    assert merge([run], tmp_path / "out.json").events == {"spans": 1, "counters": 1}
    assert (tmp_path / "out.json").read_text().count('"ph":"C"') == 1
