"""Processes whose clocks are wrong are on one time, and arrows between them go forwards."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from sightline.support.clock import RoundTrip, offset_of
from sightline.timeline.events import Span
from sightline.timeline.merging import Timeline, merge
from tests.timeline.conftest import Merged
from tests.timeline.live import EPOCH, Live

S = 1_000_000_000
LENGTH_S = 1500


def right(true: int) -> int:
    return true


def wrong(true: int) -> int:
    """250 ms ahead, and 50 ppm too fast."""
    return true + 250_000_000 + true * 50 // 1_000_000


def job(folder: Path, *, quickest_ns: int = 20_000) -> tuple[Path, Path]:
    """Half an hour of a root and of a process on another host, whose time of day is minutes off too.

    Both have a span at the same true moment each second; and an arrow goes from the root to the other each
    time, 10 µs later.
    """
    rng = random.Random(3)
    root = Live(folder / "host0", 0, processes=2, host="a", base_ns=right(0))
    other = Live(folder / "host1", 1, processes=2, host="b", base_ns=wrong(0), ahead_ns=123 * S)
    for second in range(LENGTH_S):
        true = second * S
        for live, clock in ((root, right), (other, wrong)):
            at = clock(true) - live.base_ns
            live.span("together", at / 1000, 100)
            if second % 10 == 0:
                live.clock(at, EPOCH + true + (123 * S if clock is wrong else 0) + rng.randrange(-500, 500))
        root.add(
            ph="s", id=hex(second + 1), cat="flow", name="flow", tid=1, ts=(right(true) - root.base_ns) / 1000
        )
        arrives = (wrong(true + 10_000) - other.base_ns) / 1000
        other.add(ph="f", bp="e", id=hex(second + 1), cat="flow", name="flow", tid=1, ts=arrives)
    compare(other, rng, LENGTH_S, quickest_ns, 150_000)
    return root.write(), other.write()


def compare(other: Live, rng: random.Random, length_s: int, quickest_ns: int, tail_ns: int) -> None:
    """After 0, 5, 15, 35 … s, by ways that are quick and slow at random."""
    at, pause = S // 2, 5 * S
    while at < length_s * S:
        trips = []
        for i in range(16):
            sent = at + i * 3_000_000
            there, back = (quickest_ns + round(rng.expovariate(1 / tail_ns)) for _ in range(2))
            trips.append(
                RoundTrip(sent, wrong(sent + there), wrong(sent + there + 5000), sent + there + 5000 + back)
            )
        offset, uncertainty, moment = offset_of(trips)
        other.sync(moment - other.base_ns, offset, uncertainty, EPOCH + moment + offset)
        at, pause = at + pause, min(2 * pause, 600 * S)


def together(timeline: Timeline) -> list[list[int]]:
    """Where each process's spans are that truly were at whole seconds, as ns off."""
    starts: list[list[int]] = [[] for _ in timeline.traces]
    for i, event in timeline.events():
        if isinstance(event, Span):
            starts[i].append(event.start - EPOCH - len(starts[i]) * S)
    return starts


def test_two_hosts_are_aligned_within_a_millisecond_and_within_what_is_stated(tmp_path: Path) -> None:
    timeline = Timeline(job(tmp_path))
    root, other = together(timeline)
    apart = [abs(a - b) for a, b in zip(root, other, strict=True)]
    assert len(apart) == LENGTH_S
    assert max(apart) < 1_000_000
    stated = timeline.clocks[1].uncertainty_ns
    assert stated is not None
    assert max(apart) <= stated
    assert max(map(abs, root)) < 2_000  # and the root is where its own time of day is
    assert timeline.report.clocks == f"aligned with process 0 within {stated / 1e6:.3g} ms"


