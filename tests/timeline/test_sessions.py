"""Sessions are drawn in lanes in which none overlaps another, with their phases in them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sightline.timeline.merging import Format, Timeline
from sightline.timeline.sessions import session_events
from sightline.tracing.session_files import Clock
from tests.timeline.conftest import Merged
from tests.timeline.live import EPOCH, Live


@dataclass
class Wrote:
    header: dict[str, Any]

    def time_ns(self, at: int) -> int:
        return at


@dataclass
class Phase:
    name: str
    start: int
    end: int | None
    source: Wrote
    error: str | None = None
    args: Any = None


@dataclass
class Part:
    start: int
    end: int | None
    source: Wrote


@dataclass
class Session:
    id: str
    parts: list[Part]
    phases: list[Phase]
    task: Any = 7
    status: str = "accepted"
    reason: str | None = None
    policy_version: int | None = 3
    end_version: int | None = 5
    step: int | None = None
    counters: dict[str, float] = field(default_factory=lambda: {"tokens": 12.0})
    payload: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for process in range(2):
        Live(tmp_path / "run", process, processes=2).clock(10**9, EPOCH + 10**9).write()
    return tmp_path / "run"


WROTE = [Wrote({"run_id": "run", "attempt": 1, "process": p}) for p in range(2)]


def shown(merged: Merged, run: Path, kind: Format, *sessions: Session) -> Any:
    def at(part: Any, clock: Clock) -> Any:
        end = None if part.end is None else clock(part.source, part.end)
        return type(part)(**{**vars(part), "start": clock(part.source, part.start), "end": end})

    def read(clock: Clock) -> Iterable[Session]:
        for each in sessions:
            parts = [at(part, clock) for part in each.parts]
            phases = [at(phase, clock) for phase in each.phases]
            yield Session(**{**vars(each), "parts": parts, "phases": phases})

    trace, _ = merged(run, kind=kind, sources=[lambda timeline: session_events(timeline, read)])
    return trace


@pytest.mark.parametrize("kind", ["json", "pftrace"])
def test_a_session_is_a_span_with_its_phases_in_it(merged: Merged, run: Path, kind: Format) -> None:
    phases = [
        Phase("generate", 1000, 5000, WROTE[0], args={"tool": "none"}),
        Phase("inner", 2000, 3000, WROTE[0]),
        Phase("reward", 5000, 9000, WROTE[0], error="ValueError: bad"),
    ]
    trace = shown(merged, run, kind, Session("s", [Part(1000, 9000, WROTE[0])], phases))
    rows = trace.query("select name, dur, depth from slice order by ts, depth")
    assert [(row["name"], row["depth"]) for row in rows] == [
        ("session", 0), ("generate", 1), ("inner", 2), ("reward", 1),
    ]  # fmt: skip
    args = {key.rpartition(".")[2]: value for key, value in trace.args("session").items()}
    assert (args["status"], args["staleness"], args["task"], args["tokens"]) == ("accepted", 2, 7, 12)
    assert any(value == "ValueError: bad" for value in trace.args("reward").values())


@pytest.mark.parametrize("kind", ["json", "pftrace"])
def test_a_session_that_goes_on_elsewhere_is_one_arrow(merged: Merged, run: Path, kind: Format) -> None:
    session = Session(
        "s",
        [Part(1000, 4000, WROTE[0]), Part(8000, 9000, WROTE[1])],
        [Phase("generate", 1000, 4000, WROTE[0]), Phase("train", 8100, 8900, WROTE[1])],
    )
    trace = shown(merged, run, kind, session)
    assert trace.counts().flows == 1
    rows = trace.query(
        "select p.name as name, count(*) as n from slice s join process_track t on t.id = s.track_id"
        " join process p using (upid) where s.name != 'flow' group by p.name order by p.name"
    )
    assert [row["n"] for row in rows] == [2, 2]


def test_one_in_flight_is_shown_up_to_where_the_files_end(merged: Merged, run: Path) -> None:
    trace = shown(
        merged, run, "json", Session("s", [Part(1000, None, WROTE[0])], [Phase("g", 2000, None, WROTE[0])])
    )
    ends = trace.query("select name, ts + dur as end from slice")
    assert len({row["end"] for row in ends}) == 1
    assert trace.args("session")["args.running"] == 1


def test_what_belongs_to_no_trace_is_left_out(merged: Merged, run: Path) -> None:
    lost = Wrote({"run_id": "other", "attempt": 1, "process": 0})
    trace = shown(merged, run, "json", Session("s", [Part(1, 2, lost)], []))
    assert trace.counts().slices == 0


@pytest.mark.parametrize("kind", ["json", "pftrace"])
def test_a_thousand_overlapping_sessions_are_all_there(merged: Merged, run: Path, kind: Format) -> None:
    """Also those that touch in one ns, have phases that overlap, and are read in any order."""
    rng = random.Random(5)
    sessions, phases = [], 0
    for i in range(1000):
        start = rng.randrange(0, 3000)
        end = start + rng.randrange(0, 300)
        within = [sorted((rng.randint(start, end), rng.randint(start, end))) for _ in range(rng.randrange(4))]
        phases += len(within)
        wrote = Wrote({"run_id": "run", "attempt": 1, "process": i % 2})
        sessions.append(
            Session(
                str(i),
                [Part(start, end, wrote)],
                [Phase(f"phase {n}", a, b, wrote) for n, (a, b) in enumerate(within)],
            )
        )
    trace = shown(merged, run, kind, *sessions)
    assert trace.column("select count(*) from slice where name = 'session'") == [1000]
    assert trace.column("select count(*) from slice where name like 'phase%'") == [phases]
    assert trace.column("select count(*) from slice where dur < 0") == [0]
    lengths = sorted(trace.column("select dur from slice where name = 'session'"))
    wanted = sorted(
        each.parts[0].end - each.parts[0].start for each in sessions if each.parts[0].end is not None
    )
    # A tie is broken by a nanosecond or two.
    assert max(abs(a - b) for a, b in zip(lengths, wanted, strict=True)) <= 4


def test_lanes_are_as_few_as_there_are_at_once(run: Path) -> None:
    timeline = Timeline([run])
    sessions = [
        Session(str(i), [Part(EPOCH + 10 * i, EPOCH + 10 * i + 25, WROTE[0])], []) for i in range(100)
    ]
    lanes = {event.lane for _, event in session_events(timeline, lambda clock: sessions)}  # type: ignore[union-attr]
    assert len(lanes) == 3
