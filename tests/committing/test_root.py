"""The root among processes that are played: late, stuck, or out of reach."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.posting.message import Message, Pending
from tests.harness import until


class Played(sl.Transport):
    """The root's end of a transport whose other processes are played by the test.

    Attributes:
        down: whether the store answers polls with an error.
        failed, taken: how many polls failed, and how many posts were handed over.
    """

    process = 0

    def __init__(self, processes: int = 2) -> None:
        self.processes = processes
        self.down = False
        self.failed = 0
        self.taken = 0
        self._posts: list[bytes] = []
        self._lock = threading.Lock()

    def say(self, *messages: Message) -> None:
        with self._lock:
            self._posts.extend(message.to_bytes() for message in messages)

    def post(self, channel: str, payload: bytes) -> None:
        raise AssertionError("the root does not post")

    def poll(self, channel: str) -> list[bytes]:
        if self.down:
            self.failed += 1
            raise sl.TransportError("the store has gone")
        with self._lock:
            posts, self._posts = self._posts, []
            self.taken += len(posts)
        return posts

    def publish(self, name: str, value: bytes) -> None: ...
    def lookup(self, name: str, timeout: float) -> bytes | None:
        return None


def commit_of(process: int, step: int, **values: float) -> Message:
    """What a process posts that has recorded these scalars."""
    tracker = sl.StatsTracker()
    tracker.scalar(**values)
    return Pending((step, 0), [tracker.drain()], 0.01).message(process)


Started = tuple[sl.StatsLogger, sl.StatsTracker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    with contextlib.ExitStack() as ends:

        def one(transport: sl.Transport, **settings: Any) -> Started:
            tracker = sl.StatsTracker()
            config = sl.StatsLoggerConfig(log_dir=tmp_path, name="run", sinks=[], **settings)
            logger = sl.StatsLogger(config, tracker=tracker, transport=transport)
            ends.callback(logger.finish, 1.0)
            return logger, tracker

        yield one


def records(logger: sl.StatsLogger, kind: str) -> list[dict[str, Any]]:
    return [record for record in sl.read_journal(logger.wait_dir()) if record["type"] == kind]


def events(logger: sl.StatsLogger, name: str) -> list[dict[str, Any]]:
    return [record for record in records(logger, "event") if record["event"] == name]


def test_posts_of_the_others_are_merged_into_the_roots_commits(start: Callable[..., Started]) -> None:
    transport = Played(3)
    logger, tracker = start(transport)
    transport.say(commit_of(1, 1, loss=2.0), commit_of(2, 1, loss=6.0))
    tracker.scalar(loss=1.0)
    logger.commit(1)
    assert logger.flush(60)
    transport.say(Message("end", 1), Message("end", 2))
    assert logger.finish(60)
    (commit,) = records(logger, "commit")
    assert commit["values"]["loss"] == 3.0
    assert (commit["reported"], commit["expected"], commit["counts"]) == (3, 3, {"loss__count": 3})


def test_what_is_not_finite_is_attributed_to_its_processes(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Counts and kinds over all of them; who is named is listed once; of many, the lowest."""
    monkeypatch.setattr("sightline.committing.commit_lines._MOST_NAMED", 3)
    transport = Played(6)
    logger, tracker = start(transport)
    odd = {1: math.nan, 2: math.inf, 3: 0.0, 4: -math.inf, 5: math.nan}
    transport.say(*(commit_of(p, 1, loss=value, fine=1.0) for p, value in odd.items()))
    tracker.scalar(loss=1.0)
    tracker.scalar(late=1.0)
    logger.commit(1)
    transport.say(*(commit_of(p, 2, late=math.nan if p == 3 else 1.0) for p in odd))
    logger.commit(2)
    transport.say(*(Message("end", p) for p in odd))
    assert logger.finish(60)
    first, second = records(logger, "commit")
    assert first["nonfinite"] == {"loss": "nan"}
    assert first["nonfinite_records"] == {
        "loss": {"count": 4, "processes": [1, 2, 4], "nan": 2, "inf": 1, "-inf": 1}
    }
    assert first["values"]["obs/nonfinite"] == 4
    assert second["nonfinite_records"] == {"late": {"count": 1, "processes": [3], "nan": 1}}
    assert [(e["key"], e["step"], e["processes"], e["count"]) for e in events(logger, "nonfinite")] == [
        ("loss", 1, [1, 2, 4], 4), ("late", 2, [3], 1),
    ]  # fmt: skip
    assert all("test_root.py:" in event["site"] for event in events(logger, "nonfinite"))
    said = [r.getMessage() for r in caplog.records if "non-finite" in r.getMessage()]
    assert ["on processes 1, 2, 4, recorded" in said[0], "on process 3, recorded" in said[1]] == [True, True]


