"""What workers export merges as if one process had recorded it, in whatever form it comes."""

import logging
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl

NUMBER = st.floats(-1e6, 1e6, allow_subnormal=False)
RECORDS = st.lists(st.tuples(st.integers(0, 4), NUMBER), min_size=1, max_size=20)  # worker, value
FORMS: dict[str, Callable[[sl.StatsTracker], Any]] = {
    "snapshot": lambda tracker: tracker.snapshot(),
    "bytes": lambda tracker: tracker.snapshot().to_bytes(),
    "dict": lambda tracker: tracker.export(reduce="local"),
}
#: What a dict does not say enough of, whatever stands beside it; and what it says enough of only there.
NEVER_IN_DICTS = {"accuracy", "reward/p50", "throughput/tokens_per_s"}
NOT_IN_DICTS_ALONE = {"tokens", "amount", "lr", "split"}


def recorded(record: Callable[[sl.StatsTracker], object], form: str = "snapshot") -> Any:
    """What a worker exports that knows nothing of the others."""
    tracker = sl.StatsTracker()
    record(tracker)
    return FORMS[form](tracker)


def record_value(tracker: sl.StatsTracker, value: float) -> None:
    tracker.scalar(loss=value)
    tracker.summary(
        "reward", [value, 1.0], emit=("mean", "std", "min", "max", "sum", "count"), quantiles=(0.5,)
    )
    tracker.masked("advantage", [value, 2.0, 3.0], [1, value > 0, 0])
    tracker.total(tokens=round(value) * 2**40 + 1, amount=value)
    tracker.ratio("accuracy", round(value), 4)
    tracker.rate("tokens", abs(round(value)) + 1)
    tracker.last(lr=value)
    tracker.text(split=str(value))
    tracker._add_timing("step", abs(value) + 1.0)


def trackers_of(records: list[tuple[int, float]]) -> dict[int, sl.StatsTracker]:
    trackers: dict[int, sl.StatsTracker] = {}
    for worker, value in records:
        record_value(trackers.setdefault(worker, sl.StatsTracker()), value)
    return dict(sorted(trackers.items()))


def whole(records: list[tuple[int, float]]) -> dict[str, Any]:
    """What one process would export that recorded everything, but for what is each worker's own."""
    tracker = sl.StatsTracker()
    for _, value in records:
        record_value(tracker, value)
    rendered = tracker.snapshot().render(wall_s=2.0)
    lowest = [value for worker, value in records if worker == min(records)[0]][-1]
    seconds = {worker: 0.0 for worker, _ in sorted(records)}
    for worker, value in records:
        seconds[worker] += abs(value) + 1.0
    slowest = max(seconds, key=lambda worker: seconds[worker])
    times = {
        "time/step_s": float(np.mean(list(seconds.values()))),
        "time/step_s_max": seconds[slowest],
        "time/step_s_slowest": slowest,
    }
    return {**rendered.values, **rendered.counts, **times, "lr": lowest, "split": str(lowest)}


def assert_equal(stats: dict[str, Any], expected: dict[str, Any], *, but: set[str] | None = None) -> None:
    """Key by key: counts, whole totals and texts exactly, floats to their rounding."""
    assert stats.keys() == expected.keys()
    for key in expected.keys() - (but or set()):
        if isinstance(expected[key], (int, str)):
            assert (stats[key], type(stats[key])) == (expected[key], type(expected[key])), key
        else:
            assert stats[key] == pytest.approx(expected[key], rel=1e-9, abs=1e-6), key


# --- the same as the whole ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(RECORDS, st.lists(st.booleans(), min_size=5, max_size=5))
def test_snapshots_of_any_split_over_workers_equal_the_whole(
    records: list[tuple[int, float]], as_bytes: list[bool]
) -> None:
    """Every reduction, whether a worker sends bytes or an object, and with workers missing."""
    trackers = trackers_of(records)
    exports = [
        FORMS["bytes" if as_bytes[n] else "snapshot"](trackers[n]) if n in trackers else None
        for n in range(5)
    ]
    stats = sl.export_stats(exports, wall_s=2.0)
    assert stats.pop("obs/missing_exports", 0) == 5 - len(trackers)
    assert_equal(stats, whole(records))


