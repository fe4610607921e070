"""Reading files of sessions: parts joined, clocks brought together, damage named."""

import json
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.tracing.session_files import Damage, SessionRecord, Source
from tests.holes import BOUND, put_hole, read_bytes

SECOND = 1_000_000_000


def write(path: Path, *lines: dict[str, Any] | bytes, clock: int = 0, **header: Any) -> Path:
    """A file of a process whose clock stood at ``clock`` at the epoch."""
    first = {"type": "header", "format": 1, "process": 0, "perf_counter_ns": clock, "time_ns": 0, **header}
    texts = [
        each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in (first, *lines)
    ]
    path.write_bytes(b"".join(texts))
    return path


def part(kind: str = "session", name: str = "a", **said: Any) -> dict[str, Any]:
    start = {} if kind == "more" else {"start": 10}
    end = {"end": 90} if kind == "session" else {}
    return {"type": kind, "id": "a", "part": name, **start, **end, "status": "pending", **said}


def read(*paths: Path) -> tuple[list[SessionRecord], list[Damage]]:
    damages: list[Damage] = []
    return list(sl.read_sessions(paths, on_damage=damages.append)), damages


def test_lines_of_a_part_in_flight_add_up(tmp_path: Path) -> None:
    """A phase that has ended meanwhile, one that is new, other counters."""
    path = write(
        tmp_path / "x.jsonl",
        part(
            "begin", phases=[{"n": 0, "name": "generate", "start": 11, "end": None}], counters={"tokens": 1}
        ),
        part("more", phases=[{"n": 0, "name": "generate", "start": 11, "end": 20}], counters={"tokens": 2}),
        part("more", phases=[{"n": 1, "name": "reward", "start": 21, "end": None}]),
    )
    (session,), damages = read(path)
    assert damages == []
    assert [(each.name, each.start, each.end) for each in session.phases] == [
        ("generate", 11, 20),
        ("reward", 21, None),
    ]
    assert (session.counters, session.running, session.end) == ({"tokens": 2}, True, None)


def test_the_last_whole_line_of_a_part_counts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl",
        part("begin", phases=[{"n": 0, "name": "generate", "start": 11, "end": None}]),
        part(phases=[{"name": "generate", "start": 11, "end": None}]),
        part(phases=[{"name": "generate", "start": 11, "end": 95}], status="accepted", decided=80),
    )
    (session,), damages = read(path)
    assert (session.status, session.end, session.phases[0].end, damages) == ("accepted", 80, 95, [])


def test_parts_are_joined_over_files_and_clocks(tmp_path: Path) -> None:
    """In any order of files; each process has a clock of its own."""
    first = write(
        tmp_path / "p0.jsonl",
        part(task="t", policy_version=3, counters={"tokens": 1}, payload={"a": 1},
             phases=[{"name": "generate", "start": 20, "end": 30}]),
    )  # fmt: skip
    second = write(
        tmp_path / "p1.jsonl",
        part(name="b", start=1040, end=1090, status="accepted", decided=1080, reason="good", end_version=5,
             counters={"tokens": 2}, payload={"b": 2},
             phases=[{"name": "reward", "start": 1050, "end": 1060}]),
        clock=1000, process=1,
    )  # fmt: skip
    for paths in ((first, second), (second, first)):
        (session,), damages = read(*paths)
        assert damages == []
        assert (session.task, session.status, session.reason) == ("t", "accepted", "good")
        assert (session.start, session.end, session.staleness) == (10, 80, 2)
        assert [(each.name, each.start, each.source.header["process"]) for each in session.phases] == [
            ("generate", 20, 0),
            ("reward", 50, 1),
        ]
        assert (session.counters, session.payload) == ({"tokens": 3}, {"a": 1, "b": 2})
        assert [each.id for each in session.parts] == ["a", "b"]


def test_the_status_that_was_said_first_counts(tmp_path: Path) -> None:
    """The other is named."""
    first = write(tmp_path / "p0.jsonl", part(status="failed", decided=85, reason="lost"))
    second = write(tmp_path / "p1.jsonl", part(name="b", status="accepted", decided=80))
    (session,), _ = read(first, second)
    assert (session.status, session.end, session.conflicts) == ("accepted", 80, [("failed", "lost")])


def test_a_retry_is_counted_for_phases_of_all_parts(tmp_path: Path) -> None:
    first = write(tmp_path / "p0.jsonl", part(retries=[{"at": 40, "reason": "timeout"}]))
    second = write(
        tmp_path / "p1.jsonl",
        part(name="b", phases=[{"name": "reward", "start": at, "end": at + 5} for at in (30, 50)]),
    )
    (session,), _ = read(first, second)
    assert [each.retry for each in session.phases] == [0, 1]
    assert session.retries == [(40, "timeout")]


