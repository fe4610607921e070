"""What Perfetto's engine makes of small traces: the rules that our trace files rely on.

Seen in the engine of its user interface v52. A test that fails after an upgrade says which rule has changed.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.perfetto import Engine, Refused, Trace


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def live(*events: dict[str, Any] | bytes) -> bytes:
    """A file as a process leaves it that was killed: an array that nobody has closed."""
    lines = (e if isinstance(e, bytes) else orjson.dumps(e) for e in events)
    return b"[\n" + b"".join(line + b",\n" for line in lines)


def event(ph: str, name: str, ts: float, *, pid: int = 1, tid: int = 2, **more: Any) -> dict[str, Any]:
    return {"ph": ph, "name": name, "cat": "c", "ts": ts, "pid": pid, "tid": tid, **more}


def span(name: str, ts: float, dur: float, **more: Any) -> dict[str, Any]:
    return event("X", name, ts, dur=dur, **more)


def exact(name: str, ts_ns: int, dur_ns: int, tid: int = 2) -> bytes:
    """A span with nanoseconds, as microseconds with three decimals."""
    ts, dur = (f"{ns // 1000}.{ns % 1000:03d}" for ns in (ts_ns, dur_ns))
    return f'{{"ph":"X","name":"{name}","ts":{ts},"dur":{dur},"pid":1,"tid":{tid}}}'.encode()


def meta(name: str, /, *, pid: int = 1, tid: int = 2, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}


def archive(files: dict[str, bytes], format: int = tarfile.GNU_FORMAT, mtime: float = 0) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime  # type: ignore[assignment]
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def spans(trace: Trace) -> list[tuple[str, int, int, int]]:
    """Name, begin, duration (ns) and depth of each."""
    rows = trace.query("select name, ts, dur, depth from slice order by ts, depth")
    return [(r["name"], r["ts"], r["dur"], r["depth"]) for r in rows]


def flows(trace: Trace) -> list[tuple[str, str]]:
    rows = trace.query(
        "select a.name as begin, b.name as end from flow"
        " join slice a on a.id = slice_out join slice b on b.id = slice_in order by a.ts, b.ts"
    )
    return [(r["begin"], r["end"]) for r in rows]


A, B = span("a", 10, 10, pid=1), span("b", 30, 10, pid=2)


class TestHelper:
    def test_a_refused_file_raises_the_engines_message_and_the_engine_goes_on(self, engine: Engine) -> None:
        for data in (b"[", b"[\n", b"[]", b"hello"):
            with pytest.raises(Refused, match="Unknown trace type"):
                engine.load(data)
        assert engine.load(live(A)).counts() == (1, 0, 0, 1, 1)

    def test_a_wrong_query_raises(self, engine: Engine) -> None:
        with pytest.raises(Refused, match="no such column: missing"):
            engine.load(live(A)).query("select missing from slice")

    def test_answers_have_all_types_and_many_batches(self, engine: Engine) -> None:
        trace = engine.load(live(A))
        assert trace.query("select null as n, -1 as i, 1.5 as f, 'é' as s, x'00ff' as b") == [
            {"n": None, "i": -1, "f": 1.5, "s": "é", "b": b"\x00\xff"}
        ]
        count = "with recursive n(i) as (select 0 union all select i + 1 from n where i < 99999)"
        assert trace.column(f"{count} select i from n") == list(range(100_000))
        assert trace.query("select name from slice where 0") == []

    def test_a_trace_ends_when_the_next_is_loaded(self, engine: Engine) -> None:
        first = engine.load(live(A))
        engine.load(live(B))
        with pytest.raises(AssertionError, match="another trace"):
            first.query("select 1")

    def test_a_trace_may_be_larger_than_one_request(self, engine: Engine) -> None:
        trace = engine.load(live(*(span("s", i, 1, args={"s": "x" * 4_000_000}) for i in range(9))))
        assert trace.counts().slices == 9
        assert trace.errors() == {}

    def test_an_engine_that_has_died_is_an_error(self) -> None:
        with Engine() as engine:
            engine._process.kill()
            engine._process.wait()
            with pytest.raises(RuntimeError, match="the engine has ended"):
                engine.load(live(A))


class TestLiveFiles:
    def test_an_unclosed_array_loads_with_all_whole_events_wherever_it_is_cut(self, engine: Engine) -> None:
        whole = live(A, B)
        second = whole.index(b"\n", 2) + 1
        for end in (len(whole), len(whole) - 1, len(whole) - 2):
            assert engine.load(whole[:end]).counts().slices == 2
        for end in range(second, len(whole) - 2, 7):
            trace = engine.load(whole[:end])
            assert (trace.counts().slices, trace.errors()) == (1, {})

    def test_a_file_that_goes_on_after_a_torn_line_is_refused(self, engine: Engine) -> None:
        for torn in (live(A) + b'{"ph":"X","na\n' + live(B)[2:], live(A) + live(B)):
            with pytest.raises(Refused, match="Failure parsing JSON"):
                engine.load(torn)

    def test_lines_without_an_array_load_as_nothing(self, engine: Engine) -> None:
        assert engine.load(live(A, B)[2:].replace(b",\n", b"\n")).counts().slices == 0

    def test_unknown_metadata_is_ignored_without_an_error(self, engine: Engine) -> None:
        header = meta("sightline", pid=1, tid=1, run="r", clock={"perf": [1, 2]}, nothing=None)
        no_process = {"ph": "M", "name": "sightline", "args": {"run": "r"}}
        for line in (header, no_process):
            trace = engine.load(live(line, A))
            assert (trace.counts().slices, trace.errors()) == (1, {})
        trace = engine.load(live(header))  # alone it is a trace, which `[` is not
        assert (trace.counts().slices, trace.errors()) == (0, {})

    def test_an_event_without_a_phase_is_an_error(self, engine: Engine) -> None:
        assert engine.load(live({"sightline": 1}, A)).errors() == {"json_tokenizer_failure": 1}


class TestSpans:
    def test_an_unended_span_holds_its_children_and_has_no_duration(self, engine: Engine) -> None:
        trace = engine.load(live(event("B", "o", 10), span("x", 12, 3), span("y", 20, 5)))
        assert spans(trace) == [("o", 10_000, -1, 0), ("x", 12_000, 3_000, 1), ("y", 20_000, 5_000, 1)]
        assert trace.errors() == {}

    def test_the_order_in_the_file_does_not_matter_where_begins_differ(self, engine: Engine) -> None:
        trace = engine.load(live(span("x", 12, 3), event("B", "o", 10), event("E", "o", 30)))
        assert spans(trace) == [("o", 10_000, 20_000, 0), ("x", 12_000, 3_000, 1)]
        trace = engine.load(live(span("x", 12, 3), span("o", 10, 20)))
        assert spans(trace) == [("o", 10_000, 20_000, 0), ("x", 12_000, 3_000, 1)]

    def test_an_end_of_another_name_leaves_the_span_open_in_silence(self, engine: Engine) -> None:
        trace = engine.load(live(event("B", "o", 1), event("E", "other", 10)))
        assert (spans(trace), trace.errors()) == ([("o", 1_000, -1, 0)], {})

    def test_a_child_may_end_with_its_parent_to_the_nanosecond(self, engine: Engine) -> None:
        lines = exact("p", 10_001, 5_003), exact("c", 12_002, 3_002)
        for ordered in (lines, lines[::-1]):
            trace = engine.load(live(*ordered))
            assert spans(trace) == [("p", 10_001, 5_003, 0), ("c", 12_002, 3_002, 1)]
            assert trace.errors() == {}

    def test_a_span_that_outlasts_its_parent_by_a_nanosecond_is_dropped(self, engine: Engine) -> None:
        trace = engine.load(live(exact("p", 10_001, 5_003), exact("c", 12_002, 3_003)))
        assert spans(trace) == [("p", 10_001, 5_003, 0)]
        assert trace.errors() == {"slice_drop_overlapping_complete_event": 1}

    def test_of_spans_that_begin_together_the_longer_holds_the_other(self, engine: Engine) -> None:
        lines = exact("p", 10_001, 5_003), exact("c", 10_001, 3_000)
        for ordered in (lines, lines[::-1]):
            assert spans(engine.load(live(*ordered))) == [("p", 10_001, 5_003, 0), ("c", 10_001, 3_000, 1)]

    def test_an_open_span_is_put_inside_a_whole_one_that_begins_with_it(self, engine: Engine) -> None:
        lines = event("B", "open", 10), span("whole", 10, 5)
        for ordered in (lines, lines[::-1]):
            trace = engine.load(live(*ordered))
            assert spans(trace) == [("whole", 10_000, 5_000, 0), ("open", 10_000, -1, 1)]
            assert trace.errors() == {}

    def test_a_negative_time_or_a_missing_duration_costs_the_event(self, engine: Engine) -> None:
        trace = engine.load(live(span("a", -5, 1), B))
        assert (len(spans(trace)), trace.errors()) == (1, {"trace_sorter_negative_timestamp_dropped": 1})
        trace = engine.load(live(event("X", "a", 5), B))
        assert (len(spans(trace)), trace.errors()) == (1, {"json_parser_failure": 1})

    def test_nanoseconds_past_52_bits_which_are_52_days_may_be_rounded(self, engine: Engine) -> None:
        assert spans(engine.load(live(exact("s", 2**52 - 1, 1)))) == [("s", 2**52 - 1, 1, 0)]
        assert spans(engine.load(live(exact("s", 2**53 - 1, 1)))) == [("s", 2**53 - 2, 1, 0)]

    def test_nanoseconds_are_exact_from_zero_to_months(self, engine: Engine) -> None:
        month = 30 * 86_400 * 10**9
        times = [0, 1, 999, 12_345_678, *(step * month // 7 + 10**6 + step for step in range(1, 8))]
        trace = engine.load(live(*(exact("s", ts, ts % 997 + 1, tid) for tid, ts in enumerate(times, 3))))
        assert [(ts, dur) for _, ts, dur, _ in spans(trace)] == [(ts, ts % 997 + 1) for ts in times]


class TestFlows:
    @pytest.mark.parametrize("id", [7, 2**53 + 1, "0x7", "0xffffffffffffffff", "abc"])
    def test_bind_ids_tie_spans_of_any_process(self, engine: Engine, id: int | str) -> None:
        trace = engine.load(live(A | {"bind_id": id, "flow_out": True}, B | {"bind_id": id, "flow_in": True}))
        assert (flows(trace), trace.errors()) == ([("a", "b")], {})

    def test_bind_ids_are_64_bits_wide(self, engine: Engine) -> None:
        trace = engine.load(
            live(A | {"bind_id": 2**53, "flow_out": True}, B | {"bind_id": 2**53 + 1, "flow_in": True})
        )
        assert flows(trace) == []

    def test_bind_ids_work_on_begins_and_on_async_spans(self, engine: Engine) -> None:
        out, into = {"bind_id": 7, "flow_out": True}, {"bind_id": 7, "flow_in": True}
        for begin in (event("B", "a", 10, **out), event("b", "a", 10, id="s", **out)):
            for end in (event("B", "b", 30, pid=2, **into), event("b", "b", 30, pid=2, id="t", **into)):
                trace = engine.load(live(begin, end))
                assert (flows(trace), trace.errors()) == ([("a", "b")], {})

    def test_bind_ids_on_instants_tie_nothing(self, engine: Engine) -> None:
        out, into = {"bind_id": 7, "flow_out": True}, {"bind_id": 7, "flow_in": True}
        assert flows(engine.load(live(event("i", "a", 10, **out), event("i", "b", 30, **into)))) == []

    def test_a_bind_id_goes_on_from_span_to_span_and_fans_out(self, engine: Engine) -> None:
        c = span("c", 50, 5, pid=3, bind_id=7, flow_in=True)
        a, b = A | {"bind_id": 7, "flow_out": True}, B | {"bind_id": 7, "flow_in": True}
        assert flows(engine.load(live(a, b, c))) == [("a", "b"), ("a", "c")]
        assert flows(engine.load(live(a, b | {"flow_out": True}, c))) == [("a", "b"), ("b", "c")]

    def test_two_sources_of_one_bind_id_are_an_error(self, engine: Engine) -> None:
        out = {"bind_id": 7, "flow_out": True}
        trace = engine.load(live(A | out, B | out, span("c", 50, 5, bind_id=7, flow_in=True)))
        assert trace.errors() == {"flow_duplicate_id": 1}

    def test_a_flow_backwards_in_time_is_lost_in_silence(self, engine: Engine) -> None:
        bound = live(A | {"bind_id": 7, "flow_in": True}, B | {"bind_id": 7, "flow_out": True})
        legacy = live(A, B, event("s", "f", 32, pid=2, id=7), event("f", "f", 12, id=7, bp="e"))
        for data in (bound, legacy):
            trace = engine.load(data)
            assert (flows(trace), trace.errors()) == ([], {})

    def test_flow_events_tie_the_spans_around_them_and_a_span_may_have_several(self, engine: Engine) -> None:
        c = span("c", 50, 5, pid=3)
        starts = [event("s", "f", 10, id=7), event("s", "f", 20, id=8)]  # begin and end belong to the span
        ends = [event("f", "f", 30, pid=2, id=7, bp="e"), event("f", "f", 52, pid=3, id=8, bp="e")]
        for data in (live(A, B, c, *starts, *ends), live(*ends, *starts, c, B, A)):
            trace = engine.load(data)
            assert (flows(trace), trace.errors()) == ([("a", "b"), ("a", "c")], {})

    def test_flow_events_without_a_span_around_or_with_an_odd_id_are_errors(self, engine: Engine) -> None:
        end = event("f", "f", 32, pid=2, id=7, bp="e")
        assert engine.load(live(A, B, event("s", "f", 5, id=7), end)).errors() == {
            "flow_no_enclosing_slice": 1
        }
        in_async = live(event("b", "x", 1, id="s"), event("s", "f", 5, id=7), B, end)
        assert engine.load(in_async).errors() == {"flow_no_enclosing_slice": 1}
        for odd in ("p1-7", 2**64 - 1, 1.5):
            data = live(A, B, event("s", "f", 12, id=odd), end | {"id": odd})
            assert engine.load(data).errors() == {"flow_invalid_id": 2}


class TestAsyncSpans:
    def test_spans_of_one_id_nest_on_a_track_named_after_the_first(self, engine: Engine) -> None:
        trace = engine.load(
            live(
                event("b", "session", 10, id="s1"),
                event("b", "generate", 12, id="s1"),
                event("n", "token", 13, id="s1"),
                event("e", "generate", 15, id="s1"),
                event("e", "session", 20, id="s1"),
            )
        )
        assert spans(trace) == [
            ("session", 10_000, 10_000, 0),
            ("generate", 12_000, 3_000, 1),
            ("token", 13_000, 0, 2),
        ]
        assert trace.column("select name from track") == ["session"]
        assert trace.errors() == {}

    def test_overlapping_ids_get_lanes_that_later_ones_use_again(self, engine: Engine) -> None:
        times = {"s1": (10, 20), "s2": (12, 25), "s3": (14, 30), "s4": (50, 60)}
        events = [
            event(ph, "s", ts, id=i) for i, pair in times.items() for ph, ts in zip("be", pair, strict=True)
        ]
        trace = engine.load(live(*events))
        assert trace.column("select track_id from slice order by ts") == [0, 1, 2, 0]
        assert trace.column("select name from track") == ["s", "s", "s"]

    def test_two_of_one_id_and_name_that_overlap_are_taken_for_nested(self, engine: Engine) -> None:
        events = [("b", 10), ("b", 12), ("e", 20), ("e", 25)]
        trace = engine.load(live(*(event(ph, "s", ts, id="s1") for ph, ts in events)))
        assert spans(trace) == [("s", 10_000, 15_000, 0), ("s", 12_000, 8_000, 1)]
        assert trace.errors() == {}

    def test_two_names_of_one_id_that_overlap_are_an_error(self, engine: Engine) -> None:
        events = [("b", "x", 10), ("b", "y", 12), ("e", "x", 20), ("e", "y", 25)]
        trace = engine.load(live(*(event(ph, name, ts, id="s1") for ph, name, ts in events)))
        assert trace.errors() == {"misplaced_end_event": 1}

    def test_an_unended_one_has_no_duration_and_an_end_alone_is_ignored(self, engine: Engine) -> None:
        trace = engine.load(live(event("b", "s", 10, id="s1"), event("e", "other", 12, id="s2")))
        assert (spans(trace), trace.errors()) == ([("s", 10_000, -1, 0)], {})

    def test_at_one_time_an_end_must_be_written_before_the_next_begin(self, engine: Engine) -> None:
        x = event("b", "x", 10, id="s1"), event("e", "x", 12, id="s1")
        y = event("b", "y", 12, id="s1"), event("e", "y", 14, id="s1")
        trace = engine.load(live(*x, *y))
        assert (spans(trace), trace.errors()) == ([("x", 10_000, 2_000, 0), ("y", 12_000, 2_000, 0)], {})
        assert engine.load(live(x[0], y[0], x[1], y[1])).errors() == {"misplaced_end_event": 1}

    def test_ids_are_global_over_processes_but_local_ones_belong_to_theirs(self, engine: Engine) -> None:
        def two(**id: Any) -> list[tuple[str, int]]:
            events = [("b", "s", 10, 1), ("b", "t", 12, 2), ("e", "t", 14, 2), ("e", "s", 20, 1)]
            trace = engine.load(live(*(event(ph, n, ts, pid=p, **id) for ph, n, ts, p in events)))
            rows = trace.query(
                "select t.type as type, s.depth as depth from slice s"
                " join track t on t.id = s.track_id order by s.ts"
            )
            return [(r["type"], r["depth"]) for r in rows]

        shared = [("legacy_async_global_slice", 0), ("legacy_async_global_slice", 1)]
        assert two(id="s1") == two(id2={"global": "s1"}) == shared
        assert two(id2={"local": "s1"}) == [("legacy_async_process_slice", 0)] * 2

    def test_the_end_may_come_from_another_process_and_add_arguments(self, engine: Engine) -> None:
        begin = event("b", "s", 10, id="s1", args={"a": 1})
        trace = engine.load(live(begin, event("e", "s", 20, pid=2, tid=9, id="s1", args={"status": "ok"})))
        assert spans(trace) == [("s", 10_000, 10_000, 0)]
        assert trace.args("s") == {"args.a": 1, "args.status": "ok"}


class TestCountersInstantsArguments:
    def test_each_series_of_a_counter_is_a_track(self, engine: Engine) -> None:
        trace = engine.load(
            live(
                event("C", "mem", 10, args={"used": 1, "free": 2.5}),
                event("C", "mem", 20, id="d1", args={"used": "3"}),
            )
        )
        rows = trace.query(
            "select t.name as name, c.value as value from counter c join track t on t.id = c.track_id"
        )
        assert {(r["name"], r["value"]) for r in rows} == {
            ("mem used", 1.0),
            ("mem free", 2.5),
            ("mem id: d1 used", 3.0),
        }

    @pytest.mark.parametrize("value", [None, True, [1], "x"])
    def test_a_counter_that_is_no_number_is_an_error(self, engine: Engine, value: Any) -> None:
        trace = engine.load(live(event("C", "m", 10, args={"v": value}), event("C", "m", 12, args={"v": 8})))
        assert trace.counts().counters == 1
        assert trace.errors() == {"json_parser_failure": 1}

    def test_the_scope_of_an_instant_chooses_its_track(self, engine: Engine) -> None:
        for scope, track in (
            ("t", "thread_execution"),
            ("p", "chrome_process_instant"),
            ("g", "legacy_chrome_global_instants"),
        ):
            trace = engine.load(live(event("i", "x", 10, s=scope)))
            assert spans(trace) == [("x", 10_000, 0, 0)]
            assert trace.column("select type from track") == [track]

    def test_arguments_are_flattened_and_null_and_empty_ones_left_out(self, engine: Engine) -> None:
        args = {
            "d": {"x": 1, "y": {"z": "q"}},
            "none": None,
            "empty": {},
            "true": True,
            "f": 1.5,
            "i": 2**53 + 1,
        }
        trace = engine.load(live(A | {"args": args}))
        expected = {"args.d.x": 1, "args.d.y.z": "q", "args.true": 1, "args.f": 1.5, "args.i": 2**53 + 1}
        assert trace.args("a") == expected

    def test_integers_past_64_bits_with_sign_are_wrong_in_silence(self, engine: Engine) -> None:
        trace = engine.load(live(A | {"args": {"i": 2**63}}))
        assert (trace.args("a"), trace.errors()) == ({"args.i": -(2.0**63)}, {})

    def test_text_must_be_utf8_since_escapes_stay_as_they_are_written(self, engine: Engine) -> None:
        raw, escaped, lone = (
            b'{"ph":"X","name":"a","ts":1,"dur":2,"pid":1,"tid":2,"args":{"s":"%s"}}' % text
            for text in ("é😀".encode(), rb"\u00e9", rb"x\ud800y")
        )
        for line, text in ((raw, "é😀"), (escaped, r"\u00e9"), (lone, r"x\ud800y")):
            trace = engine.load(live(line))
            assert (trace.args("a"), trace.errors()) == ({"args.s": text}, {})

    def test_a_nan_among_the_arguments_costs_them_all_in_silence(self, engine: Engine) -> None:
        line = b'{"ph":"X","name":"a","ts":1,"dur":2,"pid":1,"tid":2,"args":{"s":NaN,"q":1}}'
        trace = engine.load(live(line, B))
        assert (trace.counts().slices, trace.args("a"), trace.errors()) == (2, {}, {})

    def test_an_empty_name_is_shown_as_such(self, engine: Engine) -> None:
        assert [name for name, *_ in spans(engine.load(live(span("", 1, 2))))] == ["[No name]"]


class TestNames:
    def test_process_and_thread_names_are_read_and_the_last_one_counts(self, engine: Engine) -> None:
        names = [meta(f"{kind}_name", name=name) for kind in ("process", "thread") for name in ("one", "two")]
        trace = engine.load(live(A, *names))
        assert trace.column("select name from process where pid = 1") == ["two"]
        assert trace.column("select name from thread where tid = 2") == ["two"]

    def test_other_metadata_leaves_nothing_that_could_be_asked_for(self, engine: Engine) -> None:
        with_them = engine.load(
            live(
                meta("process_labels", labels="rank 0"),
                meta("process_sort_index", sort_index=5),
                meta("thread_sort_index", sort_index=7),
                A,
            )
        )
        assert with_them.errors() == {}
        assert with_them.column("select count(*) from args where display_value in ('rank 0', '5', '7')") == [
            0
        ]

    def test_pids_have_32_bits_and_thread_0_is_the_main_thread(self, engine: Engine) -> None:
        trace = engine.load(
            live(
                span("large", 1, 2, pid=2**32 - 1, tid=2**32 - 1),
                span("over", 1, 2, pid=2**32, tid=2**32 + 5),
                span("zero", 1, 2, pid=3, tid=0),
            )
        )
        rows = trace.query(
            "select s.name as name, pid, tid from slice s join thread_track t on t.id = s.track_id"
            " join thread using (utid) join process using (upid) order by s.id"
        )
        assert [tuple(r.values()) for r in rows] == [
            ("large", 2**32 - 1, 2**32 - 1),
            ("over", 0, 0),
            ("zero", 3, 3),
        ]


class TestArchives:
    A = live(meta("process_name", name="A"), span("a", 10, 5))
    B = live(meta("process_name", name="B", pid=2), span("b", 20, 5, pid=2))

    def test_gnu_and_ustar_archives_load_with_all_their_files(self, engine: Engine) -> None:
        files = {"run/0/a.json": self.A, "run/1/b.json": self.B}
        for format in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
            for data in (archive(files, format), gzip.compress(archive(files, format))):
                trace = engine.load(data)
                assert (trace.counts(), trace.errors()) == ((2, 0, 0, 2, 2), {})

    def test_an_archive_with_headers_in_pax_format_is_refused(self, engine: Engine) -> None:
        with pytest.raises(Refused, match="Unsupported file type: 0x78"):
            engine.load(archive({"a.json": self.A}, tarfile.PAX_FORMAT, mtime=1.5))

    def test_a_gzip_loads_whole_and_is_refused_cut(self, engine: Engine) -> None:
        data = gzip.compress(live(*(span(str(i), i * 10, 5) for i in range(2000))))
        assert engine.load(data).counts().slices == 2000
        with pytest.raises(Refused, match="GZIP stream incomplete"):
            engine.load(data[:-50])

    def test_one_pid_in_two_files_becomes_one_process(self, engine: Engine) -> None:
        again = live(meta("process_name", name="B"), span("b", 12, 2))
        trace = engine.load(archive({"a.json": self.A, "b.json": again}))
        assert trace.column("select name from process where pid != 0") == ["B"]
        assert trace.counts().slices == 2

    def test_flows_and_async_ids_do_not_reach_from_file_to_file(self, engine: Engine) -> None:
        a = live(A | {"bind_id": 7, "flow_out": True}, event("s", "f", 12, id=8), event("b", "s", 10, id="s"))
        b = live(B | {"bind_id": 7, "flow_in": True}, event("f", "f", 32, pid=2, id=8, bp="e"))
        trace = engine.load(archive({"a.json": a, "b.json": b}))
        assert (trace.counts().flows, trace.errors()) == (0, {})

    def test_a_foreign_or_empty_member_has_the_whole_archive_refused(self, engine: Engine) -> None:
        for foreign in (b"hello world", b"[\n"):
            with pytest.raises(Refused, match="Unknown trace type"):
                engine.load(archive({"a.json": self.A, "foreign": foreign}))

    def test_a_manifest_is_let_pass_but_its_offsets_are_not_applied(self, engine: Engine) -> None:
        manifest = {
            "perfetto_manifest": {
                "files": [
                    {"path": "a.json", "machine": {"name": "h0"}, "clocks": {"offset_ns": 0}},
                    {"path": "b.json", "machine": {"name": "h1"}, "clocks": {"offset_ns": 1_000_000}},
                ]
            }
        }
        files = {"perfetto_manifest.json": orjson.dumps(manifest), "a.json": self.A, "b.json": self.B}
        trace = engine.load(archive(files))
        assert spans(trace) == [("a", 10_000, 5_000, 0), ("b", 20_000, 5_000, 0)]
        assert trace.errors() == {}