@settings(deadline=None, max_examples=60)
@given(RECORDS, st.lists(st.sampled_from(list(FORMS)), min_size=5, max_size=5))
def test_any_mix_of_forms_equals_the_whole_but_for_what_it_lists(
    records: list[tuple[int, float]], forms: list[str]
) -> None:
    """A key that could only be averaged is named; every other one is right."""
    trackers = trackers_of(records)
    used = {forms[n] for n in trackers}
    exports = [FORMS[forms[n]](trackers[n]) if n in trackers else None for n in range(5)]
    stats = sl.export_stats(exports, wall_s=2.0)
    stats.pop("obs/missing_exports", 0)
    averaged = set(filter(None, str(stats.pop("obs/unweighted", "")).split(",")))
    if "dict" not in used:
        assert averaged == set()
    else:
        assert averaged <= NEVER_IN_DICTS | (NOT_IN_DICTS_ALONE if used == {"dict"} else set())
    own_rates = {"throughput/tokens_per_s"} if "dict" in used else set()  # each by its own time
    assert_equal(stats, whole(records), but=averaged | own_rates)


def test_the_merged_numbers_are_numpys_on_the_data_of_all_workers() -> None:
    """Uneven shares; a worker without any; one that sends a dict."""
    data = np.random.default_rng(0).lognormal(3, 2, 1000)
    shares = np.split(data, [1, 300, 300])
    stats: dict[str, Any] = sl.export_stats(
        [
            recorded(lambda t, x=share: t.summary("x", x, emit=("mean", "std", "min", "max", "sum")), form)
            for share, form in zip(shares, ("bytes", "dict", "snapshot", "bytes"), strict=True)
        ]
    )
    expected = {name: getattr(data, name)() for name in ("mean", "std", "min", "max", "sum")}
    assert stats == pytest.approx({**{f"x/{k}": v for k, v in expected.items()}, "x__count": 1000}, rel=1e-12)


def test_accepted_rollouts_are_counted_and_not_averaged() -> None:
    """A 1 recorded for each of them has the mean 1, whatever was rejected; its count is what is meant."""

    def record(tracker: sl.StatsTracker, accepted: int, tried: int) -> None:
        for _ in range(accepted):
            tracker.scalar(accepted=1)
        tracker.total("accepted_total", accepted)
        tracker.ratio("acceptance", accepted, tried)

    for form in FORMS:
        exports = [recorded(lambda t: record(t, 3, 4)), recorded(lambda t: record(t, 0, 6), form)]
        stats = sl.export_stats({"rollout": exports})
        assert stats["rollout/accepted__count"] == 3
        assert stats["rollout/accepted_total"] == 3
        if form != "dict":
            assert stats["rollout/acceptance"] == 0.3


def test_a_key_without_a_count_is_kept() -> None:
    """Of dicts alone averaged, and said so."""
    stats = sl.export_stats({"actor": [{"lr": 0.1, "tokens": 4}, {"lr": 0.1, "tokens": 8}]})
    assert stats == {
        "actor/lr": 0.1,
        "actor/tokens": 6.0,
        "obs/unweighted": "actor/lr,actor/tokens",
    }


# --- workers and parts -------------------------------------------------------------------------------------


def test_workers_that_all_call_themselves_process_0_are_told_apart() -> None:
    """By their place: times are not added up, replicated values count once, the slowest has its number."""

    def record(tracker: sl.StatsTracker, seconds: float, version: int) -> None:
        tracker._add_timing("rollout", seconds)
        tracker.total(batches=7, replicated=True)
        tracker.last(version=version)

    for forms in (("snapshot",) * 3, ("dict",) * 3, ("dict", "bytes", "snapshot"), ("bytes", "dict", "dict")):
        exports: list[Any] = [
            recorded(lambda t, n=n: record(t, 1.0 + n, n), form)  # type: ignore[misc]
            for n, form in enumerate(forms)
        ]
        stats = sl.export_stats([None, *exports])
        assert stats["time/rollout_s"] == 2.0
        assert (stats["time/rollout_s_max"], stats["time/rollout_s_slowest"]) == (3.0, 3)
        assert stats["obs/missing_exports"] == 1
        if set(forms) != {"dict"}:
            assert stats["batches"] == 7
            assert stats["version"] == 0
            assert "obs/unweighted" not in stats


