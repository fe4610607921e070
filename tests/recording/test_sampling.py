"""What is asked at every commit."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.recording.sampling import add_sampler, sample


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


FORKED = """
import os, signal, sys
import sightline as sl
from sightline.recording.sampling import add_sampler

add_sampler(lambda tracker: tracker.scalar("parents", 1))
add_sampler(lambda tracker: tracker.scalar("renewed", 1), in_children=True)
parent = sl.start("parent", name="run", sinks=[])
if sys.argv[1] == "used":
    with sl.session(task="before") as session:
        session.accept()
# Held at the fork, as a thread of the parent may hold it that writes just then.
parent._sessions._taking.acquire()
child = os.fork()
if not child:
    with sl.start("child", name="run", sinks=[]) as run:
        with sl.session(task="child") as session:
            session.accept()
        run.commit(0)
    os._exit(0)
parent._sessions._taking.release()
assert os.waitpid(child, 0)[1] == 0
with sl.session(task="after") as session:
    session.accept()
parent.commit(0)
parent.finish()
"""


@pytest.mark.parametrize("parent", ["unused", "used"])
def test_a_forked_childs_run_has_its_own_sessions_and_samplers(parent: str, tmp_path: Path) -> None:
    """While the parent's run is open, and a lock of the parent's held: nobody waits, and nothing is lost."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, parent],
        check=True, timeout=60, cwd=tmp_path, env=dict(os.environ),
    )  # fmt: skip
    tasks, values = {}, {}
    for name in ("parent", "child"):
        run = tmp_path / name / "run"
        tasks[name] = [record.task for record in sl.read_sessions(run)]
        (values[name],) = [r["values"] for r in sl.read_journal(run) if r["type"] == "commit"]
    before = ["before"] if parent == "used" else []
    assert tasks == {"parent": [*before, "after"], "child": ["child"]}
    assert values["child"]["rollout/session/accepted"] == 1
    assert values["parent"]["rollout/session/accepted"] == len(before) + 1
    assert [name for name in ("parents", "renewed") if name in values["child"]] == ["renewed"]
    assert [name for name in ("parents", "renewed") if name in values["parent"]] == ["parents", "renewed"]
