"""Snapshots: merged in any order and grouping they say the same, and their bytes are exact or refused."""

import dataclasses
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.values.key_specs import quantile_name
from sightline.values.snapshot import FORMAT, Rendered, Snapshot

SLOW = settings(deadline=None, max_examples=60)
NUMBER = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([math.nan, math.inf, -math.inf])
RECORD = st.tuples(st.integers(0, 4), st.sampled_from("abc"), NUMBER)  # process, key, value


def snapshot_of(process: int, record: Callable[[sl.StatsTracker], object]) -> Snapshot:
    tracker = sl.StatsTracker()
    record(tracker)
    return tracker.snapshot(process=process)


def scalar(process: int, **kvs: float) -> Snapshot:
    return snapshot_of(process, lambda t: t.scalar(**kvs))


def record_everything(tracker: sl.StatsTracker, key: str, value: float) -> None:
    finite = value if math.isfinite(value) else 0.25
    tracker.scalar(f"scalar/{key}", value)
    tracker.scalar(f"each/{key}", value, per_process=True)
    tracker.summary(
        f"summary/{key}", [value, 1.0], emit=("mean", "std", "min", "max", "sum"), quantiles=(0.5,)
    )
    tracker.histogram(f"histogram/{key}", [value, 1.0], bins=5)
    tracker.total(f"total/{key}", round(finite) * 2**40 + 1)
    tracker.ratio(f"ratio/{key}", round(finite), 1)
    tracker.rate(f"rate/{key}", round(finite))
    tracker.last(f"last/{key}", finite)
    tracker.text(f"text/{key}", str(value))
    tracker._add_timing(f"timing/{key}", 0.5)


def assert_same(one: Rendered, other: Rendered) -> None:
    assert one.counts == other.counts
    assert one.texts == other.texts
    assert one.processes == other.processes
    assert one.histograms == other.histograms
    assert one.nonfinite == other.nonfinite
    assert one.hidden == other.hidden
    assert list(one.values) == list(other.values)
    for key, value in one.values.items():
        assert other.values[key] == pytest.approx(value, rel=1e-9, abs=1e-3, nan_ok=True), key
    assert one.per_process.keys() == other.per_process.keys()
    for key, row in one.per_process.items():
        if not key.startswith("each"):  # of these the later mean of a process stays
            np.testing.assert_allclose(row, other.per_process[key], rtol=1e-9)


# --- merging -----------------------------------------------------------------------------------------------


@SLOW
@given(st.lists(RECORD, min_size=1, max_size=24), st.randoms(use_true_random=False))
def test_any_split_and_grouping_gives_the_same(records: list[tuple[int, str, float]], random: Any) -> None:
    """Records cut into snapshots anywhere, merged n-ary or in random trees, through bytes or not."""
    whole = {process: sl.StatsTracker() for process, _, _ in records}
    pieces: list[Snapshot] = []
    for process, key, value in records:
        record_everything(whole[process], key, value)
        pieces.append(snapshot_of(process, lambda t, key=key, value=value: record_everything(t, key, value)))
    expected = Snapshot.merge([tracker.snapshot(process=p) for p, tracker in whole.items()])
    assert_same(expected.render(wall_s=2.0), Snapshot.merge(pieces).render(wall_s=2.0))
    while len(pieces) > 1:  # neighbours, so that each process's stay in their order
        at = random.randrange(len(pieces) - 1)
        count = random.choice([2, 2, 3])
        merged = Snapshot.merge(pieces[at : at + count])
        pieces[at : at + count] = [
            Snapshot.from_bytes(merged.to_bytes()) if random.random() < 0.5 else merged
        ]
    assert_same(expected.render(wall_s=2.0), pieces[0].render(wall_s=2.0))


@SLOW
@given(
    st.lists(st.tuples(st.sampled_from("ab"), NUMBER), min_size=1, max_size=12), st.permutations(range(12))
)
def test_processes_merge_in_any_order(records: list[tuple[str, float]], order: list[int]) -> None:
    """Snapshots of different processes, shuffled."""
    pieces = [
        snapshot_of(p, lambda t, key=key, value=value: record_everything(t, key, value))
        for p, (key, value) in enumerate(records)
    ]
    shuffled = [pieces[i] for i in order if i < len(pieces)]
    assert_same(Snapshot.merge(pieces).render(), Snapshot.merge(shuffled).render())
    assert_same(Snapshot.merge(pieces).render(), Snapshot.merge(shuffled[::-1]).render())