def test_replicated_summaries_count_once_beside_dicts_too() -> None:
    record = lambda t: t.summary("loss", [1.0, 3.0], replicated=True)  # noqa: E731
    stats = sl.export_stats([recorded(record, "dict"), recorded(record), recorded(record, "dict")])
    assert stats["loss__count"] == 2
    assert (stats["loss/mean"], stats["loss/std"]) == (2.0, 1.0)


def test_a_snapshot_of_several_processes_takes_as_many_numbers() -> None:
    """A worker that is a job of its own merges first; conflicts in there stay known, and are counted."""
    job = sl.Snapshot.merge(
        [
            recorded(lambda t: (t._add_timing("step", 5.0), t.scalar(a=1.0), t.total(n=1, replicated=True))),
            recorded(lambda t: (t._add_timing("step", 1.0), t.total(a=1))).numbered_from(4),
        ]
    )
    later = recorded(lambda t: (t._add_timing("step", 6.0), t.total(n=1, replicated=True), t.last(v=3)))
    stats = sl.export_stats([job, sl.Snapshot.from_bytes(job.to_bytes()), later])
    assert (stats["time/step_s"], stats["time/step_s_slowest"]) == (18 / 5, 4)
    assert (stats["n"], stats["v"], stats["a"]) == (1, 3, 1.0)
    assert stats["obs/conflicts"] == 1


def test_numbering_anew_leaves_the_snapshot_alone() -> None:
    """So that what a controller has can be merged again."""
    snapshot = recorded(lambda t: record_value(t, 1.5))
    before = snapshot.to_bytes()
    moved = snapshot.numbered_from(3)
    assert moved.processes == (3,)
    assert snapshot.to_bytes() == before
    assert moved.numbered_from(0).to_bytes() == before


def test_the_name_of_a_part_is_a_scope() -> None:
    """Times and rates keep their namespace in front, as under `sl.scope`; dicts and snapshots alike."""

    def record(tracker: sl.StatsTracker) -> None:
        with tracker.scope("train"):
            tracker.scalar(loss=1.0)
            tracker._add_timing("update", 2.0)
            tracker.rate("tokens", 8, over="update")
            tracker.text(split="all")

    inside = sl.StatsTracker()
    with inside.scope("actor"):
        inside.scalar("train/loss", 1.0)
    for form in FORMS:
        stats = sl.export_stats({"actor": [recorded(record, form)], "critic/value": recorded(record, form)})
        for name in ("actor", "critic/value"):
            assert stats[f"{name}/train/loss"] == 1.0
            assert stats[f"{name}/train/loss__count"] == 1
            assert stats[f"time/{name}/train/update_s"] == 2.0
            assert stats[f"throughput/{name}/train/tokens_per_s"] == 4.0
            assert stats[f"{name}/train/split"] == "all"
        assert len(stats) == 2 * 7
    assert set(inside.export(reduce="local")) <= set(stats)


def test_without_names_keys_stay_as_they_are() -> None:
    """A controller may put all its workers into one list; each has scopes of its own."""
    actor, critic = sl.StatsTracker(), sl.StatsTracker()
    with actor.scope("actor"):
        actor.scalar(loss=1.0)
    with critic.scope("critic"):
        critic.scalar(loss=3.0)
    exports = (each.snapshot() for each in (actor, critic))
    assert sl.export_stats(exports) == {
        "actor/loss": 1.0,
        "critic/loss": 3.0,
        "actor/loss__count": 1,
        "critic/loss__count": 1,
    }


def test_parts_that_are_not_there_say_nothing() -> None:
    """No critic; no workers; a worker that had nothing to say."""
    assert sl.export_stats({}) == {}
    assert sl.export_stats([]) == {}
    stats = sl.export_stats({"critic": None, "actor": [], "rollout": [sl.Snapshot.empty(), {}]})
    assert stats == {}
    assert sl.export_stats(sl.Snapshot.empty()) == {}
    assert sl.export_stats(recorded(lambda t: t.scalar(a=1.0), "bytes")) == {"a": 1.0, "a__count": 1}


# --- trouble -----------------------------------------------------------------------------------------------


