"""Committing: steps, values that are final, aliases, state, and the end."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.aliases import Alias, AliasTable, MeanOfLast, RunningTotal
from tests.committing.loggers import Make, commits, journal, warnings_of


def slots(logger: sl.StatsLogger) -> list[tuple[int, int]]:
    return [(commit["step"], commit["k"]) for commit in commits(logger)]


# --- steps -------------------------------------------------------------------------------------------------


def test_a_step_that_is_committed_again_opens_a_line_of_its_own(make: Make, tracker: sl.StatsTracker) -> None:
    logger = make()
    for value, step in enumerate([3, 3, 4, 4, 4]):
        tracker.scalar(loss=value)
        logger.commit(step)
    assert slots(logger) == [(3, 0), (3, 1), (4, 0), (4, 1), (4, 2)]
    assert [commit["values"]["loss"] for commit in commits(logger)] == [0, 1, 2, 3, 4]


def test_a_lower_step_counts_as_the_last_one(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its values are kept, in a line of their own, and a warning and a counter say so."""
    logger = make()
    for step, loss in ((5, 1.0), (2, 2.0), (6, 3.0)):
        tracker.scalar(loss=loss)
        logger.commit(step)
    assert slots(logger) == [(5, 0), (5, 1), (6, 0)]
    assert [commit["values"]["loss"] for commit in commits(logger)] == [1, 2, 3]
    assert sum(commit["values"].get("obs/clamped_commits", 0) for commit in commits(logger)) == 1
    (warning,) = warnings_of(caplog)
    assert "step 2 after step 5" in warning
    assert "counted as step 5" in warning


def test_a_lower_step_raises_where_that_is_asked_for(make: Make, tracker: sl.StatsTracker) -> None:
    """Both steps are named, and what was recorded is still there to be committed under a right step."""
    logger = make(on_lower_step="error")
    logger.commit(5)
    tracker.scalar(loss=1.0)
    with pytest.raises(sl.StepError, match=r"step 2 after step 5.*>= 5"):
        logger.commit(2)
    with pytest.raises(sl.StepError, match="step 4 after step 5"):
        logger.commit(4, {"other": 1.0})
    logger.commit(6)
    assert slots(logger) == [(5, 0), (6, 0)]
    assert commits(logger)[1]["values"]["loss"] == 1.0


