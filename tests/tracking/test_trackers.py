"""The trackers of a process: one for each name, one meaning of keys for all, and a new one for each run."""

import inspect
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sightline as sl
from sightline.recording.drained import Drained
from sightline.tracking.trackers import drain_for_good


def counts_of(drained: list[Drained]) -> Counter[str]:
    """How many records there are of each key, and of each total its sum."""
    found: Counter[str] = Counter()
    for each in filter(None, drained):
        rendered = each.snapshot(0).render()
        found.update({key: int(value) for key, value in rendered.values.items() if key.endswith("total")})
        found.update(rendered.counts)
    return found


@contextmanager
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_named_trackers_are_kept() -> None:
    """One of a name in a process."""
    assert sl.tracker("one of these tests") is sl.tracker("one of these tests")
    assert sl.tracker() is sl.tracker("default")


def test_the_module_functions_are_the_default_trackers() -> None:
    """With the same signatures, and so the same help."""
    for name in (
        "scalar",
        "total",
        "last",
        "ratio",
        "rate",
        "summary",
        "masked",
        "record_timing",
        "scope",
        "text",
    ):
        assert getattr(sl, name).__self__ is sl.tracker()
        assert inspect.signature(getattr(sl, name)) == inspect.signature(getattr(sl.tracker(), name))


def test_trackers_of_one_process_share_the_meaning_of_keys() -> None:
    """A commit puts named trackers' records together, so a key recorded two ways is an error at the call."""
    first, second = sl.tracker("shares_a"), sl.tracker("shares_b")
    first.scalar("shared/by/trackers", 1.0)
    with pytest.raises(sl.RecordError, match=r"two reductions: scalar at .*total at "):
        second.total("shared/by/trackers", 1)
    second.scalar("shared/by/trackers", 3.0)
    merged = sl.Snapshot.merge([first.snapshot(), second.snapshot()])
    assert merged.render().values["shared/by/trackers"] == 2.0


