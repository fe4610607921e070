"""Scopes: of each tracker, thread and task, however they are left."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

import sightline as sl
from sightline import RecordError
from tests.recording.local import local


def test_scopes_nest_and_end_on_exceptions(tracker: sl.StatsTracker) -> None:
    """What is recorded afterwards is outside again."""
    with pytest.raises(RecordError), tracker.scope("a"), tracker.scope("b/c"):
        tracker.scalar(x=1.0, y="wrong")
    with tracker.scope("a"), tracker.scope("b/c"):
        tracker.scalar(x=1.0)
    tracker.scalar(y=1.0)
    assert {key for key in local(tracker) if "__" not in key} == {"a/b/c/x", "y"}


def test_a_scope_object_may_be_used_again(tracker: sl.StatsTracker) -> None:
    """Nested in itself, and after an exception."""
    scope = tracker.scope("a")
    with scope, scope:
        tracker.scalar(x=1.0)
    with scope:
        tracker.scalar(y=1.0)
    assert {key for key in local(tracker) if "__" not in key} == {"a/a/x", "a/y"}


def test_scopes_left_out_of_order_take_only_themselves(tracker: sl.StatsTracker) -> None:
    """A generator that holds a scope open over a yield does not bend its consumer's scope for ever."""

    def holding() -> Iterator[int]:
        with tracker.scope("inner"):
            yield 1

    generator = holding()
    next(generator)
    with tracker.scope("outer"):
        generator.close()
        tracker.scalar(x=1.0)
    tracker.scalar(y=1.0)
    assert {key for key in local(tracker) if "__" not in key} == {"outer/x", "y"}


def test_scopes_of_threads_and_tasks_do_not_disturb_each_other(tracker: sl.StatsTracker) -> None:
    """Each task and each thread sees its own path, however they interleave."""

    async def nested(name: str) -> None:
        with tracker.scope(name):
            await asyncio.sleep(0)
            with tracker.scope("in"):
                await asyncio.sleep(0)
                tracker.scalar(x=1.0)
            await asyncio.sleep(0)
            tracker.scalar(y=1.0)

    async def many() -> None:
        await asyncio.gather(*(nested(f"task{i}") for i in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(nested(f"thread{i}"),)) for i in range(4)]
    with tracker.scope("main"):
        for thread in threads:
            thread.start()
        asyncio.run(many())
        for thread in threads:
            thread.join()
    names = {f"main/task{i}" for i in range(20)} | {f"thread{i}" for i in range(4)}
    assert {key for key in local(tracker) if "__" not in key} == {
        f"{n}/{k}" for n in names for k in ("in/x", "y")
    }


def test_trackers_have_scopes_of_their_own(tracker: sl.StatsTracker) -> None:
    """The scope of one means nothing to another."""
    other = sl.StatsTracker("other")
    with tracker.scope("a"):
        other.scalar(x=1.0)
    assert local(other)["x"] == 1.0
