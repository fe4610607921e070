"""How long a commit waits for its device values, on a clock that the tests move."""

from collections.abc import Callable
from typing import Any

import pytest

from sightline.posting import patience
from sightline.posting.patience import Patience


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Commit:
    """Made now; its device values arrive when the clock says so."""

    def __init__(self, clock: Clock, arrives_after: float) -> None:
        self.made = clock.now
        self.given_up = False
        self._clock = clock
        self._arrives = clock.now + arrives_after

    def settle(self) -> bool:
        return self._clock.now >= self._arrives

    def give_up(self) -> None:
        self.given_up = True


NEVER = 1e9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    return clock


@pytest.fixture
def waits(clock: Clock) -> Callable[[Patience, Any], float]:
    """Seconds until a commit goes on, looked at every 10 ms."""

    def wait(patient: Patience, commit: Commit) -> float:
        while not patient.is_over(commit):
            clock.now += 0.01
        return clock.now - commit.made

    return wait


def test_what_is_there_is_not_waited_for(clock: Clock) -> None:
    """And teaches nothing about how long it takes to arrive."""
    patient = Patience(1.0, 10.0)
    commit = Commit(clock, 0.0)
    clock.now += 500.0  # the commit stood in the queue
    assert patient.is_over(commit)
    assert not commit.given_up
    assert patient.limit_s() == pytest.approx(8.0)


def test_the_first_values_get_the_first_deadline(
    clock: Clock, waits: Callable[[Patience, Any], float]
) -> None:
    """They may wait for a compilation; what has never arrived gets it again."""
    patient = Patience(1.0, 10.0)
    for _ in range(2):
        commit = Commit(clock, NEVER)
        assert waits(patient, commit) == pytest.approx(8.0, abs=0.02)  # in time for the protocol's deadline
        assert commit.given_up
    arriving = Commit(clock, 5.0)
    assert waits(patient, arriving) == pytest.approx(5.0, abs=0.02)
    assert not arriving.given_up


def test_a_first_deadline_below_the_usual_one_does_not_shorten_it() -> None:
    assert Patience(60.0, 5.0).limit_s() == pytest.approx(48.0)


def test_later_values_get_the_deadline_or_three_times_the_longest_wait(
    clock: Clock, waits: Callable[[Patience, Any], float]
) -> None:
    """Long steps are waited for; a device that hangs costs each commit the limit."""
    patient = Patience(1.0, 100.0)
    waits(patient, Commit(clock, 0.1))
    assert patient.limit_s() == pytest.approx(0.8)
    assert waits(patient, Commit(clock, NEVER)) == pytest.approx(0.8, abs=0.02)
    waits(patient, Commit(clock, 0.5))
    waits(patient, Commit(clock, 0.2))  # a shorter one takes nothing away
    assert patient.limit_s() == pytest.approx(1.5, abs=0.05)
    waits(patient, Commit(clock, 1.4))
    assert patient.limit_s() == pytest.approx(4.2, abs=0.05)
    hung = Commit(clock, NEVER)
    assert waits(patient, hung) == pytest.approx(4.2, abs=0.05)
    assert hung.given_up
    assert patient.limit_s() == pytest.approx(4.2, abs=0.05)  # what was in vain is no longest wait


def test_the_time_in_the_queue_counts(clock: Clock, waits: Callable[[Patience, Any], float]) -> None:
    """So that commits behind one that hangs do not each add a limit of their own."""
    patient = Patience(1.0, 1.0)
    commits = [Commit(clock, NEVER) for _ in range(5)]
    for commit in commits:
        waits(patient, commit)
        assert commit.given_up
    assert clock.now - commits[0].made == pytest.approx(0.8, abs=0.05)


def test_a_hurry_takes_what_is_there(clock: Clock) -> None:
    patient = Patience(60.0, 600.0)
    here, hung = Commit(clock, 0.0), Commit(clock, NEVER)
    assert patient.is_over(here, hurry=True)
    assert not here.given_up
    assert not patient.is_over(hung)
    assert patient.is_over(hung, hurry=True)
    assert hung.given_up


def test_looks_become_rarer_the_longer_the_wait(clock: Clock) -> None:
    """From 1 ms to 50 ms, a fiftieth of the wait between."""
    patient = Patience(60.0, 600.0)
    commit = Commit(clock, NEVER)
    pauses = []
    for later in (0.0, 0.5, 100.0):
        clock.now = commit.made + later
        assert not patient.is_over(commit)
        pauses.append(patient.pause_s())
    assert pauses == [pytest.approx(p) for p in (0.005, 0.05, 0.1)]


def test_a_wait_behind_a_commit_that_was_given_up_is_no_measure(
    clock: Clock, waits: Callable[[Patience, Any], float]
) -> None:
    """Else each device that hangs for a while would make the limit grow without end."""
    patient = Patience(10.0, 10.0)
    for _ in range(10):
        hung, behind = Commit(clock, NEVER), Commit(clock, 9.0)
        waits(patient, hung)
        waits(patient, behind)
    assert patient.limit_s() <= 3 * 10.0