def test_damaged_bytes_are_counted_said_once_and_hold_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    """The worker is named; the others' values are there."""
    good = recorded(lambda t: t.scalar(a=1.0), "bytes")
    for _ in range(3):
        with caplog.at_level(logging.WARNING, "sightline"):
            stats = sl.export_stats({"damaged": [good, good[:-1], bytearray(good)]})
        assert (stats["damaged/a__count"], stats["obs/unreadable_snapshots"]) == (2, 1)
        assert "obs/missing_exports" not in stats
    (record,) = caplog.records
    assert "what worker 1 of 'damaged' sent cannot be read" in record.getMessage()


def test_two_reductions_of_one_key_are_counted_and_both_sites_named(caplog: pytest.LogCaptureFixture) -> None:
    """The lowest worker's wins."""
    with caplog.at_level(logging.WARNING, "sightline"):
        stats = sl.export_stats(
            {"at_odds": [recorded(lambda t: t.scalar(k=2.0)), recorded(lambda t: t.total(k=1))]}
        )
    assert (stats["at_odds/k"], stats["obs/conflicts"]) == (2.0, 1)
    (record,) = caplog.records
    assert record.getMessage().count("test_worker_stats.py:") == 2


@pytest.mark.parametrize("form", FORMS)
def test_a_key_that_another_worker_made_a_folder_is_left_out_so_that_the_rest_commits(
    tmp_path: Path, form: str
) -> None:
    """As in a commit of records."""
    exports = [recorded(lambda t: t.scalar(loss=1.0)), recorded(lambda t: t.scalar("loss/max", 2.0), form)]
    stats = sl.export_stats({form: exports})
    assert f"{form}/loss" not in stats
    assert (stats[f"{form}/loss/max"], stats["obs/conflicts"]) == (2.0, 1)
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        run.commit(0, stats)
    (commit,) = [r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit"]
    assert commit["values"][f"{form}/loss/max"] == 2.0


def test_what_dicts_say_of_trouble_adds_up_and_is_no_ones_key() -> None:
    """And what they had to average stays listed."""
    stats = sl.export_stats(
        {
            "actor": [{"obs/nonfinite": 2, "a": 1.0}, {"obs/nonfinite": 3.0, "obs/unweighted": "a"}],
            "critic": recorded(lambda t: t.summary("v", [math.nan, 1.0])),
        }
    )
    assert stats["obs/nonfinite"] == 6
    assert stats["obs/unweighted"] == "actor/a"
    assert not any(key.startswith("actor/obs") for key in stats)


def test_what_was_averaged_can_be_committed_under_strict_naming(tmp_path: Path) -> None:
    stats = sl.export_stats({"train": [{"a": 1.0}, {"a": 2.0}]})
    with sl.start(tmp_path, name="run", sinks=[], naming="strict") as run:
        run.commit(0, stats)
    (commit,) = [r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit"]
    assert (commit["values"], commit["texts"]) == ({"train/a": 1.5}, {"obs/unweighted": "train/a"})


def test_nan_is_nan_however_it_travelled() -> None:
    """JSON has null for it."""
    for value in (math.nan, None, np.float32("nan")):
        stats = sl.export_stats([{"a": value, "a__count": 1}, {"a": 1.0, "a__count": 1}])
        assert math.isnan(float(stats["a"]))
        assert stats["a__count"] == 2


def test_a_rate_without_a_time_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Once; given the time, it is there."""
    export = recorded(lambda t: t.rate("rate_without_a_time", 10))
    with caplog.at_level(logging.WARNING, "sightline"):
        assert sl.export_stats([export, export]) == sl.export_stats([export]) == {}
    (record,) = caplog.records
    assert "wall_s=" in record.getMessage()
    beside = recorded(lambda t: t.rate("rate_without_a_time", 10), "dict")
    assert sl.export_stats([export, beside]) == {}  # no share of it, which would look like the whole
    assert sl.export_stats([export, export], wall_s=4.0) == {"throughput/rate_without_a_time_per_s": 5.0}


KEYS = ["a", "a/b", "a__count", "a/mean", "a/std", "a/p50", "b", "obs/unweighted", "obs/x"]
KEYS += ["time/a_s", "time/a_s_max", "time/a_s_slowest", "throughput/a_per_s"]
VALUES = st.floats() | st.integers() | st.none() | st.sampled_from(["x", "a,b"])
RECORDINGS: list[Callable[[sl.StatsTracker], object]] = [
    lambda t: t.scalar(a=1.0),
    lambda t: t.total(a=2**60),
    lambda t: t.summary("a", [1.0, math.inf], quantiles=(0.5,), replicated=True),
    lambda t: t.last("a/b", math.nan),
    lambda t: t.text(b="y"),
    lambda t: t.rate("a", 3),
    lambda t: t._add_timing("a", 1.0),
]


@pytest.fixture(scope="module")
def committing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sl.StatsLogger]:
    config = sl.StatsLoggerConfig(log_dir=tmp_path_factory.mktemp("runs"), sinks=[])
    logger = sl.StatsLogger(config, tracker=sl.StatsTracker())
    yield logger
    logger.finish()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
        | st.sampled_from(RECORDINGS).map(recorded)
        | st.binary(max_size=8)
        | st.none(),
        max_size=5,
    )
)
def test_whatever_workers_send_is_committed_or_named_as_what_it_is(
    committing: sl.StatsLogger, exports: list[Any]
) -> None:
    """A controller's step ends by no other error, and a dict that merges can be committed."""
    try:
        stats = sl.export_stats({"part": exports})
    except sl.RecordError as error:
        said = str(error)
    else:
        said = "worker 0 of 'part'"
        committing.commit(0, stats)
    assert "of 'part'" in said


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"loss": 1.0}, r"part 'loss' is 1.0 \(float\).*export_stats\(\[stats, stats\]\)"),
        ({"actor": "stats"}, r"part 'actor' is 'stats' \(str\)"),
        ("stats", r"export_stats\('stats' \(str\)\): expected the workers' exports"),
        (3, r"export_stats\(3 \(int\)\)"),
        ([3], r"worker 0 is 3 \(int\); expected a Snapshot, its bytes, an exported dict, or None"),
        ({"actor": [None, "x"]}, r"worker 1 of 'actor' is 'x' \(str\)"),
        ({"actor": [sl.StatsTracker()]}, r"worker 0 of 'actor' is <sightline"),
        ({"actor": [{"a": "x", "b": [1, 2]}]}, r"worker 0 of 'actor': .*'b'.*shape \(2,\)"),
        ({"actor": [{"a": {"b": 1.0}}]}, r"worker 0 of 'actor': .*'a'.*expected real numbers"),
        ([{"a": 1.0, "a__count": 1.5}], r"worker 0: 'a__count' is 1.5; expected a whole number"),
        ([{"a": 1.0, "a__count": math.nan}], r"worker 0: 'a__count' is nan; expected a whole number"),
        ([{"a": 1.0, "a__count": "3"}], r"worker 0: .*'a__count'.*expected real numbers"),
        ([{"obs/late_snapshots": -1}], r"worker 0: 'obs/late_snapshots' is -1; expected a whole number"),
        ([{"a//b": 1.0}], r"worker 0: 'a//b' has an empty part"),
        ([{3: 1.0}], r"worker 0: 3 is a int; a key is a string"),
        ({"": []}, "'' has an empty part"),
        ({3: []}, "3 is a int"),
        ({"a": [], "a/b": []}, "part 'a/b' lies within part 'a'"),
        ({"time": []}, "a part named 'time' would mix"),
        ({"obs/x": []}, "a part named 'obs/x' would mix"),
    ],
)
def test_what_cannot_be_right_raises_with_the_place_and_the_fix(parts: Any, said: str) -> None:
    with pytest.raises(sl.RecordError, match=said):
        sl.export_stats(parts)


@pytest.mark.parametrize("wall_s", [0, -1.0, math.nan, math.inf, "1"])
def test_a_wall_time_is_seconds(wall_s: Any) -> None:
    with pytest.raises(sl.RecordError, match="wall_s"):
        sl.export_stats([], wall_s=wall_s)


def test_it_needs_neither_jax_nor_a_running_logger(tmp_path: Path) -> None:
    """Workers and controllers may be processes without an accelerator."""
    code = (
        "import sys, sightline as sl; sl.scalar(a=1.0); sl.export_stats([sl.snapshot().to_bytes()]); "
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=120)