def test_statistics_over_processes_are_numpys_on_all_the_data() -> None:
    """Uneven shares of a summary, and one process that has none of it."""
    data = np.random.default_rng(0).lognormal(3, 2, 1000)
    shares = np.split(data, [1, 300, 300])
    merged = Snapshot.merge(
        [snapshot_of(p, lambda t, x=share: t.summary("x", x, emit=("mean", "std", "min", "max", "sum")))
         for p, share in enumerate(shares)]
    ).render()  # fmt: skip
    assert merged.counts == {"x__count": 1000}
    expected = {
        "x/max": data.max(),
        "x/mean": data.mean(),
        "x/min": data.min(),
        "x/std": data.std(),
        "x/sum": data.sum(),
    }
    assert merged.values == pytest.approx(expected, rel=1e-12)
    assert merged.values["x/max"] == data.max()


def test_replicated_values_count_once() -> None:
    """Those of the lowest process that recorded the key, also after bytes and in trees."""

    def record(tracker: sl.StatsTracker) -> None:
        tracker.total(tokens=100, replicated=True)
        tracker.ratio("accuracy", 3, 4, replicated=True)
        tracker.rate("tokens", 100, replicated=True)
        tracker.summary("loss", [1.0, 3.0], replicated=True, quantiles=(0.5,), emit=("mean", "count"))

    parts = [Snapshot.empty(0), *(snapshot_of(p, record) for p in (2, 1, 3))]
    tree = Snapshot.merge(
        [Snapshot.merge(parts[:2]), Snapshot.from_bytes(Snapshot.merge(parts[2:]).to_bytes())]
    )
    for merged in (Snapshot.merge(parts), tree):
        rendered = merged.render(wall_s=10.0)
        assert rendered.values["tokens"] == 100
        assert rendered.values["accuracy"] == 0.75
        assert rendered.values["throughput/tokens_per_s"] == 10.0
        assert rendered.values["loss/count"] == 2
        assert rendered.counts == {"loss__count": 2}
        assert merged.sketches[0].counts.sum() == 2


def test_last_and_text_come_from_the_lowest_process_and_are_its_latest() -> None:
    """However the snapshots are grouped, and when that process is late."""
    steps = [
        (1, {"lr": 1.0}), (1, {"lr": 2.0}), (0, {"other": 1.0}),
        (2, {"lr": 9.0}), (1, {"lr": 3.0}), (2, {"lr": 8.0}),
    ]  # fmt: skip

    def both(tracker: sl.StatsTracker, kvs: dict[str, float]) -> None:
        tracker.last(**kvs)
        tracker.text(**{f"t_{key}": str(value) for key, value in kvs.items()})

    parts = [snapshot_of(p, lambda t, kvs=kvs: both(t, kvs)) for p, kvs in steps]
    groupings: list[Sequence[Snapshot]] = [
        parts,
        [parts[0], Snapshot.merge(parts[1:])],
        [Snapshot.merge(parts[:3]), Snapshot.merge(parts[3:])],
        [parts[0], Snapshot.merge([parts[2], parts[1]]), Snapshot.merge(parts[3:5]), parts[5]],
    ]
    for grouping in groupings:
        rendered = Snapshot.merge(grouping).render()
        assert rendered.values["lr"] == 3.0
        assert rendered.texts["t_lr"] == "3.0"


def test_timings_add_up_in_a_process_and_are_compared_over_processes() -> None:
    """Mean over those that recorded it, the longest, and whose it was."""
    seconds = {0: [1.0, 2.0], 3: [5.0], 7: []}
    parts = [Snapshot.empty(p) for p in seconds]
    parts += [snapshot_of(p, lambda t, s=s: t._add_timing("x", s)) for p, row in seconds.items() for s in row]
    rendered = Snapshot.merge(parts).render()
    assert rendered.values == {"time/x_s": 4.0, "time/x_s_max": 5.0, "time/x_s_slowest": 3}
    assert rendered.processes == (0, 3, 7)
    assert rendered.per_process["time/x_s"] == pytest.approx([3.0, 5.0, math.nan], nan_ok=True)


def test_a_scalar_can_show_each_process() -> None:
    """The mean over all records beside the mean of each process, where it asked for it."""
    first = snapshot_of(0, lambda t: t.scalar("loss", 1.0, per_process=True))
    second = snapshot_of(1, lambda t: [t.scalar("loss", x, per_process=True) for x in (2.0, 6.0)])
    rendered = Snapshot.merge([first, second, scalar(2, loss=7.0)]).render()
    assert rendered.values == {"loss": 4.0}
    assert rendered.per_process["loss"] == pytest.approx([1.0, 4.0, math.nan], nan_ok=True)


