"""What is asked at every commit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.sampling import add_sampler, sample


@pytest.fixture
def add() -> Iterator[Callable[..., Callable[[], None]]]:
    """Adds samplers that are gone when the test is over."""
    removers: list[Callable[[], None]] = []

    def one(sampler: Callable[[Any], None]) -> Callable[[], None]:
        removers.append(add_sampler(sampler))
        return removers[-1]

    yield one
    for remove in removers:
        remove()


def test_what_a_sampler_records_is_in_the_commit_that_asks(
    tmp_path: Path, add: Callable[..., Callable[[], None]]
) -> None:
    """In the same line as what the step recorded, and outside the caller's scopes."""
    tracker = sl.StatsTracker()
    numbers = iter(range(10))
    add(lambda committed: committed.scalar("sampled", next(numbers)))
    logger = sl.StatsLogger(sl.StatsLoggerConfig(log_dir=tmp_path, sinks=[]), tracker=tracker)
    for step in (1, 2):
        with tracker.scope("train"):
            tracker.scalar(loss=0.5)
            logger.commit(step)
    assert logger.finish()
    values = [r["values"] for r in sl.read_journal(logger.wait_dir()) if r["type"] == "commit"]
    assert values == [{"sampled": 0.0, "train/loss": 0.5}, {"sampled": 1.0, "train/loss": 0.5}]


def test_values_that_are_final_ask_nobody(tmp_path: Path, add: Callable[..., Callable[[], None]]) -> None:
    """Nothing is drained then, so what a sampler recorded would be of another commit."""
    asked: list[Any] = []
    add(asked.append)
    logger = sl.StatsLogger(sl.StatsLoggerConfig(log_dir=tmp_path, sinks=[]), tracker=sl.StatsTracker())
    logger.commit(1, {"loss": 0.5})
    assert logger.finish()
    assert asked == []


def test_a_sampler_that_fails_is_logged_once(
    add: Callable[..., Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked again each time, and the others with it."""
    asked: list[Any] = []

    def broken_sensor(tracker: Any) -> None:
        asked.append("broken")
        raise OSError("no such sensor")

    add(broken_sensor)
    add(lambda tracker: asked.append("whole"))
    for _ in range(3):
        sample(sl.StatsTracker())
    assert asked == ["broken", "whole"] * 3
    (record,) = caplog.records
    assert "broken_sensor" in record.getMessage()
    assert record.exc_info


def test_a_sampler_ends_when_it_is_removed(add: Callable[..., Callable[[], None]]) -> None:
    """Alone, also if the same function was added twice; removing it again does nothing."""
    asked: list[Any] = []
    remove, _ = add(asked.append), add(asked.append)
    remove()
    remove()
    sample(sl.StatsTracker())
    assert len(asked) == 1


def test_a_sampler_may_remove_itself(add: Callable[..., Callable[[], None]]) -> None:
    """Those after it are asked all the same."""
    asked: list[str] = []
    removers: list[Callable[[], None]] = []

    def once(tracker: Any) -> None:
        asked.append("once")
        removers[0]()

    removers.append(add(once))
    add(lambda tracker: asked.append("always"))
    sample(sl.StatsTracker())
    sample(sl.StatsTracker())
    assert asked == ["once", "always", "always"]
