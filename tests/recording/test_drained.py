"""The store behind a tracker: taken off in one piece, and reduced later on another thread."""

import threading

import sightline as sl
from sightline.recording.drained import Drained
from sightline.recording.records import Records
from sightline.values.snapshot import Snapshot


def test_an_empty_store_makes_an_empty_snapshot() -> None:
    """Of the process that it is said to be of."""
    drained = Drained(Records(), {})
    assert not drained
    assert drained.recorded() == []
    snapshot = drained.snapshot(5)
    assert (len(snapshot), snapshot.processes) == (0, (5,))
    assert Snapshot.from_bytes(snapshot.to_bytes()).render().values == {}


def test_drained_records_do_not_change_afterwards() -> None:
    """What is recorded next belongs to the next drain."""
    tracker = sl.StatsTracker()
    tracker.scalar(x=1.0)
    tracker.text(t="a")
    drained = tracker.drain()
    tracker.scalar(x=9.0)
    tracker.text(t="b")
    rendered = drained.snapshot(0).render()
    assert (rendered.values, rendered.texts) == ({"x": 1.0}, {"t": "a"})
    assert tracker.drain().snapshot(0).render().values == {"x": 9.0}


def test_a_drain_knows_its_keys() -> None:
    """Of every kind, sorted, under their scopes."""
    tracker = sl.StatsTracker()
    with tracker.scope("b"):
        tracker.scalar(x=1.0)
        tracker.total(y=1)
    tracker.summary("a", [1.0])
    tracker.text(t="x")
    assert tracker.drain().recorded() == ["a", "b/x", "b/y", "t"]


def test_records_are_reduced_on_another_thread_while_the_tracker_goes_on() -> None:
    """New keys may be declared meanwhile."""
    tracker = sl.StatsTracker()
    counts: list[int] = []

    def reduce() -> None:
        counts.extend(tracker.drain().snapshot(0).moments.counts[0].sum() for _ in range(50))

    thread = threading.Thread(target=reduce)
    thread.start()
    for i in range(5000):
        tracker.scalar(**{f"k{i}": 1.0})
    thread.join()
    assert sum(counts) + len(tracker.drain().recorded()) == 5000


def test_the_same_records_make_the_same_bytes() -> None:
    """Whatever the order in which keys were first recorded: schemas can then be kept by their bytes."""
    bytes_ = set()
    for order in (("a", "b", "c"), ("c", "a", "b")):
        tracker = sl.StatsTracker()
        for key in order:
            tracker.scalar(key, 1.0)
            tracker.total(f"t{key}", 1)
            tracker.summary(f"s{key}", [1.0], quantiles=(0.5,))
        bytes_.add(tracker.snapshot().to_bytes())
    assert len(bytes_) == 1


def test_draining_does_not_depend_on_the_number_of_keys() -> None:
    """It swaps the store; the training thread does not pay for the reduction."""
    tracker = sl.StatsTracker()
    tracker.scalar(**{f"k{i}": 1.0 for i in range(5000)})
    store = tracker._records
    drained = tracker.drain()
    assert drained._records is store
    assert len(drained.recorded()) == 5000