def test_a_rate_is_over_wall_time_or_over_a_timing() -> None:
    """And is left out while that is unknown or nothing."""

    def record(tracker: sl.StatsTracker) -> None:
        tracker.rate("tokens", 100)
        tracker.rate("samples", 10, over="update")
        tracker._add_timing("update", 2.0)

    rendered = snapshot_of(0, record).render(wall_s=4.0)
    assert rendered.values["throughput/tokens_per_s"] == 25.0
    assert rendered.values["throughput/samples_per_s"] == 5.0
    assert "throughput/tokens_per_s" not in snapshot_of(0, record).render().values
    assert snapshot_of(0, lambda t: t.rate("x", 1, over="y")).render(wall_s=1.0).values == {}


def test_a_ratio_over_nothing_is_left_out() -> None:
    """Rather than an error or a NaN."""
    assert snapshot_of(0, lambda t: t.ratio("x", 1, 0)).render().values == {}


def test_of_two_reductions_the_lowest_processs_is_kept_and_both_sites_are_named() -> None:
    """In whatever order the snapshots come; the data of the others of its kind counts."""
    total = snapshot_of(2, lambda t: t.total(loss=10))
    other = snapshot_of(1, lambda t: t.scalar(loss=1.0))
    more = snapshot_of(5, lambda t: t.scalar(loss=3.0))
    for parts in (
        [total, other, more],
        [more, other, total],
        [other, Snapshot.merge([more, Snapshot.empty(0)]), total],
    ):
        merged = Snapshot.merge(parts)
        assert merged.render().values == {"loss": 2.0}
        [conflict] = merged.conflicts
        assert (conflict.kept_process, conflict.dropped_process) == (1, 2)
        assert "'loss' is a scalar on process 1 (" in str(conflict)
        assert "and a total on process 2 (" in str(conflict)
        assert str(conflict).count("test_snapshot.py:") == 2


def test_the_owner_of_a_key_decides_and_not_the_snapshots_first_process() -> None:
    """A merged snapshot of processes 0 and 5, where only 5 recorded the key, against process 3."""
    merged = Snapshot.merge([Snapshot.empty(0), snapshot_of(5, lambda t: t.total(x=1))])
    result = Snapshot.merge([merged, scalar(3, x=2.0)])
    assert result.render().values == {"x": 2.0}
    assert (result.conflicts[0].kept_process, result.conflicts[0].dropped_process) == (3, 5)


def test_a_histogram_is_over_the_data_of_all_processes() -> None:
    """Its edges, too; a process that has none of it, or nothing finite, takes nothing away."""
    shares = [[2.0, 3.0, 3.0], [], [math.nan, math.inf], [9.0, 7.0, -7.0]]
    parts = [
        snapshot_of(p, lambda t, x=share: t.histogram("x", x, bins=4))  # type: ignore[misc]
        for p, share in enumerate(shares)
    ]
    merged = Snapshot.merge([Snapshot.from_bytes(part.to_bytes()) for part in (*parts, Snapshot.empty(4))])
    rendered = Snapshot.from_bytes(merged.to_bytes()).render()
    assert rendered.histograms == {"x": ([-7.0, -3.0, 1.0, 5.0, 9.0], [1, 0, 3, 2])}
    assert (rendered.values, rendered.counts, rendered.nonfinite) == ({}, {"x__count": 8}, 2)


def test_a_histogram_of_nothing_finite_is_not_shown() -> None:
    """Its count is."""
    for values in ([], [math.nan]):
        rendered = snapshot_of(0, lambda t, x=values: t.histogram("x", x)).render()  # type: ignore[misc]
        assert rendered.histograms == {}
        assert rendered.counts == {"x__count": len(values)}


def test_a_replicated_histogram_counts_once() -> None:
    parts = [snapshot_of(p, lambda t: t.histogram("x", [1.0, 2.0], bins=2, replicated=True)) for p in (0, 1)]
    assert Snapshot.merge(parts).render().histograms == {"x": ([1.0, 1.5, 2.0], [1, 1])}


