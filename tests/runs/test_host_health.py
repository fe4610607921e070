"""What readers find in a journal: each process's figures, and the stalls."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.runs.host_health import HostHealth, Stalls, health_series, host_health, stalls

RSS = "host/process/rss_bytes"


def values(step: int, processes: list[int], **rows: list[float | None]) -> dict[str, Any]:
    keys = {"rss": RSS, "memory": "jax/memory/process_in_use_bytes", "loss": "train/loss"}
    of = {keys[name]: row for name, row in rows.items()}
    return {"type": "process_values", "step": step, "processes": processes, "values": of}


def event(name: str, time: float, **fields: Any) -> dict[str, Any]:
    return {"type": "event", "event": name, "attempt": 1, "time": time, **fields}


def stacks(process: int, time: float, span: str | None, **fields: Any) -> dict[str, Any]:
    of_span = {"span": span, "span_s": 10.0} if span else {}
    at = {"at": f"{span}.py:1 in f", "stacks": "…"}
    return event("stacks", time, process=process, step=3, waited_s=10.5, **at, **of_span, **fields)


JOURNAL = [
    {"type": "run", "attempt": 1, "started": 0.0},
    values(1, [0, 1], rss=[5.0, 50.0], memory=[None, 1.0], loss=[1.0, 2.0]),
    {"type": "commit", "step": 1},
    values(2, [1], rss=[70.0]),
    values(3, [0, 1], rss=[4.0, 60.0]),
]


def test_each_process_has_its_latest_and_its_peak() -> None:
    """Of those commits that it has; keys of training are none of this."""
    health = host_health(JOURNAL)
    assert health[0] == {RSS: (4.0, 3, 5.0, 1, 4.0, 3)}
    assert health[1][RSS] == (60.0, 3, 70.0, 2, 50.0, 1)
    assert health[1]["jax/memory/process_in_use_bytes"].peak == 1.0
    assert set(health[1]) == {RSS, "jax/memory/process_in_use_bytes"}


def test_record_by_record_is_the_same() -> None:
    growing = HostHealth()
    for record in JOURNAL:
        growing.add(record)
    assert growing.of == host_health(JOURNAL)


def test_over_time() -> None:
    assert health_series(JOURNAL, RSS) == {0: [(1, 5.0), (3, 4.0)], 1: [(1, 50.0), (2, 70.0), (3, 60.0)]}


def test_a_stall_from_begin_to_end() -> None:
    """Its place may be said before it is noticed, and again."""
    (stall,) = stalls(
        [
            stacks(2, 109.0, "rollout"),
            event("stall", 110.0, step=4, k=0, seconds=10.0, waiting_for=[2, 3]),
            stacks(2, 120.0, "reward", inside="queue.py:1 in get"),
            event("silent", 121.0, step=4, processes=[3]),
            {"type": "late", "step": 1},
            event("resumed", 160.0, step=4, k=0, seconds=60.0, missing=[3]),
            stacks(0, 170.0, "update"),
        ]
    )
    assert (stall.begin, stall.end, stall.seconds, stall.step) == (100.0, 160.0, 60.0, 4)
    assert (stall.waiting_for, stall.silent, stall.missing, stall.suspects) == ((2, 3), (3,), (3,), (2, 3))
    assert set(stall.places) == {2}
    assert stall.places[2].told() == (
        "process 2 has been in reward for 10 s (reward.py:1 in f, in queue.py:1 in get)"
    )
    assert stall.places[2].told(now=150.0).startswith("process 2 has been in reward for 40 s")


def test_one_that_goes_on_is_current() -> None:
    reader = Stalls()
    reader.add(event("stall", 110.0, step=None, k=None, seconds=10.0, waiting_for=[0, 1]))
    current = reader.current
    assert current is not None
    assert (current.end, current.seconds) == (None, None)
    reader.add(stacks(1, 111.0, None))
    assert reader.current is not None
    assert reader.current.places[1].told(now=121.0) == (
        "process 1 has not committed for 20 s (None.py:1 in f)"
    )


@pytest.mark.parametrize(
    "last",
    [event("finish", 200.0, missing=[1]), {"type": "run", "attempt": 2, "started": 200.0}],
    ids=["finish", "killed"],
)
def test_the_end_of_the_attempt_ends_it(last: dict[str, Any]) -> None:
    (stall,) = stalls([event("stall", 110.0, step=4, seconds=10.0, waiting_for=[1]), last])
    assert stall.end == 200.0


def test_a_place_said_before_a_commit_is_of_no_later_stall() -> None:
    journal = [
        stacks(2, 50.0, "evaluation"),
        {"type": "commit", "step": 3},
        event("stall", 110.0, step=4, seconds=10.0, waiting_for=[2]),
    ]
    assert stalls(journal)[0].places == {}


@pytest.mark.parametrize(
    ("spans", "suspects"),
    [
        (["update", "update", "reward", "update"], (2,)),
        (["update", "update", "reward", "load"], ()),  # half of them are no majority
        (["update"] * 4, ()),  # all wait, or all are slow
        (["update", "update", "update", None], (3,)),
    ],
)
def test_who_keeps_all_from_committing(spans: list[str | None], suspects: tuple[int, ...]) -> None:
    """With no slot open, whoever is elsewhere than most."""
    journal = [event("stall", 110.0, step=None, seconds=10.0, waiting_for=[0, 1, 2, 3])]
    journal += [stacks(process, 111.0, span) for process, span in enumerate(spans)]
    assert stalls(journal)[0].suspects == suspects


def test_those_that_cannot_say_come_first() -> None:
    """A dead process is what the others wait for in their collective."""
    journal = [event("stall", 110.0, step=None, seconds=10.0, waiting_for=[0, 1, 2])]
    journal += [stacks(0, 111.0, "update"), stacks(1, 111.0, "update"), event("silent", 120.0, processes=[2])]
    assert stalls(journal)[0].suspects == (2,)


def test_records_of_other_versions_do_not_break_it() -> None:
    """Fields that are missing or new."""
    journal = [event("stall", 1.0), event("stacks", 2.0, process=0), event("stacks", 2.0), {"type": "new"}]
    (stall,) = stalls([*journal, event("silent", 3.0), event("resumed", 3.0)])
    assert (stall.waiting_for, stall.places[0].at) == ((), "an unknown place")


ODD: list[Any] = [
    "7",
    None,
    [1],
    [[1]],
    {},
    {"a": 1},
    True,
    10**400,
    float("nan"),
    float("inf"),
    1e300,
    b"",
    "x",
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_value_of_an_odd_type_is_left_out_and_counted(odd: Any) -> None:
    """Wherever it stands; the others are there."""
    sound = values(1, [0, 1], rss=[5.0, 6.0])
    health = HostHealth()
    for record in (
        sound | {"values": {RSS: [5.0, None if odd == 1e300 else odd]}},
        sound | {"values": {RSS: odd}},
        sound | {"values": odd},
        sound | {"processes": odd},
        sound | {"processes": [odd, 1]},
        sound | {"step": odd},
    ):
        health.add(record)
    assert {process: reading[RSS][:2] for process, reading in health.of.items()} == {0: (5.0, 1), 1: (6.0, 1)}
    assert health.odd == 6 - (odd is None or odd == 1e300) - isinstance(
        odd, dict
    )  # nothing, a number, no rows


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_event_of_odd_types_is_left_out_and_counted(odd: Any) -> None:
    """What is shown of a stall is what sound events say."""
    sound = [
        event("stall", 20.0, step=7, seconds=10.0, waiting_for=[2]),
        stacks(2, 21.0, "reward"),
        event("silent", 22.0, processes=[1]),
        event("resumed", 30.0, missing=[2]),
    ]
    for place, name in [(0, "time"), (0, "seconds"), (0, "attempt")]:
        reader = Stalls()
        for record in [*sound[:place], sound[place] | {name: odd}, *sound[place + 1 :]]:
            reader.add(record)
        assert (reader.found, reader.odd) == ([], 1)
    for place, name in [(1, "time"), (1, "process"), (1, "waited_s"), (2, "time"), (3, "time")]:
        reader = Stalls()
        for record in [*sound[:place], sound[place] | {name: odd}, *sound[place + 1 :]]:
            reader.add(record)
        (stall,) = reader.found
        if odd is None and name == "waited_s":
            continue
        assert reader.odd == 1
        assert list(stall.places) == ([] if place == 1 else [2])
        assert stall.silent == (() if place == 2 else (1,))
        assert stall.seconds == (None if place == 3 else 20.0)


RECORDS = st.dictionaries(
    st.sampled_from(
        [
            "event", "time", "attempt", "step", "seconds", "waiting_for", "process", "span", "span_s", "at",
            "inside", "waited_s", "stacks", "processes", "missing", "values", "started",
        ]
    ),
    st.sampled_from([*ODD, "stall", "stacks", "silent", "resumed", 1, 2.5, [1, "a", 2]]),
)  # fmt: skip


@given(records=st.lists(st.tuples(st.sampled_from(["event", "commit", "run", "process_values"]), RECORDS)))
def test_no_types_of_anything_raise_and_what_is_found_can_be_told(
    records: list[tuple[str, dict[str, Any]]],
) -> None:
    reader, health = Stalls(), HostHealth()
    for kind, fields in records:
        reader.add({**fields, "type": kind})
        health.add({**fields, "type": kind})
    for stall in reader.found:
        told = [each.told(100.0) for each in stall.places.values()]
        assert not any("nan" in each or "inf" in each for each in told)
        assert all(type(each) is int for each in (*stall.suspects, *stall.missing, *stall.waiting_for))
