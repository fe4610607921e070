"""The active step: it nests, threads see it, and it is an int."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.recording.step import active_step


def seen_by_a_thread() -> int | None:
    """The active step of a thread that is started now."""
    seen: list[int | None] = []
    thread = threading.Thread(target=lambda: seen.append(active_step()))
    thread.start()
    thread.join()
    return seen[0]


def test_steps_nest_and_end_with_their_block() -> None:
    before = active_step()
    with sl.step(3) as outer:
        assert (outer, active_step()) == (3, 3)
        with sl.step(-7):
            assert active_step() == -7
        assert active_step() == 3
    assert active_step() == before


def test_a_block_left_by_an_exception_gives_the_outer_step_back() -> None:
    with sl.step(3):
        with pytest.raises(ZeroDivisionError), sl.step(4):
            raise ZeroDivisionError
        assert active_step() == 3
        assert seen_by_a_thread() == 3


def test_threads_see_the_latest_step_of_the_process() -> None:
    """A thread starts with an empty context, and still knows in which step it works."""
    with sl.step(3):
        assert seen_by_a_thread() == 3
        with sl.step(4):
            assert seen_by_a_thread() == 4
        assert seen_by_a_thread() == 3


def test_blocks_of_tasks_that_end_in_another_order_leave_nothing_behind() -> None:
    """Threads see the latest of those that are open, and none once all have ended."""
    before = active_step()

    async def task(number: int, may_end: asyncio.Event) -> None:
        with sl.step(number):
            await may_end.wait()

    async def main() -> list[int | None]:
        first, second = asyncio.Event(), asyncio.Event()
        one = asyncio.create_task(task(1, first))
        two = asyncio.create_task(task(2, second))
        await asyncio.sleep(0)
        seen = [seen_by_a_thread()]
        first.set()
        await one
        seen.append(seen_by_a_thread())
        second.set()
        await two
        return seen

    assert asyncio.run(main()) == [2, 2]
    assert seen_by_a_thread() == before


def test_a_threads_own_step_is_its_own() -> None:
    """A step that another thread sets does not change the one of a thread that has set its own."""
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with sl.step(8):
            entered.set()
            leave.wait(60)

    with sl.step(3):
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(60)
        assert active_step() == 3
        leave.set()
        thread.join()


@pytest.mark.parametrize("number", [np.int64(7), np.uint8(7), np.int32(7), 7])
def test_ints_of_any_kind_are_steps_and_stored_as_int(number: Any) -> None:
    with sl.step(number) as entered:
        assert type(active_step()) is int
        assert (entered, active_step()) == (7, 7)


@pytest.mark.parametrize("number", [1.0, np.float32(1), True, np.bool_(True), "1", None])
def test_what_is_no_int_is_refused(number: Any) -> None:
    before = active_step()
    with pytest.raises(sl.RecordError, match="int"), sl.step(number):
        pass
    assert active_step() == before
