"""The sessions of real runs stand on the merged timeline, with their phases inside, none of them lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import sightline as sl
from tests.timeline.conftest import Merged


async def rollout(number: int) -> None:
    async with sl.session(task=f"task {number}", policy_version=1) as session:
        with session.phase("generate"):
            await asyncio.sleep(0.001 * (number % 5))
            with session.phase("tool", name="calculator"):
                await asyncio.sleep(0.001)
        with session.phase("reward"):
            await asyncio.sleep(0)
        if number % 3:
            session.accept()
        else:
            session.reject("wrong")


@pytest.mark.parametrize("kind", ["json", "pftrace"])
def test_overlapping_sessions_have_lanes_and_their_phases_lie_inside(
    kind: str, tmp_path: Path, merged: Merged
) -> None:
    async def main() -> None:
        await asyncio.gather(*(rollout(number) for number in range(60)))

    with sl.start(tmp_path, name="run", sinks=[]) as run:
        asyncio.run(main())
        run.commit(0)
    trace, report = merged(tmp_path / "run", kind=kind)
    assert report.problems == []
    counts = {
        row["name"]: row["n"] for row in trace.query("select name, count(*) as n from slice group by name")
    }
    assert {name: counts[name] for name in ("session", "generate", "tool", "reward")} == {
        "session": 60, "generate": 60, "tool": 60, "reward": 60,
    }  # fmt: skip
    nested = trace.query(
        "select s.name, p.name as inside from slice s left join slice p on p.id = s.parent_id "
        "where s.name in ('session', 'generate', 'tool', 'reward')"
    )
    assert {(row["name"], row["inside"]) for row in nested} == {
        ("session", None), ("generate", "session"), ("tool", "generate"), ("reward", "session"),
    }  # fmt: skip
    statuses = trace.query(
        "select a.display_value as status, count(*) as n from slice s join args a using (arg_set_id) "
        "where s.name = 'session' and a.key like '%.status' group by status"
    )
    assert {row["status"]: row["n"] for row in statuses} == {"accepted": 40, "rejected": 20}


def test_phases_that_overlap_are_both_there(tmp_path: Path, merged: Merged) -> None:
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        with sl.session(task=1) as session:
            first, second = session.phase("call"), session.phase("call")
            first.__enter__()
            second.__enter__()
            first.__exit__(None, None, None)
            second.__exit__(None, None, None)
            session.accept()
        run.commit(0)
    trace, _ = merged(tmp_path / "run")
    assert trace.column("select name from slice where name in ('call', 'session') order by name") == [
        "call", "call", "session",
    ]  # fmt: skip
    assert all(took > 0 for took in trace.column("select dur from slice where name = 'call'"))


def test_a_session_that_is_in_flight_is_shown_as_running(tmp_path: Path, merged: Merged) -> None:
    with sl.start(tmp_path, name="run", sinks=[]):
        session = sl.session(task="long").begin()
        phase = session.phase("generate")
        phase.__enter__()
    session.finish()
    trace, _ = merged(tmp_path / "run")
    assert sorted(trace.column("select name from slice where name in ('session', 'generate')")) == [
        "generate",
        "session",
    ]


def test_damaged_session_files_are_told_and_the_rest_is_merged(tmp_path: Path, merged: Merged) -> None:
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        with sl.session(task=1) as session:
            session.accept()
        run.commit(0)
    (path,) = (tmp_path / "run" / "sessions").glob("*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "torn\n", *lines[1:]]))
    trace, report = merged(tmp_path / "run")
    assert "session" in trace.column("select name from slice")
    assert [line for line in report.problems if "p00000.a01.jsonl:2" in line]
