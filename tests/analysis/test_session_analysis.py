"""Where the time of sessions goes is told exactly: by status, by phase, and which were slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.analysis.session_analysis import WAITING, analyse_sessions, phase_times
from sightline.tracing.session_files import PartRecord, PhaseRecord, SessionRecord, Source

S = 1_000_000_000
HERE = Source(Path("p0"), {"process": 0}, [])
THERE = Source(Path("p3"), {"process": 3}, [])


def session(
    number: int,
    took: float | None,
    status: str = "accepted",
    *phases: tuple[str, float, float | None],
    **more: int,
) -> SessionRecord:
    """One that begins at ``number`` s, with its phases' beginnings and ends in s from there on."""
    start = number * S
    end = None if took is None else start + int(took * S)
    spans = [
        PhaseRecord(name, start + int(a * S), None if b is None else start + int(b * S), 0, HERE)
        for name, a, b in phases
    ]
    parts = [PartRecord(f"s{number}", HERE, start, end)]
    return SessionRecord(
        f"s{number}", f"task {number}", status, start=start, end=end, phases=spans, parts=parts, **more
    )


def test_a_phase_takes_the_time_in_which_one_of_its_spans_is_open() -> None:
    """What overlaps counts once, what lies outside not at all, and the rest is waiting."""
    found = phase_times(
        session(5, 10, "accepted", ("tool", 1, 4), ("tool", 2, 3), ("tool", 3, 6), ("reward", 8, 12)), 15 * S
    )
    assert found == {"tool": pytest.approx(5), "reward": pytest.approx(2), WAITING: pytest.approx(3)}


def test_shares_are_of_the_latency_and_quantiles_over_the_sessions() -> None:
    sessions = [session(n, n + 1, "accepted", ("generate", 0, (n + 1) / 2)) for n in range(9)]
    sessions.append(session(9, 10, "rejected"))
    found = analyse_sessions(reversed(sessions))
    assert found is not None
    assert found.statuses == {"accepted": 9, "rejected": 1}
    assert found.latency is not None
    assert found.latency[:3] == (10, 1.0, pytest.approx(55))
    assert (found.latency.p50_s, found.latency.p95_s, found.latency.max_s) == pytest.approx((5.5, 9.55, 10))
    assert {name: times.sessions for name, times in found.by_status.items()} == {"accepted": 9, "rejected": 1}
    assert found.by_status["rejected"].share == pytest.approx(10 / 55)
    generate = found.phases["generate"]
    assert (generate.sessions, generate.share, generate.max_s) == (9, pytest.approx(22.5 / 55), 4.5)
    assert list(found.phases) == [WAITING, "generate"]
    assert found.phases[WAITING].share + generate.share == pytest.approx(1)


def test_the_slowest_are_named_with_their_phases_and_places() -> None:
    sessions = [session(n, 1 + n % 5, "accepted", ("generate", 0, 1)) for n in range(20)]
    slow = session(30, 9, "failed", ("generate", 0, 2), ("reward", 2, 9))
    slow.reason, slow.step = "KeyError", 4
    slow.parts.append(PartRecord("other", THERE, 32 * S, 39 * S))
    found = analyse_sessions([*sessions, slow], slowest=3)
    assert found is not None
    assert [each.task for each in found.slowest] == ["task 30", "task 4", "task 9"]
    first = found.slowest[0]
    assert (first.status, first.reason, first.step, first.processes) == ("failed", "KeyError", 4, (0, 3))
    assert (first.took_s, first.phases) == (9.0, {"reward": 7.0, "generate": 2.0})
    assert found.slowest[1].phases == {WAITING: 4.0, "generate": 1.0}
    assert analyse_sessions(sessions, slowest=0).slowest == []  # type: ignore[union-attr]


def test_those_in_flight_are_told_apart_with_where_they_are() -> None:
    """They have no latency; how long they have been under way is by the last moment that is known."""
    young = session(8, None, "pending", ("generate", 0, None))
    old = session(1, None, "pending", ("generate", 0, 2), ("reward", 2, None))
    handed_on = session(3, 2, "pending", ("generate", 0, 2))  # somebody else says what became of it
    found = analyse_sessions([young, session(0, 10), old, handed_on], slowest=1)
    assert found is not None
    assert found.statuses == {"running": 2, "accepted": 1, "pending": 1}
    assert found.latency is not None
    assert found.latency.sessions == 2
    (oldest,) = found.in_flight
    assert (oldest.task, oldest.status, oldest.open_phases) == ("task 1", "running", ("reward",))
    assert (oldest.took_s, oldest.phases) == (9.0, {"reward": 7.0, "generate": 2.0})


def test_one_in_flight_took_at_least_until_its_own_processes_were_heard_of() -> None:
    """Others may have gone on for long after its process was killed."""
    killed, elsewhere = session(1, None, "pending", ("generate", 0, 2)), session(5, 1000)
    elsewhere.parts = [PartRecord("s5", THERE, 5 * S, 1005 * S)]
    found = analyse_sessions([killed, elsewhere], slowest=1)
    assert found is not None
    assert found.in_flight[0].took_s == 2.0
    found = analyse_sessions([killed, elsewhere], 1, lambda source: 9 * S if source is HERE else 2000 * S)
    assert found is not None
    assert found.in_flight[0].took_s == 8.0
    assert found.in_flight[0].phases == {WAITING: 6.0, "generate": 2.0}


def test_staleness_is_of_those_that_know_it() -> None:
    sessions = [session(n, 1, "accepted", policy_version=n, end_version=n + n % 3) for n in range(9)]
    found = analyse_sessions([*sessions, session(9, 1)])
    assert found is not None
    assert found.staleness == (9, 1.0, 1.0, 2.0, 2)
    assert analyse_sessions([session(9, 1)]).staleness is None  # type: ignore[union-attr]


def test_none_are_nothing_and_sessions_without_length_divide_nothing() -> None:
    assert analyse_sessions([]) is None
    found = analyse_sessions([session(0, 0)])
    assert found is not None
    assert found.phases[WAITING].share == 0.0
