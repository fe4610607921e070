"""Names of what is committed: keys outside of the conventions, and how timings are spelled."""

import pytest

import sightline as sl
from tests.committing.loggers import Make, commits, warnings_of


def record_odd_and_fine(tracker: sl.StatsTracker) -> None:
    with tracker.scope("train"):
        tracker.scalar(loss=1.0, Loss=2.0)
        tracker.summary("reward", [1.0])
        with tracker.record_timing("update"):
            pass
    tracker.scalar(orphan=1.0)


def test_odd_keys_are_said_once_with_their_place(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    """In one message for all that come in one commit, on the root, whoever recorded them; and that is all."""
    logger = make(naming="warn")
    for step in (1, 2):
        record_odd_and_fine(tracker)
        logger.commit(step)
    logger.commit(3, {"train/final": 1.0, "finals": 2.0, "finals__count": 3, "train/kind": "text"})
    logger.commit(4, {"finals": 2.0})
    values = commits(logger)
    assert [commit["step"] for commit in values] == [1, 2, 3, 4]
    assert not [key for commit in values for key in commit["values"] if key.startswith("obs/")]
    recorded, final = warnings_of(caplog)
    assert "'train/Loss' (recorded at tests/committing/test_names_of_commits.py:" in recorded
    assert "'Loss' is not in snake_case" in recorded
    assert "'orphan' (recorded at tests/committing/test_names_of_commits.py:" in recorded
    assert recorded.count("recorded at") == 2
    assert "'finals': its first part 'finals' is none of" in final
    assert "train/" not in final.partition("none of")[0]


def test_of_many_odd_keys_some_are_shown_and_the_others_counted(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make(naming="warn")
    tracker.scalar(**{f"odd_{i}": 1.0 for i in range(100)})
    logger.commit(1)
    logger.flush(10)
    (said,) = warnings_of(caplog)
    assert said.count("recorded at") == 20
    assert said.endswith("… and 80 more")


def test_under_strict_an_odd_key_makes_every_commit_of_it_raise(make: Make, tracker: sl.StatsTracker) -> None:
    """Where it can be mended: with key, place, reason and the settings; and nothing is lost by it."""
    logger = make(naming="strict")
    for step in (1, 2):
        record_odd_and_fine(tracker)
        with pytest.raises(sl.RecordError) as raised:
            logger.commit(step)
    for said in (
        "'train/Loss' (recorded at tests/committing/test_names_of_commits.py:",
        "'orphan'",
        "namespaces=(...)",
    ):
        assert said in str(raised.value)
    with pytest.raises(sl.RecordError, match="'finals': its first part"):
        logger.commit(3, [{"train/fine": 1.0}, {"finals": 2.0}])
    tracker.scalar("train/loss", 1.0)
    logger.commit(5)
    values = [commit["values"] for commit in commits(logger)]
    assert [len(each) for each in values] == [10, 10, 1, 1, 1]


def test_a_namespace_that_is_named_is_no_oddity(make: Make, tracker: sl.StatsTracker) -> None:
    logger = make(naming="strict", namespaces=("actor",))
    tracker.scalar("actor/loss", 1.0)
    logger.commit(1)
    tracker.scalar("critic/loss", 1.0)
    with pytest.raises(sl.RecordError, match=r"'critic' is none of train, .*, actor"):
        logger.commit(2)


def test_a_spelling_of_timings_that_was_asked_for_is_no_oddity(make: Make, tracker: sl.StatsTracker) -> None:
    """Nor is what sightline itself adds to a commit."""
    logger = make(naming="strict", timing_key="timeperf/{key}")
    with tracker.record_timing("update"):
        tracker.scalar("train/loss", float("nan"))
    logger.commit(1)
    (commit,) = commits(logger)
    assert {"timeperf/update", "obs/nonfinite"} <= set(commit["values"])


def test_under_strict_a_key_that_an_alias_has_taken_raises(make: Make, tracker: sl.StatsTracker) -> None:
    """Whichever of the two comes first, and if they never meet in a commit."""
    logger = make(naming="strict", aliases={"train/a": "train/b", "train/c": "train/d"})
    tracker.scalar("train/a", 1.0)
    logger.commit(1)
    tracker.scalar("train/b", 1.0)
    with pytest.raises(sl.RecordError, match=r"'train/b' .*alias 'train/a' -> 'train/b' gives this name"):
        logger.commit(2)
    tracker.scalar("train/d", 1.0)
    logger.commit(3)
    tracker.scalar("train/c", 1.0)
    with pytest.raises(sl.RecordError, match=r"'train/c' .*its alias 'train/d' is a key itself"):
        logger.commit(4)


def test_with_naming_off_nobody_looks(
    make: Make, tracker: sl.StatsTracker, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make(naming="off")
    record_odd_and_fine(tracker)
    logger.commit(1)
    logger.commit(2, {"finals": 1.0})
    assert len(commits(logger)) == 2
    assert warnings_of(caplog) == []


def timing_names(logger: sl.StatsLogger, tracker: sl.StatsTracker) -> list[str]:
    with tracker.scope("train"), tracker.record_timing("update"):
        pass
    logger.commit(1)
    return [key for key in commits(logger)[0]["values"] if key.endswith(("update", "update_s", "update_ms"))]


def test_the_configurations_timing_key_reaches_the_trackers(make: Make, tracker: sl.StatsTracker) -> None:
    assert timing_names(make(timing_key="timeperf/{key}"), tracker) == ["timeperf/train/update"]


def test_a_trackers_own_timing_key_stays_when_the_configuration_has_none(make: Make) -> None:
    tracker = sl.StatsTracker(timing_key="mine/{key}_ms")
    assert timing_names(make(tracker=tracker), tracker) == ["mine/train/update_ms"]


@pytest.mark.parametrize("timing_key", ["time", "", "{key}/", "{other}/{key}", "{}/{key}", "{key", "{key.a}"])
def test_a_wrong_timing_key_is_refused_at_once(timing_key: str) -> None:
    with pytest.raises(sl.ConfigurationError, match="timing_key"):
        sl.StatsLoggerConfig(timing_key=timing_key)