def test_processes_may_show_a_histogram_differently() -> None:
    """The lowest one's bins, or its quantiles: the sketch beneath is the same."""
    few = snapshot_of(0, lambda t: t.histogram("x", [1.0], bins=2))
    many = snapshot_of(1, lambda t: t.histogram("x", [3.0, 3.0], bins=100))
    median = snapshot_of(2, lambda t: t.summary("x", [3.0], emit=(), quantiles=(0.5,)))
    merged = Snapshot.merge([median, many, few])
    assert merged.conflicts == []
    assert merged.render().histograms == {"x": ([1.0, 2.0, 3.0], [1, 3])}
    assert list(Snapshot.merge([median, few.merge([many])]).render().histograms) == ["x"]


def test_a_histogram_and_a_plain_summary_are_two_reductions() -> None:
    """One of them has no sketch."""
    histogram = snapshot_of(0, lambda t: t.histogram("x", [1.0], bins=3))
    merged = Snapshot.merge([histogram, snapshot_of(1, lambda t: t.summary("x", [2.0]))])
    assert merged.render().histograms["x"][1] == [0, 1, 0]
    (conflict,) = merged.conflicts
    assert "'x' is a histogram(bins=3) on process 0 (" in str(conflict)


def test_a_histogram_that_another_process_made_a_folder_is_left_out_and_named() -> None:
    """A key is no folder, whatever it holds."""
    rendered = Snapshot.merge(
        [snapshot_of(0, lambda t: t.histogram("x", [1.0])), scalar(1, **{"x/y": 2.0})]
    ).render()
    assert (rendered.histograms, rendered.hidden) == ({}, {"x": "x/y"})


@pytest.mark.parametrize(
    "options", [{"replicated": True}, {"quantiles": (0.5,)}], ids=["replicated", "quantiles"]
)
def test_options_that_change_what_a_number_means_are_two_reductions(options: dict[str, Any]) -> None:
    """A median of half of the data, or a value counted once here and twice there, would be wrong."""
    with_options = snapshot_of(0, lambda t: t.summary("x", [1.0], **options))
    without = snapshot_of(1, lambda t: t.summary("x", [2.0, 3.0]))
    merged = Snapshot.merge([with_options, without])
    assert merged.render().values["x/mean"] == 1.0
    assert len(merged.conflicts) == 1
    assert next(iter(options)) in str(merged.conflicts[0])


def test_processes_may_show_a_summary_differently() -> None:
    """The lowest one's choice is shown; the data is everybody's."""
    merged = Snapshot.merge(
        [
            snapshot_of(1, lambda t: t.summary("x", [1.0], emit=("mean",), quantiles=(0.5,))),
            snapshot_of(0, lambda t: t.summary("x", [3.0], emit=("max",), quantiles=(1.0,))),
        ]
    )
    assert merged.conflicts == []
    assert merged.render().values == pytest.approx({"x/max": 3.0, "x/p100": 3.0}, rel=0.01)


def test_a_conflict_survives_further_merging() -> None:
    """What was left out in a first merge is still known after the second."""
    inner = Snapshot.merge([scalar(1, x=1.0), snapshot_of(2, lambda t: t.total(x=1))])
    assert len(Snapshot.merge([scalar(0, y=1.0), inner]).conflicts) == 1


def test_a_key_that_another_process_made_a_folder_is_left_out_and_named() -> None:
    """``loss`` here, ``loss/max`` there: a dashboard cannot show both."""
    rendered = Snapshot.merge([scalar(0, loss=1.0), scalar(1, **{"loss/max": 2.0})]).render()
    assert rendered.values == {"loss/max": 2.0}
    assert rendered.hidden == {"loss": "loss/max"}


def test_different_keys_on_each_process_all_arrive() -> None:
    """Nobody needs the keys of others."""
    parts = [scalar(p, **{f"k{p}": float(p), "both": float(p)}) for p in range(5)]
    assert Snapshot.merge(parts).render().values == {**{f"k{p}": float(p) for p in range(5)}, "both": 2.0}


def test_merging_leaves_its_parts_alone() -> None:
    """They can be merged again, elsewhere."""
    parts = [snapshot_of(p, lambda t: record_everything(t, "a", 1.5)) for p in (0, 1)]
    before = [part.to_bytes() for part in parts]
    Snapshot.merge(parts)
    Snapshot.merge(parts[::-1])
    assert [part.to_bytes() for part in parts] == before


def test_merging_nothing_is_a_mistake() -> None:
    """There is no process that it could be of."""
    with pytest.raises(ValueError, match="needs one snapshot or more"):
        Snapshot.merge([])


