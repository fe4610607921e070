"""When something regular counts as overdue."""

from sightline.posting.stall import StallWatch


def times(watch: StallWatch, until: int) -> list[int]:
    return [now for now in range(until) if watch.overdue(now=now)]


def test_nothing_is_overdue_before_it_is_regular() -> None:
    """Four intervals are too few, and none is fewer."""
    watch = StallWatch()
    assert (times(watch, 1000), watch.wait_s(), watch.since_s(now=5)) == ([], None, 0.0)
    for second in range(5):
        watch.beat(now=second)
    assert (times(watch, 1000), watch.wait_s()) == ([], None)


def test_five_medians_and_then_each_time_that_it_has_doubled() -> None:
    """One long interval among many does not change what is usual."""
    watch = StallWatch()
    for second in (0, 10, 20, 30, 130, 140, 150):
        watch.beat(now=second)
    assert times(watch, 1000) == [200, 250, 350, 550, 950]
    watch.beat(now=1000)
    assert watch.since_s(now=1007) == 7
    assert times(watch, 1050) == []


def test_a_look_that_comes_late_counts_once() -> None:
    watch = StallWatch()
    for second in range(10):
        watch.beat(now=second)
    assert [now for now in (500, 501, 600) if watch.overdue(now=now)] == [500]
