"""Slots close in order, wait for whoever keeps up, and never wait twice for whoever does not."""

from sightline.posting.slots import SlotBoard, SlotCounter


def board(processes: int = 2) -> SlotBoard[str]:
    return SlotBoard(processes, deadline_s=10.0, first_deadline_s=100.0)


def test_a_slot_closes_when_everyone_has_reached_it() -> None:
    slots = board(3)
    slots.post(0, (0, 0), "a", now=0.0)
    slots.post(1, (0, 0), "b", now=0.0)
    assert slots.close(now=0.0) == []
    slots.post(2, (1, 0), "skips step 0", now=0.0)
    (closed,) = slots.close(now=0.0)
    assert closed == ((0, 0), {0: "a", 1: "b"}, ())


def test_slots_close_in_order_and_the_first_waits_longest() -> None:
    slots = board()
    slots.post(0, (0, 0), "a", now=0.0)
    slots.post(0, (1, 0), "b", now=1.0)
    assert slots.close(now=99.0) == []
    closed = slots.close(now=100.0)
    assert [(c.slot, c.missing) for c in closed] == [((0, 0), (1,)), ((1, 0), ())]


def test_who_stays_behind_costs_one_deadline_and_is_still_waited_for_at_the_end() -> None:
    slots = board()
    for step in (0, 1):
        slots.post(0, (step, 0), "a", now=0.0)
    slots.close(now=100.0)
    for step in range(2, 20):
        assert not slots.post(1, (step - 2, 0), "late", now=200.0 + step)
        slots.post(0, (step, 0), "a", now=200.0 + step)
        (closed,) = slots.close(now=200.0 + step)
        assert (closed.slot, closed.missing) == ((step, 0), ())
    slots.end(0)
    assert not slots.all_ended()
    slots.end(1)
    assert slots.all_ended()


def test_who_has_caught_up_is_waited_for_again() -> None:
    slots = board()
    slots.post(0, (0, 0), "a", now=0.0)
    slots.close(now=100.0)
    assert slots.post(1, (1, 0), "b", now=101.0)
    assert slots.close(now=101.0) == []  # process 0 has not come to it
    slots.post(0, (1, 0), "a", now=102.0)
    assert [c.payloads for c in slots.close(now=102.0)] == [{0: "a", 1: "b"}]
    slots.post(0, (2, 0), "a", now=103.0)
    assert slots.close(now=103.0) == []
    assert slots.waiting_for((2, 0)) == (1,)


def test_a_slot_posted_twice_by_one_process_keeps_the_first_and_gives_the_second_back() -> None:
    slots = board()
    assert slots.post(1, (0, 0), "before it was killed", now=0.0)
    assert not slots.post(1, (0, 0), "after its restart", now=1.0)
    slots.post(0, (0, 0), "a", now=1.0)
    (closed,) = slots.close(now=1.0)
    assert closed.payloads == {0: "a", 1: "before it was killed"}


def test_entering_a_step_takes_no_slot_of_it() -> None:
    count = SlotCounter()
    assert count.enter(3) == 3
    assert (count.next(3), count.enter(3), count.next(3)) == ((3, 0), 3, (3, 1))
    assert (count.enter(1), count.enter(4), count.next(4)) == (3, 4, (4, 0))


def test_the_roots_own_post_begins_the_deadline_anew() -> None:
    """It may come late since it waited for its devices, and so may the others'."""
    slots = board(3)
    for process in range(3):
        slots.post(process, (0, 0), "first", now=0.0)
    slots.close(now=0.0)
    slots.post(1, (1, 0), "b", now=100.0)
    slots.post(0, (1, 0), "a", now=109.0)
    assert slots.close(now=118.0) == []
    assert [c.slot for c in slots.close(now=119.0)] == [(1, 0)]


def test_nothing_closes_from_a_slot_on_that_the_root_still_holds() -> None:
    slots = board()
    for step in range(3):
        slots.post(1, (step, 0), "b", now=0.0)
    assert [c.slot for c in slots.close(now=1000.0, before=(1, 0))] == [(0, 0)]
    assert [c.slot for c in slots.close(now=1000.0)] == [(1, 0), (2, 0)]