def test_damaged_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    """Whatever stands there."""
    whole = part(status="accepted", decided=80)
    path = write(
        tmp_path / "x.jsonl",
        b"{torn\n",
        b"[1]\n",
        b"\x00\xff\n",
        {"type": "session", "id": 7},
        {"type": "of a later version"},
        {"type": "clock", "perf_counter_ns": -5, "time_ns": 0},
        part("more", name="c") | {"id": "c"},
        part(phases=[{"start": 1}]) | {"id": "d", "part": "d"},
        part(phases="none", counters=3) | {"id": "e", "part": "e"},
        whole,
        json.dumps(whole)[:-5].encode(),
    )
    (tmp_path / "empty.jsonl").touch()
    headless = tmp_path / "headless.jsonl"
    headless.write_bytes(json.dumps(whole).encode() + b"\n")
    later = write(tmp_path / "later.jsonl", whole, format=2)
    sessions, damages = read(path, tmp_path / "empty.jsonl", headless, later)
    assert [(each.id, each.status) for each in sessions] == [("a", "accepted")]
    named = {(damage.path.name, damage.line) for damage in damages}
    assert named == {
        *((path.name, line) for line in (2, 3, 5, 7, 0, 12)), ("empty.jsonl", 0), ("headless.jsonl", 1),
        ("later.jsonl", 1),
    }  # fmt: skip
    reasons = " ".join(damage.reason for damage in damages)
    for reason in (
        "cut short",
        "no JSON",
        "names no session",
        "no beginning",
        "it is empty",
        "no header",
        "1 B of zeros",
    ):
        assert reason in reasons
    assert sum("is not as it should be" in damage.reason for damage in damages) == 2


def test_every_cut_of_a_file_is_read_up_to_there(tmp_path: Path) -> None:
    """As a process leaves it that is killed in the middle of a line."""
    lines = [part(status="accepted", decided=80) | {"id": str(n), "part": str(n)} for n in range(2)]
    data = write(tmp_path / "x.jsonl", *lines).read_bytes()
    cut = tmp_path / "cut.jsonl"
    for length in range(1, len(data) + 1):
        cut.write_bytes(data[:length])
        sessions, damages = read(cut)
        assert len(sessions) == max(0, data[:length].count(b"\n") - 1)
        assert len(damages) == (not data[:length].endswith(b"\n"))


def test_without_a_listener_damage_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "x.jsonl", b"{torn\n")
    assert list(sl.read_sessions(path)) == []
    assert f"{path}, line 2: it is no JSON" in caplog.text


def test_a_restart_under_the_same_name_has_a_header_of_its_own(tmp_path: Path) -> None:
    """And so a clock of its own."""
    again = {"type": "header", "format": 1, "process": 0, "perf_counter_ns": 1000, "time_ns": 0}
    path = write(tmp_path / "x.jsonl", part(), again, part(start=1010, end=1020) | {"id": "b", "part": "b"})
    sessions, damages = read(path)
    assert [(each.id, each.start) for each in sessions] == [("a", 10), ("b", 10)]
    assert damages == []


def test_an_anchor_may_be_older_than_the_file(tmp_path: Path) -> None:
    """A file is made, with its header, when there is something to write, which may have waited."""
    path = write(
        tmp_path / "x.jsonl",
        {"type": "clock", "perf_counter_ns": 10 * SECOND, "time_ns": 10 * SECOND + 20_000},
        part(start=15 * SECOND, end=16 * SECOND),
        clock=20 * SECOND, time_ns=20 * SECOND + 40_000,
    )  # fmt: skip
    (session,), damages = read(path)
    assert damages == []
    assert session.start == 15 * SECOND + 30_000


def test_between_two_anchors_a_clock_drifts_evenly() -> None:
    """And no nanosecond is lost at times since the epoch."""
    epoch = 1_700_000_000 * SECOND
    source = Source(Path("x"), {}, [(0, epoch), (100 * SECOND, epoch + 100 * SECOND + 5_000_000)])
    assert source.time_ns(50 * SECOND + 1) == epoch + 50 * SECOND + 1 + 2_500_000
    assert source.time_ns(200 * SECOND) == epoch + 200 * SECOND + 10_000_000


def test_a_clock_line_may_be_older_than_the_header(tmp_path: Path) -> None:
    """The header is written when there is something to write, by another thread."""
    drift = {"type": "clock", "perf_counter_ns": 0, "time_ns": 0}
    path = write(
        tmp_path / "x.jsonl", drift, part(start=50 * SECOND), clock=100 * SECOND, time_ns=100 * SECOND + 2000
    )
    (session,), damages = read(path)
    assert (session.start, damages) == (50 * SECOND + 1000, [])


def test_another_clock_may_be_asked_for(tmp_path: Path) -> None:
    """As merging does, which knows better where the clocks of processes stand."""
    path = write(tmp_path / "x.jsonl", part(phases=[{"name": "generate", "start": 20, "end": 30}]))
    (session,) = sl.read_sessions(path, clock=lambda source, at: at * 2)
    assert (session.start, session.phases[0].start, session.phases[0].end) == (20, 40, 60)


def test_many_files_are_read(tmp_path: Path) -> None:
    """More than are held open at once."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    for n in range(100):
        write(folder / f"p{n:05d}.a01.jsonl", part(name=f"{n}"), part() | {"id": f"{n}", "part": f"{n}"})
    sessions, damages = read(tmp_path)
    assert (len(sessions), damages) == (101, [])
    assert len(sessions[0].parts) == 100


def test_a_hole_is_passed_over_and_named(tmp_path: Path) -> None:
    """The sessions before and behind it are there."""
    path = write(tmp_path / "x.jsonl", part(name="a"))
    put_hole(path, b"\n", json.dumps(part(name="b") | {"id": "b"}).encode() + b"\n")
    put_hole(path)
    begin = read_bytes()
    sessions, damages = read(path)
    assert [each.id for each in sessions] == ["a", "b"]
    assert [each.reason for each in damages] == [
        "8.59 GB of zeros, as a crash of a machine leaves them", "it is cut short"
    ]  # fmt: skip
    assert read_bytes() - begin < BOUND
