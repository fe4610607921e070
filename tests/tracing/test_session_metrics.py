"""What the sessions of a process were like, as metrics."""

import time
from pathlib import Path

import pytest

import sightline as sl
from sightline.tracing.session_metrics import covered, snake_case
from sightline.values.naming import unconventional
from tests.session_recorder import sessions_of


def test_the_latency_is_from_the_first_beginning_on(tmp_path: Path) -> None:
    """Here by the clock of the spans, from elsewhere by the time of day."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        with sl.session(task=1) as session:
            carrier = session.carrier()
        with sl.resume_session(carrier) as part:
            pass
        assert part.origin == session.start
        foreign = {"session": "0123-1", "task": 1, "start": 5, "started_ns": time.time_ns() - 1000 * 10**9}
        with sl.resume_session(foreign) as part:
            part.accept()
            assert part.carrier() == foreign | {"task": 1}  # should it come back to where it began
        run.commit(1)
    (commit,) = (r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit")
    assert 990 < commit["values"]["rollout/session/total_s/mean"] < 2000


def test_metrics_of_sessions_are_in_the_journal(tmp_path: Path) -> None:
    """Under conventional names; each session in the commit after it, also one that ended a moment before."""
    with sl.start(tmp_path, name="run", sinks=[], naming="strict") as run:
        flying = sl.session(task="flying").begin()
        for step in run.steps(2):
            for i in range(4):
                with sl.scope("train"), sl.session(task=i, policy_version=i) as session:
                    with session.phase("Generate!"), session.phase("Generate!"), session.phase("reward"):
                        session.finish_version(i + step)
                    if step == 0:
                        session.retry()
                    session.accept() if i else session.reject("easy")
            run.commit(step)
        flying.accept()
        flying.drop()
        run.commit(2)
        run.commit(3)
    commits = [r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit"]
    values = [commit["values"] for commit in commits]
    names = ("accepted", "rejected", "failed", "dropped", "retries", "pending")
    counts = [[of.get(f"rollout/session/{name}") for name in names] for of in values]
    assert counts == [[3, 1, 0, 0, 4, 1], [3, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0], [None] * 5 + [0]]
    assert [of.get("rollout/session/staleness/mean") for of in values] == [0, 1, None, None]
    for name in ("total_s", "phase/generate_s", "phase/reward_s"):
        assert {f"rollout/session/{name}/{part}" for part in ("mean", "max", "p50", "p95")} <= values[
            0
        ].keys()
        assert [commit["counts"].get(f"rollout/session/{name}__count") for commit in commits[:2]] == [4, 4]
    assert values[0]["rollout/session/phase/generate_s/max"] <= values[0]["rollout/session/total_s/max"]
    assert values[2]["obs/session_conflicts"] == 1
    assert [unconventional(key) for key in values[0]] == [None] * len(values[0])
    assert len(sessions_of(tmp_path / "run")) == 9


def test_an_evaluation_of_the_same_step_leaves_its_counts_as_they_are(tmp_path: Path) -> None:
    """Whoever keeps the last value of a step has that of its sessions, whoever adds up has each once."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        flying = sl.session(task="flying").begin()
        for step in run.steps(3):
            for i in range(4 if step != 1 else 0):
                with sl.session(task=i) as session:
                    session.reject() if i == 0 else session.accept()
            run.commit(step)
            with flying.phase("of an evaluation"):
                sl.scalar("eval/reward", 0.5)
            run.commit(step)
        flying.drop()
    last: dict[int, dict[str, float]] = {}
    added: dict[str, float] = {}
    for record in sl.read_journal(tmp_path / "run"):
        if record["type"] == "commit":
            counts = {
                key: value
                for key, value in record["values"].items()
                if key.removeprefix("rollout/session/") in ("accepted", "rejected", "pending")
            }
            last[record["step"]] = last.get(record["step"], {}) | counts
            added |= {key: added.get(key, 0) + value for key, value in counts.items()}
    names = ("accepted", "rejected", "pending")
    assert [[last[step].get(f"rollout/session/{name}") for name in names] for step in range(3)] == [
        [3, 1, 1], [None, None, 1], [3, 1, 1],
    ]  # fmt: skip
    assert added["rollout/session/accepted"] == 6


def test_what_ends_after_its_session_is_counted_up_to_there_and_once(tmp_path: Path) -> None:
    """The metrics have the phase as it was at the session's end."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        with sl.session(task=1) as session:
            phase = session.phase("reward").__enter__()
            session.accept()
        run.commit(1)
        phase.__exit__(None, None, None)
        run.commit(2)
    first, second = (r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit")
    seconds = (session.end - phase.start) / 1e9
    assert first["values"]["rollout/session/phase/reward_s/max"] == pytest.approx(seconds)
    assert not [key for key in second["values"] if key.startswith("rollout/session/phase/")]
    assert "rollout/session/accepted" not in second["values"]


def test_a_process_without_sessions_has_no_metrics_of_them(tmp_path: Path) -> None:
    """Nor a file."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        run.commit(1)
    (commit,) = (r for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit")
    assert not [key for key in commit["values"] if key.startswith("rollout/session")]
    assert not (tmp_path / "run" / "sessions").exists()


@pytest.mark.parametrize(
    ("spans", "expected"),
    [([], 0), ([(1, 2)], 1), ([(0, 10), (2, 3), (9, 12), (20, 21)], 13), ([(5, 6), (0, 5)], 6)],
)
def test_time_is_covered_once(spans: list[tuple[int, int]], expected: int) -> None:
    assert covered(spans) == expected


def test_names_of_phases_become_parts_of_keys() -> None:
    assert [snake_case(name) for name in ("generate", "Tool-Call 2", "é", "")] == [
        "generate", "tool_call_2", "unnamed", "unnamed",
    ]  # fmt: skip