def test_trackers_share_one_lock_in_a_forked_child_too() -> None:
    """It is a new one, since another thread may have held the parent's; and one, since their keys are one."""
    sl.tracker("shares_a_lock")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking with threads, which others of this process may have
        child = os.fork()
    if child == 0:
        same = sl.tracker()._lock is sl.tracker("shares_a_lock")._lock
        apart = sl.StatsTracker()._lock is not sl.tracker()._lock
        os._exit(0 if same and apart else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- the end of a run --------------------------------------------------------------------------------------


def test_the_next_run_of_a_process_may_record_a_key_otherwise(tmp_path: Path) -> None:
    """In a notebook, say; within one run it is an error as ever, on whichever tracker."""
    for bins in (4, 8):
        with sl.start(tmp_path, name=f"bins{bins}", sinks=[], naming="off") as run:
            sl.histogram("twice/length", [1, 2, 2, 9], bins=bins)
            with pytest.raises(sl.RecordError, match="two reductions"):
                sl.tracker("ends").total("twice/length", 1)
            (sl.tracker("ends").scalar if bins == 4 else sl.last)("twice/loss", bins)
            run.commit(1)
        lines = list(sl.read_journal(run.wait_dir()))
        (histogram,) = (line for line in lines if line["type"] == "histogram")
        (commit,) = (line for line in lines if line["type"] == "commit")
        assert len(histogram["counts"]) == bins
        assert commit["values"]["twice/loss"] == bins


def test_a_tracker_of_ones_own_lets_its_keys_go_with_its_run(tmp_path: Path) -> None:
    """And what was drained before is reduced as it was declared then."""
    tracker = sl.StatsTracker()
    tracker.scalar(x=1.0)
    before = tracker.drain()
    sl.StatsLogger(sl.StatsLoggerConfig(log_dir=tmp_path, sinks=[]), tracker=tracker).finish()
    tracker.total(x=3)
    assert before.snapshot(0).render().values == {"x": 1.0}
    assert tracker.export(reduce="local") == {"x": 3}


def test_a_run_of_one_shared_tracker_leaves_the_others_their_keys(tmp_path: Path) -> None:
    """Of what they have recorded, and nobody has committed yet, the meaning is still needed."""
    sl.tracker("kept_a").scalar("kept/x", 1.0)
    config = sl.StatsLoggerConfig(log_dir=tmp_path, sinks=[])
    sl.StatsLogger(config, tracker=sl.tracker("kept_b")).finish()
    with pytest.raises(sl.RecordError, match="two reductions"):
        sl.tracker("kept_b").total("kept/x", 1)
    assert sl.tracker("kept_a").export(reduce="local")["kept/x"] == 1.0


def test_what_is_recorded_while_keys_are_let_go_is_declared_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until they are gone, and is in the next drain with a meaning of its own."""
    tracker = sl.StatsTracker()
    tracker.scalar(x=1.0)
    forget = tracker._registry.forget
    thread = threading.Thread(target=tracker.scalar, kwargs={"x": 2.0})

    def slowly() -> None:
        thread.start()
        thread.join(0.2)
        forget()

    monkeypatch.setattr(tracker._registry, "forget", slowly)
    (drained,) = drain_for_good(tracker)
    thread.join()
    assert drained.snapshot(0).render().values == {"x": 1.0}
    assert tracker.export(reduce="local") == {"x": 2.0, "x__count": 1}


def test_a_commit_just_before_a_run_ends_keeps_the_meaning_of_its_keys() -> None:
    """It takes that with the records, and does not look for it after them."""
    tracker = sl.StatsTracker()
    tracker.scalar(x=1.0)

    class RunsEndWhenReleased:
        lock = tracker._lock

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()
            tracker._registry.forget()

    tracker._lock = RunsEndWhenReleased()
    assert tracker.drain().snapshot(0).render().values == {"x": 1.0}


def test_what_other_threads_record_and_commit_while_runs_end_counts_once() -> None:
    """Every record is in one drain, with the keys that were declared for it, and nothing raises."""
    drain_for_good()
    trackers = [sl.tracker(), sl.tracker("meanwhile")]
    rounds, errors = 1000, []

    def record(tracker: sl.StatsTracker, name: str) -> None:
        try:
            for _ in range(rounds):
                tracker.scalar(f"meanwhile/{name}", 1.0)
                tracker.total(f"meanwhile/{name}_total", 1)
                tracker.summary(f"meanwhile/{name}_all", [1.0, 2.0], quantiles=(0.5,))
        except Exception as error:  # noqa: BLE001 - for the test to show
            errors.append(error)

    drained: list[Drained] = []
    recorders = [threading.Thread(target=record, args=(each, each.name)) for each in trackers]

    def commit() -> None:
        while any(thread.is_alive() for thread in recorders):
            drained.extend([each.drain() for each in trackers])

    committer = threading.Thread(target=commit)
    ends = 0
    with switching_often():
        for thread in (*recorders, committer):
            thread.start()
        while any(thread.is_alive() for thread in recorders):
            drained.extend(drain_for_good())
            ends += 1
        for thread in (*recorders, committer):
            thread.join()
    found = counts_of(drained + drain_for_good())
    assert errors == []
    assert ends > 10
    for each in trackers:
        assert found[f"meanwhile/{each.name}__count"] == rounds
        assert found[f"meanwhile/{each.name}_total"] == rounds
        assert found[f"meanwhile/{each.name}_all__count"] == 2 * rounds


def test_a_run_that_a_signal_handler_ends_in_the_middle_of_a_record_spoils_nothing() -> None:
    """The record that it interrupts has declared its key, and finds it declared when it goes on."""
    tracker = sl.StatsTracker()
    drained: list[Drained] = []

    def handler(number: int, frame: object) -> None:
        drained.extend(drain_for_good(tracker))

    before = signal.signal(signal.SIGALRM, handler)
    recorded = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            recorded += 1
            tracker.scalar(x=1.0)
            tracker.total(total=1)
            tracker.summary("s", [1.0, 2.0])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(drained) > 20
    found = counts_of(drained + drain_for_good(tracker))
    assert found == {"x__count": recorded, "total": recorded, "s__count": 2 * recorded}
