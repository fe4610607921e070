"""Clocks are compared through the store, and nothing waits for that or is left in it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from sightline.errors import TransportError
from sightline.posting.clock_sync import ClockSync
from sightline.support.clock import Sync
from sightline.transports.base import Transport
from sightline.transports.local import LocalTransport
from tests.harness import until


class Store:
    """What the processes of these tests have between them."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.posts: dict[str, list[bytes]] = {}
        self.changed = threading.Condition()
        self.is_down = False
        self.refused = threading.Event()


class Connected(Transport):
    """A process's end of a store."""

    def __init__(self, store: Store, process: int, processes: int) -> None:
        self.process, self.processes, self.store = process, processes, store

    def _check(self) -> None:
        if self.store.is_down:
            self.store.refused.set()
            raise TransportError("the store is down")

    def post(self, channel: str, payload: bytes) -> None:
        self._check()
        with self.store.changed:
            self.store.posts.setdefault(channel, []).append(payload)

    def poll(self, channel: str) -> list[bytes]:
        self._check()
        with self.store.changed:
            return self.store.posts.pop(channel, [])

    def publish(self, name: str, value: bytes) -> None:
        self._check()
        with self.store.changed:
            assert name not in self.store.values, "no name is said twice"
            self.store.values[name] = value
            self.store.changed.notify_all()

    def lookup(self, name: str, timeout: float) -> bytes | None:
        self._check()
        with self.store.changed:
            self.store.changed.wait_for(lambda: name in self.store.values, timeout)
            return self.store.values.get(name)

    def retract(self, name: str) -> None:
        self._check()
        with self.store.changed:
            self.store.values.pop(name, None)


@pytest.fixture
def store() -> Store:
    return Store()


class Job:
    """The clock threads of some processes."""

    def __init__(
        self, store: Store, processes: int, *, absent: int | None = None, pause_s: float = 0.05
    ) -> None:
        self.found: list[list[Sync]] = [[] for _ in range(processes)]
        self.syncs = [
            ClockSync(Connected(store, p, processes), lambda: "run.1", self.found[p].append, pause_s=pause_s)
            for p in range(processes)
            if p != absent
        ]

    def close(self) -> None:
        for each in self.syncs:
            each.stop()
        assert all(each.close() for each in self.syncs)


@pytest.fixture
def job(store: Store) -> Iterator[Job]:
    started = Job(store, 4)
    yield started
    started.close()


def test_every_process_but_the_root_is_told_again_and_again(job: Job) -> None:
    until(lambda: all(len(each) >= 3 for each in job.found[1:]))
    assert job.found[0] == []
    for each in job.found[1:]:
        # One kernel has one clock.
        assert {(sync.offset_ns, sync.uncertainty_ns) for sync in each} == {(0, 0)}
        behind = [
            time.time_ns() - sync.root_time_ns - (time.perf_counter_ns() - sync.perf_counter_ns)
            for sync in each
        ]
        assert all(abs(ns) < 5_000_000 for ns in behind)


def test_nothing_is_left_in_the_store(store: Store, job: Job) -> None:
    until(lambda: all(job.found[1:]))
    for each in job.syncs[1:]:
        each.close()
    until(lambda: not store.posts.get("clock/run.1"))
    until(lambda: not store.values)


def test_a_process_that_is_gone_holds_up_nobody(store: Store) -> None:
    """It has asked, and does not answer."""
    store.posts["clock/run.1"] = [b"gone", b"gone too"]
    job = Job(store, 3)
    until(lambda: all(job.found[1:]))
    job.close()
    assert not any("gone" in name for name in store.values)


def test_a_store_that_was_down_is_asked_again(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.posting.clock_sync._AGAIN_S", 0.05)
    store.is_down = True
    job = Job(store, 3)
    assert store.refused.wait(60)
    assert not any(job.found)
    store.is_down = False
    until(lambda: all(job.found[1:]))
    job.close()
    assert not caplog.records


def test_without_a_root_it_ends_when_it_is_told(store: Store) -> None:
    job = Job(store, 3, absent=0)
    until(lambda: len(store.posts.get("clock/run.1", [])) == 2)
    job.close()
    assert not any(job.found)


def test_alone_it_has_no_thread() -> None:
    found: list[Sync] = []
    sync = ClockSync(LocalTransport(), lambda: "run.1", found.append)
    assert sync._thread is None
    assert sync.close()


@pytest.fixture
def several_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.posting.clock_sync.boot_id", lambda: os.urandom(8).hex())
    monkeypatch.setattr("sightline.posting.clock_sync.APART_NS", 0)


@pytest.mark.usefixtures("several_kernels")
def test_a_process_that_ends_compares_once_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root answers also when it is the first to end."""
    monkeypatch.setattr("sightline.posting.clock_sync._LAST_S", 60.0)
    job = Job(store, 3, pause_s=3600.0)
    until(lambda: all(len(each) == 1 for each in job.found[1:]))
    for each in job.syncs:
        each.end()
    job.close()
    assert [len(each) for each in job.found] == [0, 2, 2]
    assert all(sync.uncertainty_ns > 0 for each in job.found for sync in each)
    assert not store.values
    assert not store.posts.get("clock/run.1")


def test_one_that_has_the_roots_clock_ends_at_once(store: Store) -> None:
    job = Job(store, 2, pause_s=3600.0)
    until(lambda: job.found[1])
    job.syncs[1].end()
    job.close()
    assert len(job.found[1]) == 1


@pytest.mark.usefixtures("several_kernels")
@pytest.mark.parametrize("was_compared", [True, False])
def test_a_root_that_is_gone_holds_up_no_end(
    store: Store, was_compared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.posting.clock_sync._LAST_S", 0.1)
    job = Job(store, 2, pause_s=3600.0, absent=None if was_compared else 0)
    if was_compared:
        until(lambda: job.found[1])
        assert job.syncs.pop(0).close()
    job.syncs[0].end()
    assert job.syncs[0]._thread is not None
    assert not job.syncs[0]._thread.is_alive()
    assert len(job.found[1]) == was_compared


def test_a_store_that_is_down_holds_up_no_end(store: Store) -> None:
    store.is_down = True
    job = Job(store, 2)
    assert store.refused.wait(60)
    job.syncs[1].end()
    assert job.syncs[1]._thread is not None
    assert not job.syncs[1]._thread.is_alive()
    job.close()