@pytest.mark.parametrize("length_s", [4, 14, 34, 1200])
@pytest.mark.parametrize(("quickest_ns", "tail_ns"), [(20_000, 150_000), (200_000, 1_500_000)])
def test_no_moment_is_further_off_than_is_stated(
    tmp_path: Path, length_s: int, quickest_ns: int, tail_ns: int
) -> None:
    """In each run; also beyond the last comparison, where the slope of the line is not known well."""
    for seed in range(8):
        rng = random.Random(seed)
        root = Live(tmp_path / f"{seed}/host0", 0, processes=2, host="a", base_ns=right(0))
        other = Live(tmp_path / f"{seed}/host1", 1, processes=2, host="b", base_ns=wrong(0))
        for second in range(0, length_s + 1, max(1, length_s // 50)):
            for live, clock in ((root, right), (other, wrong)):
                live.span("together", (clock(second * S) - live.base_ns) / 1000, 100)
        compare(other, rng, length_s, quickest_ns, tail_ns)
        timeline = Timeline([root.write(), other.write()])
        starts: list[list[int]] = [[], []]
        for i, event in timeline.events():
            if isinstance(event, Span):
                starts[i].append(event.start)
        stated = timeline.clocks[1].uncertainty_ns
        assert stated is not None
        assert max(abs(a - b) for a, b in zip(*starts, strict=True)) <= stated


def test_a_comparison_that_was_disturbed_moves_nothing(tmp_path: Path) -> None:
    """The answer of the one in the middle took 40 ms, all of them on the way back."""
    root = Live(tmp_path / "run", 0, processes=2).write()
    other = Live(tmp_path / "run", 1, processes=2)
    for i in range(7):
        late = 20_000_000 if i == 3 else 0
        other.sync(i * 100 * S, late, 30_000 + late, EPOCH + i * 100 * S + late)
        other.span("together", i * 100 * 1e6, 1)
    other.write()
    timeline = Timeline([root])
    starts = [event.start - EPOCH for _, event in timeline.events() if isinstance(event, Span)]
    assert max(abs(start - i * 100 * S) for i, start in enumerate(starts)) < 1000
    assert timeline.clocks[1].uncertainty_ns == 30_001  # the last span ends 1 µs after the last comparison


def test_without_the_roots_files_the_time_of_day_is_still_the_roots(tmp_path: Path) -> None:
    _, other = job(tmp_path)
    (off,) = together(Timeline([other]))
    assert max(map(abs, off)) < 1_000_000


def test_without_comparisons_each_goes_by_its_own_time_of_day_and_that_is_said(tmp_path: Path) -> None:
    root = Live(tmp_path / "host0", 0, processes=2, host="a").span("a", 1, 1).write()
    other = Live(tmp_path / "host1", 1, processes=2, host="b", ahead_ns=5 * S).span("b", 1, 1).write()
    timeline = Timeline([root, other])
    assert [[off] for off in (1000, 5 * S + 1000)] == together(timeline)
    assert "1 process went by the time of day of the host" in timeline.report.problems[0]


@pytest.mark.parametrize("kind", ["json", "pftrace"])
def test_no_arrow_is_lost_because_clocks_disagree(tmp_path: Path, merged: Merged, kind: str) -> None:
    """The engine drops what arrives before it leaves; 10 µs are less than what clocks leave open."""
    trace, report = merged(*job(tmp_path, quickest_ns=200_000), kind=kind)
    assert trace.counts().flows == LENGTH_S
    backwards = trace.column(
        "select count(*) from flow join slice o on o.id = slice_out join slice i on i.id = slice_in"
        " where i.ts + i.dur < o.ts"
    )
    assert backwards == [0]
    assert report.problems == []


def test_an_arrow_that_truly_runs_backwards_is_left_as_it_is(tmp_path: Path) -> None:
    """Its two ends have changed places in the program: that is no matter of clocks."""
    root = Live(tmp_path / "run", 0, processes=2)
    root.add(ph="s", id="0x1", cat="flow", name="flow", tid=1, ts=900_000).span(
        "late", 890_000, 20_000
    ).write()
    other = Live(tmp_path / "run", 1, processes=2)
    other.add(ph="f", id="0x1", cat="flow", name="flow", tid=1, ts=5).span("early", 1, 20)
    ends = [
        (event.name, (each.at - EPOCH) // 1000)
        for _, event in Timeline([other.write()]).events()
        if isinstance(event, Span)
        for each in event.flows
    ]
    assert ends == [("late", 900_000), ("early", 5)]


def test_a_drift_does_not_make_neighbours_overlap(tmp_path: Path, merged: Merged) -> None:
    """Rounding to ns on another clock keeps what was within something within it."""
    live = Live(tmp_path / "run", 1, base_ns=7)
    live.sync(1, 250_000_003, 10, EPOCH).sync(3 * S, 250_100_011, 10, EPOCH + 3 * S + 100_008)
    rng = random.Random(1)
    at = 1000
    for _ in range(3000):
        length = rng.randrange(2, 5000)
        middle = rng.randrange(1, length)
        live.span("a", at / 1000, middle / 1000).span("b", (at + middle) / 1000, (length - middle) / 1000)
        live.span("around", at / 1000, length / 1000)
        at += length
    trace, _ = merged(live.write())
    assert trace.column("select count(*) from slice group by depth order by depth") == [3000, 6000]


def test_a_merge_does_not_hold_what_it_merges(tmp_path: Path) -> None:
    def peak(spans: int) -> int:
        live = Live(tmp_path / str(spans))
        for i in range(spans):
            live.data += b'{"ph":"X","name":"a","pid":1,"tid":1,"ts":%d,"dur":5,"args":{"n":%d}},\n' % (
                10 * i,
                i,
            )
        run = live.write()
        tracemalloc.start()
        merge([run], run / "out.json.gz")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    first = peak(5_000)
    assert peak(50_000) < first + 500_000  # of 3.5 MB