def test_nonfinite_records_are_counted_and_shown() -> None:
    """Mean and std show them, min and max are over the rest."""
    rendered = Snapshot.merge(
        [
            snapshot_of(0, lambda t: t.summary("x", [1.0, math.nan, 4.0])),
            snapshot_of(1, lambda t: (t.scalar(y=math.inf), t.last(z=math.nan), t.total(w=-math.inf))),
            snapshot_of(2, lambda t: t.summary("x", [math.inf, -math.inf])),
        ]
    ).render()
    assert rendered.nonfinite == 6
    assert math.isnan(rendered.values["x/mean"])
    assert math.isnan(rendered.values["x/std"])
    assert (rendered.values["x/min"], rendered.values["x/max"]) == (1.0, 4.0)
    assert (rendered.values["y"], rendered.values["w"]) == (math.inf, -math.inf)


def test_nonfinite_records_are_told_apart() -> None:
    """By key and kind; a sum, either part of a ratio and a last value count as one each."""
    snapshot = snapshot_of(
        0,
        lambda t: (
            t.scalar(fine=1.0, a=math.nan),
            t.summary("b", [math.inf, 1.0, -math.inf, math.inf, math.nan]),
            t.total(c=-math.inf, fine_too=1),
            t.ratio("d", math.nan, math.inf),
            t.last(e=math.inf),
        ),
    )
    assert {spec.key: kinds for spec, kinds in snapshot.nonfinite()} == {
        "a": {"nan": 1},
        "b": {"nan": 1, "inf": 2, "-inf": 1},
        "c": {"-inf": 1},
        "d": {"nan": 1, "inf": 1},
        "e": {"inf": 1},
    }
    assert snapshot.render().nonfinite == 9
    assert snapshot_of(0, lambda t: t.scalar(fine=1.0)).nonfinite() == []


def test_a_summary_of_nothing_finite_has_no_extrema() -> None:
    """And none of the names of statistics that there are not."""
    values = snapshot_of(0, lambda t: t.summary("x", [math.nan], quantiles=(0.5,))).render().values
    assert set(values) == {"x/mean", "x/std"}


def test_many_keys_and_many_processes() -> None:
    """More columns than a 16-bit index holds."""
    keys = 33_000
    parts = [scalar(p, **{f"k{i}": float(p + i) for i in range(keys)}) for p in (0, 2)]
    values = Snapshot.merge(parts).render().values
    assert len(values) == keys
    assert values["k32999"] == 33_000.0


@pytest.mark.parametrize(
    ("q", "name"), [(0.5, "p50"), (0.999, "p99.9"), (0.07, "p7"), (0, "p0"), (1.0, "p100")]
)
def test_quantiles_have_names(q: float, name: str) -> None:
    """Without the digits of binary fractions."""
    assert quantile_name(q) == name


# --- bytes -------------------------------------------------------------------------------------------------


def everything() -> Snapshot:
    tracker = sl.StatsTracker()
    for key, value in (("a", 1.5), ("b", math.nan), ("c", -math.inf)):
        record_everything(tracker, key, value)
    return Snapshot.merge([tracker.snapshot(process=3), scalar(1, **{"scalar/a": 2.0})])


def arrays(snapshot: Snapshot) -> list[bytes]:
    found = [snapshot.moments.counts, snapshot.moments.stats, snapshot.sums, snapshot.lasts, snapshot.timings]
    found += [a for sketch in snapshot.sketches for a in (sketch.buckets, sketch.counts)]
    found += [snapshot.owners_of(f) for f in ("moments", "sums", "lasts", "texts")]
    return [np.ascontiguousarray(a).tobytes() for a in found]


@pytest.mark.parametrize(
    "make", [everything, Snapshot.empty, lambda: scalar(7, x=1.0)], ids=["all", "empty", "one"]
)
def test_bytes_hold_a_snapshot_bit_for_bit(make: Callable[[], Snapshot]) -> None:
    """Every array, name, text and option; and the same bytes again."""
    snapshot = make()
    twin = Snapshot.from_bytes(snapshot.to_bytes())
    assert twin.processes == snapshot.processes
    assert {f: s for f, s in twin.schema.items() if s} == {f: s for f, s in snapshot.schema.items() if s}
    assert twin.texts == snapshot.texts
    assert arrays(twin) == arrays(snapshot)
    assert twin.to_bytes() == snapshot.to_bytes()