def test_a_lower_step_is_left_out_where_that_is_asked_for(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its values do not turn up under a later step, and the counter does."""
    logger = make(on_lower_step="drop")
    logger.commit(5)
    tracker.scalar(gone=1.0)
    logger.commit(2)
    logger.commit(3, {"gone/too": 1.0})
    tracker.scalar(kept=1.0)
    logger.commit(6)
    assert slots(logger) == [(5, 0), (6, 0)]
    assert not any("gone" in key for commit in commits(logger) for key in commit["values"])
    assert commits(logger)[1]["values"]["kept"] == 1.0
    assert sum(commit["values"].get("obs/dropped_commits", 0) for commit in commits(logger)) == 2
    (warning,) = warnings_of(caplog)
    assert "left out" in warning


@pytest.mark.parametrize("step", [1.0, np.float64(1), True, np.bool_(True), "1", None])
def test_a_step_that_is_no_int_is_refused(make: Make, step: Any) -> None:
    logger = make()
    with pytest.raises(sl.RecordError, match="int"):
        logger.commit(step)
    assert slots(logger) == []


@pytest.mark.parametrize("step", [np.int64(7), np.uint8(7), 7])
def test_ints_of_any_kind_are_steps(make: Make, step: Any) -> None:
    logger = make()
    logger.commit(step)
    logger.commit(step, {"loss": 1.0})
    assert slots(logger) == [(7, 0), (7, 1)]


# --- values that are final ---------------------------------------------------------------------------------


def test_a_dict_is_committed_as_it_is_and_leaves_records_alone(make: Make, tracker: sl.StatsTracker) -> None:
    logger = make()
    tracker.scalar(recorded=1.0)
    logger.commit(1, {"train/loss": 0.5, "train/loss__count": 4, "train/split": "test", "x": math.nan})
    logger.commit(1)
    first, second = commits(logger)
    assert first["values"] == {"train/loss": 0.5, "x": None, "obs/nonfinite": 1}
    assert first["nonfinite"] == {"x": "nan"}
    assert first["nonfinite_records"] == {"x": {"count": 1, "processes": [], "nan": 1}}
    assert first["counts"] == {"train/loss__count": 4}
    assert first["texts"] == {"train/split": "test"}
    assert second["values"]["recorded"] == 1.0


def test_what_an_export_has_counted_adds_to_what_its_commit_counts(make: Make) -> None:
    """The records that were not finite, not the values; and a step too low beside those of the export."""
    logger = make()
    logger.commit(2, {"x": math.nan, "obs/nonfinite": 5, "obs/missing_exports": 2})
    assert logger.flush()  # what is counted from here on is the next commit's
    logger.commit(1, {"x": 1.0, "obs/clamped_commits": 3})
    logger.commit(3, {"x": 1.0})
    counted = [
        {key: value for key, value in commit["values"].items() if key.startswith("obs/")}
        for commit in commits(logger)
    ]
    assert counted == [{"obs/nonfinite": 5, "obs/missing_exports": 2}, {"obs/clamped_commits": 4}, {}]


def test_dicts_in_a_row_take_steps_in_a_row(make: Make) -> None:
    logger = make()
    logger.commit(5, [{"loss": 1.0}, {"loss": 2.0, "note": "b"}, {"loss": 3.0}])
    logger.commit(8)
    assert slots(logger) == [(5, 0), (6, 0), (7, 0), (8, 0)]
    assert [commit["values"].get("loss") for commit in commits(logger)] == [1.0, 2.0, 3.0, None]


def test_an_export_can_be_committed(make: Make, tracker: sl.StatsTracker) -> None:
    """What `export` gives is what `commit` takes, with counts and texts where they belong."""
    tracker.summary("reward", [1.0, 3.0])
    tracker.text(split="test")
    logger = make()
    logger.commit(1, tracker.export(reduce="local"))
    (commit,) = commits(logger)
    assert commit["values"] == {"reward/mean": 2.0, "reward/std": 1.0, "reward/min": 1.0, "reward/max": 3.0}
    assert (commit["counts"], commit["texts"]) == ({"reward__count": 2}, {"split": "test"})


NUMBERS = [1, 1.0, True, np.float32(1), np.float16(1), np.int8(1), np.uint64(1), np.bool_(True)]
NUMBERS += [np.array(1.0), np.array(1), np.array([1.0], np.float32), np.array([[1]])]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_one_number_of_any_kind_is_a_value(make: Make, value: Any) -> None:
    """Ints and bools stay whole, as in the recording calls."""
    logger = make()
    logger.commit(1, {"x": value, "x__count": value})
    (commit,) = commits(logger)
    assert commit["values"] == {"x": 1}
    assert commit["counts"] == {"x__count": 1}
    assert type(commit["values"]["x"]) is (float if np.asarray(value).dtype.kind == "f" else int)


@pytest.mark.parametrize(
    "value",
    [None, 1j, np.complex64(1), {}, b"1", object, np.array([1.0, 2.0]), np.array([])],
    ids=repr,
)
def test_what_is_no_number_is_named_with_its_key(make: Make, value: Any) -> None:
    """And nothing of that commit is written, nor of the others in its list."""
    logger = make()
    with pytest.raises(sl.RecordError) as caught:
        logger.commit(1, [{"good": 1.0}, {"train/loss": value}])
    assert "'train/loss'" in str(caught.value)
    shown = f"shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    assert shown in str(caught.value)
    logger.commit(2, {"good": 1.0})
    assert slots(logger) == [(2, 0)]


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a\n", 3, None, "/__count"])
def test_a_wrong_key_is_refused(make: Make, key: Any) -> None:
    with pytest.raises(sl.RecordError):
        make().commit(1, {key: 1.0})


@pytest.mark.parametrize(
    "stats",
    [
        {"loss": 1, "loss/max": 2},
        {"loss/max": 2, "loss": 1},
        {"train/loss": "text", "train/loss/of/all": 2},
        {"train": 1, "train/split": "text"},
    ],
    ids=str,
)
def test_a_key_that_is_a_folder_of_another_is_refused_with_both(make: Make, stats: dict[str, Any]) -> None:
    logger = make()
    with pytest.raises(sl.RecordError) as caught:
        logger.commit(1, stats)
    assert all(repr(key) in str(caught.value) for key in stats)
    assert slots(logger) == []


def test_counts_make_no_folder(make: Make) -> None:
    logger = make()
    logger.commit(1, {"loss/max": 2, "loss__count": 1, "loss/max__count": 1})
    assert commits(logger)[0]["counts"] == {"loss__count": 1, "loss/max__count": 1}


@pytest.mark.parametrize("stats", [3, "loss", [3], [{"loss": 1.0}, None]], ids=repr)
def test_what_is_no_dict_is_refused(make: Make, stats: Any) -> None:
    with pytest.raises(sl.RecordError, match="dict"):
        make().commit(1, stats)


# --- histograms --------------------------------------------------------------------------------------------


def test_a_histogram_is_a_line_beside_its_commit(make: Make, tracker: sl.StatsTracker) -> None:
    """With the commit's place, right after it; under an alias too; its count is with the others."""
    logger = make(aliases={"train/": "old/"})
    for step in (3, 4):
        with tracker.scope("train"):
            tracker.scalar("loss", 1.0, per_process=True)
            tracker.histogram("length", [1.0, 2.0, 2.0, 9.0 * step], bins=2)
        tracker.histogram("empty", [])
        logger.commit(step)
    logger.commit(4)
    lines = [r for r in journal(logger, "histogram") if r["step"] == 4]
    assert lines == [
        {
            "type": "histogram", "seq": 2, "attempt": 1, "step": 4, "k": 0, "key": key,
            "edges": [1.0, 18.5, 36.0], "counts": [3, 1],
        }
        for key in ("train/length", "old/length")
    ]  # fmt: skip
    second = commits(logger)[1]
    assert (second["seq"], second["values"]) == (2, {"train/loss": 1.0, "old/loss": 1.0})
    assert second["counts"] == {"empty__count": 0, "train/length__count": 4, "train/loss__count": 1}
    kinds = [r["type"] for r in sl.read_journal(logger.wait_dir()) if r.get("seq") == 2]
    assert kinds == ["commit", "process_values", "histogram", "histogram"]


# --- what is not finite ------------------------------------------------------------------------------------


def test_the_first_time_that_a_key_is_not_finite_is_an_event(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each key: when, how much of what kind, and where it is recorded. Each commit says it again."""
    logger = make()
    for step in range(4):
        tracker.scalar(loss=math.nan if step >= 2 else 1.0, kl=math.inf if step == 3 else 1.0)
        tracker.summary("grad", [math.nan, -math.inf, math.nan] if step == 2 else [1.0])
        logger.commit(step)
    assert [commit.get("nonfinite_records") for commit in commits(logger)] == [
        None,
        None,
        {
            "grad": {"count": 3, "processes": [0], "nan": 2, "-inf": 1},
            "loss": {"count": 1, "processes": [0], "nan": 1},
        },
        {
            "kl": {"count": 1, "processes": [0], "inf": 1},
            "loss": {"count": 1, "processes": [0], "nan": 1},
        },
    ]
    assert [commit["values"].get("obs/nonfinite") for commit in commits(logger)] == [None, None, 4, 2]
    events = [event for event in journal(logger, "event") if event["event"] == "nonfinite"]
    assert [(event["key"], event["step"], event["count"]) for event in events] == [
        ("grad", 2, 3), ("loss", 2, 1), ("kl", 3, 1),
    ]  # fmt: skip
    assert events[0]["processes"] == [0]
    assert (events[0]["nan"], events[0]["-inf"], events[0]["attempt"]) == (2, 1, 1)
    for event in events:
        file, line = event["site"].rsplit(":", 1)
        source = Path(file).read_text().splitlines()[int(line) - 1]
        assert event["key"] in source
    said = [text for text in warnings_of(caplog) if "non-finite" in text]
    assert len(said) == 3
    assert "'grad' has non-finite values (3) at step 2 on process 0, recorded at " in said[0]


def test_a_final_value_that_is_not_finite_is_an_event_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Who computed it is not known here, and not made up."""
    logger = make()
    for step, loss in enumerate([1.0, -math.inf, math.nan]):
        logger.commit(step, {"loss": loss})
    assert [commit.get("nonfinite_records") for commit in commits(logger)] == [
        None,
        {"loss": {"count": 1, "processes": [], "-inf": 1}},
        {"loss": {"count": 1, "processes": [], "nan": 1}},
    ]
    (event,) = [event for event in journal(logger, "event") if event["event"] == "nonfinite"]
    del event["time"]
    assert event == {
        "type": "event", "event": "nonfinite", "attempt": 1, "key": "loss", "step": 1,
        "count": 1, "processes": [], "-inf": 1,
    }  # fmt: skip
    (warning,) = warnings_of(caplog)
    assert "'loss' has non-finite values (1) at step 1 (said once for this key)" in warning


# --- aliases and timings -----------------------------------------------------------------------------------


def test_aliases_stand_beside_the_keys_they_mirror(make: Make, tracker: sl.StatsTracker) -> None:
    """Prefixes, exact keys, one to many; texts too; in recorded and final values alike."""
    table = {
        "train/reward/": ["train-reward/", "reward/"],
        "train/loss": "loss",
        "train/note": ["note", "other/note"],
    }
    logger = make(aliases=table)
    tracker.scalar("train/loss", 1.0)
    tracker.summary("train/reward/total", [2.0], emit=("mean",))
    tracker.text("train/note", "hello")
    tracker.scalar("train/losses", 3.0)
    logger.commit(1)
    logger.commit(2, {"train/loss": 4.0, "train/reward/a/b": 5, "train/note": "again"})
    recorded, final = commits(logger)
    assert recorded["values"] == {
        "train/loss": 1.0, "loss": 1.0, "train/losses": 3.0,
        "train/reward/total/mean": 2.0, "train-reward/total/mean": 2.0, "reward/total/mean": 2.0,
    }  # fmt: skip
    assert recorded["texts"] == {"train/note": "hello", "note": "hello", "other/note": "hello"}
    assert final["values"] == {
        "train/loss": 4.0, "loss": 4.0, "train/reward/a/b": 5, "train-reward/a/b": 5, "reward/a/b": 5,
    }  # fmt: skip
    assert final["texts"] == {"train/note": "again", "note": "again", "other/note": "again"}
    (run,) = journal(logger, "run")
    assert run["aliases"] == {k: [v] if isinstance(v, str) else v for k, v in table.items()}


class Gives:
    """A function of a user's."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def start(self) -> Any:
        return lambda value: self.given


def test_an_alias_that_gives_no_number_loses_no_commit(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Only its own value is left out, and that is said once."""
    logger = make(
        aliases=[Alias("train/a", "text", Gives("x")), Alias("train/a", "two", Gives(np.float32(2)))]
    )
    logger.commit(1, {"train/a": 1.0, "train/b": 2.0})
    logger.commit(2, {"train/a": 1.0})
    assert [commit["values"] for commit in commits(logger)] == [
        {"train/a": 1.0, "train/b": 2.0, "two": 2.0},
        {"train/a": 1.0, "two": 2.0},
    ]
    assert caplog.text.count("alias train/a -> text shows nothing") == 1


def test_an_alias_does_not_hide_a_key_of_its_name(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make(aliases={"train/loss": "loss"})
    for step in (1, 2):
        tracker.scalar("train/loss", 1.0)
        tracker.scalar("loss", 2.0)
        logger.commit(step)
    assert [commit["values"]["loss"] for commit in commits(logger)] == [2.0, 2.0]
    assert len([warning for warning in warnings_of(caplog) if "train/loss -> loss" in warning]) == 1


def test_an_old_name_may_be_a_folder_of_keys(make: Make, tracker: sl.StatsTracker) -> None:
    """As no key may: dashboards have it, and so it was possible."""
    logger = make(aliases={"train/length/mean": ["train/length", "train/length/mean/of_all"]})
    tracker.summary("train/length", [2.0, 4.0], emit=("mean",))
    logger.commit(1)
    (commit,) = commits(logger)
    assert commit["values"] == dict.fromkeys(
        ["train/length", "train/length/mean", "train/length/mean/of_all"], 3.0
    )


def test_windows_and_totals_go_on_over_a_resume(make: Make, tracker: sl.StatsTracker) -> None:
    """From the journal, without the steps that a later attempt has gone over again."""
    aliases = [Alias("train/n", "total", RunningTotal()), Alias("train/n", "mean", MeanOfLast(2))]

    def attempt(state: Any, steps: list[int], value: int) -> sl.StatsLogger:
        logger = make(state, name="mine", resume="allow", aliases=aliases)
        for step in steps:
            tracker.total("train/n", value)
            logger.commit(step)
        assert logger.finish()
        return logger

    first = attempt(None, [0, 1, 2], 1)
    state = first.state_dict()
    attempt(state, [3, 4, 5], 10)  # from 4 on, this is gone over again
    again = attempt({**state, "last_slot": [3, 0]}, [4], 100)
    last = attempt({**state, "last_slot": [4, 0]}, [5], 1000)
    (run,) = [r for r in sl.read_journal(last.wait_dir()) if r["type"] == "run"][-1:]
    assert run["derived"] == {
        "total": "RunningTotal() of train/n",
        "mean": "MeanOfLast(count=2, full=False) of train/n",
    }
    shown = {c["step"]: (c["values"]["total"], c["values"]["mean"]) for c in commits(last)}
    assert again.attempt == 3
    assert shown == {
        0: (1, 1.0), 1: (2, 1.0), 2: (3, 1.0), 3: (13, 5.5), 4: (113, 55.0), 5: (1113, 550.0),
    }  # fmt: skip


def test_a_table_that_is_over_is_named_once_a_run_and_still_works(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    over = AliasTable("ours", {"train/": "old/"}, remove_after="2020-01-01")
    logger = make(aliases=[over, "trl"])
    for step in (1, 2):
        tracker.scalar("train/loss", 1.0)
        logger.commit(step)
    assert all(commit["values"]["old/loss"] == 1.0 for commit in commits(logger))
    (warning,) = warnings_of(caplog)
    assert "alias table 'ours' was to be removed after 2020-01-01" in warning


# --- state -------------------------------------------------------------------------------------------------


def test_a_run_goes_on_from_its_state_on_a_fresh_disk(make: Make, tmp_path: Path) -> None:
    """The same run, its next attempt, from the step after the checkpoint's."""
    first = make(log_dir=tmp_path / "a", name="mine")
    assert (first.attempt, first.next_step) == (1, 0)
    assert first.state_dict()["last_slot"] is None
    first.commit(4)
    first.commit(4)
    state = first.state_dict()
    first.finish()
    second = make(state, log_dir=tmp_path / "b")
    assert (second.run_id, second.attempt, second.next_step) == (first.run_id, 2, 5)
    assert second.dir == tmp_path / "b" / "mine"
    second.commit(5)
    assert slots(second) == [(5, 0)]
    third = make(second.state_dict(), log_dir=tmp_path / "a", name="mine", resume="allow")
    assert (third.run_id, third.attempt, third.next_step) == (first.run_id, 3, 6)


def test_the_state_is_plain_data(make: Make) -> None:
    logger = make(name="mine")
    logger.commit(np.int64(4))
    assert logger.flush()
    assert logger.state_dict() == {
        "run_id": logger.run_id, "name": "mine", "attempt": 1, "last_slot": [4, 0],
        "seq": 1, "starts": [[1, 0, None]],
    }  # fmt: skip
    assert all(type(number) is int for number in logger.state_dict()["last_slot"])


def test_a_checkpoint_before_the_journals_end_goes_on_at_the_checkpoint(make: Make) -> None:
    """Steps that were lost with the crash are made again, by the next attempt."""
    first = make(name="mine")
    first.commit(1)
    state = first.state_dict()
    for step in (2, 3):
        first.commit(step)
    first.finish()
    second = make(state, name="mine", resume="must")
    assert second.next_step == 2
    second.commit(2)
    assert [(c["attempt"], c["step"]) for c in commits(second)] == [(1, 1), (1, 2), (1, 3), (2, 2)]


def test_the_state_of_another_run_is_refused(make: Make) -> None:
    """The refusal names both runs, and lets the directory go."""
    mine, other = make(name="mine"), make(name="other")
    for each in (mine, other):
        each.commit(1)
        each.finish()
    with pytest.raises(sl.RunDirectoryError) as caught:
        make(other.state_dict(), name="mine", resume="allow")
    assert str(mine.run_id) in str(caught.value)
    assert str(other.run_id) in str(caught.value)
    assert make(mine.state_dict(), name="mine", resume="allow").attempt == 2


# --- the end -----------------------------------------------------------------------------------------------


def test_a_commit_after_the_end_warns_and_raises_nothing(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    logger.commit(1)
    assert logger.finish()
    tracker.scalar(loss=1.0)
    logger.commit(2)
    logger.commit(3, {"loss": 1.0})
    logger.event("late")
    assert logger.flush()
    assert [f"step {step} after finish()" in w for step, w in zip((2, 3), warnings_of(caplog), strict=True)]
    assert slots(logger) == [(1, 0)]


def test_the_end_names_what_was_never_committed(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    tracker.scalar(committed=1.0)
    logger.commit(1)
    with tracker.scope("train"):
        tracker.scalar(forgotten=1.0)
        tracker.text(note="x")
    assert logger.finish()
    (warning,) = warnings_of(caplog)
    assert "never committed" in warning
    assert "train/forgotten" in warning
    assert "train/note" in warning
    assert "train/committed" not in warning


def test_the_end_is_silent_when_all_was_committed(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    tracker.scalar(loss=1.0)
    logger.commit(1)
    assert logger.finish()
    assert logger.finish()
    assert warnings_of(caplog) == []
    assert [event["event"] for event in journal(logger, "event")] == ["finish"]


def test_what_is_flushed_is_in_the_journal(make: Make, tracker: sl.StatsTracker) -> None:
    logger = make()
    for step in itertools.islice(itertools.count(1), 20):
        tracker.scalar(loss=step)
        logger.commit(step)
    assert logger.flush()
    steps = [r["step"] for r in sl.read_journal(logger.wait_dir()) if r["type"] == "commit"]
    assert steps == list(range(1, 21))