def test_a_sum_that_overflows_over_the_processes_is_nobodys(start: Callable[..., Started]) -> None:
    """Each part of it is finite."""

    def totals(tracker: sl.StatsTracker) -> sl.StatsTracker:
        tracker.total(amount=1.7e308)
        return tracker

    transport = Played()
    logger, tracker = start(transport)
    drained = totals(sl.StatsTracker()).drain()
    transport.say(Pending((1, 0), [drained], 0.01).message(1), Message("end", 1))
    totals(tracker)
    logger.commit(1)
    assert logger.finish(60)
    (commit,) = records(logger, "commit")
    assert commit["nonfinite_records"] == {"amount": {"count": 1, "processes": [], "inf": 1}}
    assert [event["processes"] for event in events(logger, "nonfinite")] == [[]]


def test_a_histogram_is_of_all_processes(start: Callable[..., Started]) -> None:
    """And a late snapshot has none of its own."""
    transport = Played()
    logger, tracker = start(transport, first_deadline_s=0.2)
    other = sl.StatsTracker()
    other.histogram("length", [4.0, 5.0, 5.0], bins=4)
    late = Pending((1, 0), [other.drain()], 0.01).message(1)
    tracker.histogram("length", [1.5], bins=4)
    logger.commit(1)
    assert logger.flush(60)
    transport.say(late)
    other.histogram("length", [4.0, 4.0, 5.0], bins=4)
    transport.say(Pending((2, 0), [other.drain()], 0.01).message(1), Message("end", 1))
    until(lambda: transport.taken == 3, "the posts to be taken")
    tracker.histogram("length", [1.0], bins=4)
    logger.commit(2)
    assert logger.finish(60)
    alone, together = records(logger, "histogram")
    assert (alone["step"], alone["edges"], alone["counts"]) == (1, [1.0, 1.25, 1.5, 1.75, 2.0], [0, 0, 1, 0])
    assert (together["step"], together["edges"]) == (2, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert sum(together["counts"]) == 4
    assert together["counts"][0] == 1
    assert records(logger, "late")[0]["counts"] == {"length__count": 3}


def test_without_the_store_the_root_goes_on_alone(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One deadline, one warning, a counter in each line; and the others are back when the store is."""
    monkeypatch.setattr("sightline.committing.root._DOWN_POLL_S", 0.05)
    transport = Played()
    transport.down = True
    logger, tracker = start(transport, first_deadline_s=0.2, deadline_s=600)
    for step in (1, 2, 3):
        tracker.scalar(loss=step)
        logger.commit(step)
        assert logger.flush(60)
    alone = records(logger, "commit")
    assert [(c["step"], c["values"]["loss"], c["reported"]) for c in alone] == [
        (1, 1.0, 1), (2, 2.0, 1), (3, 3.0, 1),
    ]  # fmt: skip
    assert [c["values"].get("obs/transport_down") for c in alone] == [1, 1, 1]
    assert [c.get("missing") for c in alone] == [[1], None, None]
    until(lambda: transport.failed > 3, "more failing polls")
    assert len([r for r in caplog.records if "the store has gone" in r.getMessage()]) == 1

    transport.say(commit_of(1, 1, loss=9.0), commit_of(1, 4, loss=9.0))
    transport.down = False
    until(lambda: transport.taken == 2, "the posts to be taken")
    tracker.scalar(loss=5.0)
    logger.commit(4)
    transport.say(Message("end", 1))
    assert logger.finish(60)
    last = records(logger, "commit")[-1]
    assert (last["step"], last["values"]["loss"], last["reported"]) == (4, 7.0, 2)
    assert "obs/transport_down" not in last["values"]
    assert [(late["step"], late["process"]) for late in records(logger, "late")] == [(1, 1)]


def test_the_end_is_not_waited_for_where_the_store_is_gone(
    start: Callable[..., Started], caplog: pytest.LogCaptureFixture
) -> None:
    """What the root has is written, and who did not end is named, in the journal and in the log."""
    transport = Played()
    transport.down = True
    logger, tracker = start(transport)
    tracker.scalar(loss=1.0)
    logger.commit(1)
    assert not logger.finish(0.5)
    (commit,) = records(logger, "commit")
    assert (commit["values"]["loss"], commit["missing"]) == (1.0, [1])
    assert events(logger, "finish")[0]["missing"] == [1]
    assert any("process 1 did not end in time" in record.getMessage() for record in caplog.records)


def test_a_stall_names_who_is_behind(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When slots stop closing, the journal and the log say for whom the next one waits; once."""
    monkeypatch.setattr("sightline.posting.stall._AT_LEAST_S", 0.2)
    transport = Played(3)
    logger, tracker = start(transport, deadline_s=600)
    for step in range(1, 9):
        transport.say(commit_of(1, step, loss=1.0), commit_of(2, step, loss=1.0))
        tracker.scalar(loss=1.0)
        logger.commit(step)
        assert logger.flush(60)
    transport.say(commit_of(1, 9, loss=1.0))
    logger.commit(9)

    def stalls() -> list[dict[str, Any]]:
        return [event for event in events(logger, "stall") if event["step"] == 9]

    until(stalls, "a stall event")
    until(lambda: events(logger, "stacks"), "the stacks of the root, which commits nothing either")
    transport.say(commit_of(2, 9, loss=1.0), Message("end", 1), Message("end", 2))
    assert logger.finish(60)
    (stall,) = stalls()
    assert (stall["k"], stall["waiting_for"], stall["attempt"]) == (0, [2], 1)
    assert any("step 9 waits for 1 of 3" in r.getMessage() and "process 2 (last step 8)" in r.getMessage()
               for r in caplog.records)  # fmt: skip
    own = events(logger, "stacks")[-1]
    assert own["process"] == 0
    assert "MainThread" in own["stacks"]
    assert len(records(logger, "commit")) == 9


def test_the_stacks_of_a_stuck_process_become_an_event(
    start: Callable[..., Started], caplog: pytest.LogCaptureFixture
) -> None:
    transport = Played()
    logger, _ = start(transport)
    stacks = 'thread MainThread:\n  File "train.py", line 3, in <module>\n    wait_for_ever()\n'
    transport.say(Message("stalled", 1, (7, 0), note=stacks))
    (event,) = until(lambda: events(logger, "stacks"), "the stacks")
    assert (event["process"], event["step"], event["stacks"]) == (1, 7, stacks)
    assert any("process 1" in r.getMessage() and "wait_for_ever()" in r.getMessage() for r in caplog.records)
    transport.say(Message("end", 1))
    assert logger.finish(60)


def test_a_post_that_names_no_process_of_the_job_is_counted(
    start: Callable[..., Started], caplog: pytest.LogCaptureFixture
) -> None:
    transport = Played()
    logger, _ = start(transport)
    transport.say(commit_of(7, 1, loss=1.0), commit_of(-1, 1, loss=1.0), commit_of(1, 1, loss=4.0))
    until(lambda: transport.taken == 3, "the posts to be taken")
    logger.commit(1)
    transport.say(Message("end", 1))
    assert logger.finish(60)
    (commit,) = records(logger, "commit")
    assert (commit["values"]["loss"], commit["values"]["obs/unreadable_snapshots"]) == (4.0, 2)
    assert len([r for r in caplog.records if "cannot be read" in r.getMessage()]) == 1


def test_commits_that_a_process_has_folded_are_counted(start: Callable[..., Started]) -> None:
    transport = Played()
    logger, _ = start(transport)
    folded = commit_of(1, 3, loss=1.0)
    folded.obs = {"merged_commits": 2}
    transport.say(folded, Message("end", 1))
    for step in (1, 2, 3):
        logger.commit(step)
    assert logger.finish(60)
    commits = records(logger, "commit")
    assert [(c["step"], c["reported"], c.get("missing")) for c in commits] == [
        (1, 1, None), (2, 1, None), (3, 2, None),
    ]  # fmt: skip
    assert sum(c["values"].get("obs/merged_commits", 0) for c in commits) == 2