@settings(deadline=None)
@given(st.lists(st.floats(width=64), min_size=1, max_size=8))
def test_every_float64_survives_the_bytes(values: list[float]) -> None:
    """NaN with its payload, −0.0, subnormals."""
    payload = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
    lasts = np.array([*values, payload, -0.0, 5e-324])
    tracker = sl.StatsTracker()
    tracker.last(**{f"k{i}": float(i) for i in range(lasts.size)})
    snapshot = dataclasses.replace(tracker.snapshot(), lasts=lasts)
    assert Snapshot.from_bytes(snapshot.to_bytes()).lasts.tobytes() == lasts.tobytes()


DATA = everything().to_bytes()


def test_every_truncation_is_refused() -> None:
    """At any byte, with one kind of error."""
    for size in range(len(DATA)):
        with pytest.raises(sl.SnapshotError):
            Snapshot.from_bytes(DATA[:size])


@settings(deadline=None, max_examples=400)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_every_changed_byte_is_refused(at: int, change: int) -> None:
    """In the header, the names, and the numbers."""
    damaged = bytearray(DATA)
    damaged[at] ^= change
    with pytest.raises(sl.SnapshotError):
        Snapshot.from_bytes(bytes(damaged))


def test_every_bit_of_the_header_matters() -> None:
    """Version and flags, too, which say how to read the rest."""
    for bit in range(8 * 24):
        damaged = bytearray(DATA)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(sl.SnapshotError):
            Snapshot.from_bytes(bytes(damaged))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    """Whatever they are, and also behind a snapshot."""
    for foreign in (data, b"SLSN" + data, DATA + data + b"x"):
        with pytest.raises(sl.SnapshotError):
            Snapshot.from_bytes(foreign)


def test_newer_bytes_say_what_to_install() -> None:
    """A process with a newer sightline is named as what it is, not as damage."""
    newer = DATA[:4] + struct.pack("<H", FORMAT + 1) + DATA[6:]
    with pytest.raises(sl.SnapshotError, match=r"format 2, .* reads up to 1: install the same version"):
        Snapshot.from_bytes(newer)


def test_whole_bytes_with_nonsense_inside_are_refused() -> None:
    """A right checksum over a schema that is none."""
    for schema, meta in (("[]", "{}"), ("{}", "[]"), ('{"files": []}', '{"processes": 3}'), ("x", "y")):
        header = struct.pack("<4sHHIII", b"SLSN", FORMAT, 0, len(schema), len(meta), 0)
        rest = f"{schema}{meta}".encode()
        with pytest.raises(sl.SnapshotError, match="malformed"):
            Snapshot.from_bytes(header + struct.pack("<I", zlib.crc32(header + rest)) + rest)


def test_kept_schemas_do_not_mix() -> None:
    """The decoder keeps parsed schemas; equal keys with other options are other schemas."""
    kinds: list[Callable[[sl.StatsTracker], object]] = [
        lambda t: t.summary("x", [1.0, 3.0]),
        lambda t: t.summary("x", [1.0, 3.0], emit=("max",)),
        lambda t: t.summary("x", [1.0, 3.0], quantiles=(0.0,)),
        lambda t: t.summary("x", [1.0, 3.0], replicated=True),
        lambda t: t.histogram("x", [1.0, 3.0], bins=2),
        lambda t: t.histogram("x", [1.0, 3.0], bins=3),
        lambda t: t.scalar(x=1.0),
        lambda t: t.total(x=1),
    ]
    for _ in range(2):
        for record in kinds:
            snapshot = snapshot_of(0, record)
            twin = Snapshot.from_bytes(snapshot.to_bytes())
            assert twin.render() == snapshot.render()


def test_bytes_are_as_the_module_describes() -> None:
    """Another program could read them with the description alone."""
    data = scalar(4, loss=0.5).to_bytes()
    magic, version, flags, n_schema, n_meta, n_body, crc = struct.unpack_from("<4sHHIIII", data)
    assert (magic, version, flags) == (b"SLSN", 1, 0)
    assert crc == zlib.crc32(data[:20] + data[24:])
    schema = orjson.loads(data[24 : 24 + n_schema])
    assert schema["moments"][0][:2] == ["loss", "scalar"]
    assert orjson.loads(data[24 + n_schema : 24 + n_schema + n_meta]) == {
        "processes": [4],
        "texts": [],
        "sketches": [],
    }
    assert data[-n_body:] == struct.pack("<q5d", 1, 0.5, 0.0, 0.0, 0.5, 0.5)


def test_a_snapshot_is_small() -> None:
    """A hundred scalars of one process, complete with names and places, in some kilobytes."""
    assert len(scalar(0, **{f"train/some/metric_{i}": 1.0 for i in range(100)}).to_bytes()) < 12_000
