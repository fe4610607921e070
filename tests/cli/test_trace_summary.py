"""`sightline trace summary` and `diff` tell where the time of a run went, on the terminal and as data."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

import sightline as sl
from sightline.cli import main
from tests.timeline.live import Live


def traced(folder: Path, name: str, rollout_s: float) -> Path:
    with sl.start(folder, name=name, sinks=[], naming="off") as run:
        for step in run.steps(4):
            with sl.scope("train"), sl.record_timing("step"):
                with sl.record_timing("rollout"):
                    time.sleep(rollout_s)
                with sl.record_timing("update"):
                    time.sleep(0.01)
            run.commit(step)
    return folder / name


def in_tasks(run: sl.Run) -> None:
    """Two workers beside the loop, in one thread; the slower one holds it up."""

    async def worker(queue: asyncio.Queue[int], slow: int) -> None:
        for _ in range(3):
            async with sl.trace_scope("rollout") as span:
                await asyncio.sleep(0.03 + 0.03 * slow)
                await queue.put(span.flow_out())

    async def loop() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        workers = [asyncio.create_task(worker(queue, n)) for n in range(2)]
        for step in run.steps(3):
            async with sl.trace_scope("wait_rollouts") as span:
                for _ in workers:
                    span.flow_in(await queue.get())
            run.commit(step)
        await asyncio.gather(*workers)

    asyncio.run(loop())


def in_threads(run: sl.Run) -> None:
    """A worker in a thread of its own."""
    results: queue.SimpleQueue[int] = queue.SimpleQueue()

    def worker() -> None:
        for _ in range(3):
            with sl.trace_scope("rollout") as span:
                time.sleep(0.04)
                results.put(span.flow_out())

    thread = threading.Thread(target=worker)
    thread.start()
    for step in run.steps(3):
        with sl.trace_scope("wait_rollouts") as span:
            span.flow_in(results.get())
        run.commit(step)
    thread.join()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return traced(folder, "slow", 0.05), traced(folder, "fast", 0.02)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["trace", *map(str, arguments)], prog_name="sightline")


def test_a_summary_shows_stages_kinds_and_the_longest_step(runs: tuple[Path, Path]) -> None:
    done = invoke("summary", runs[0])
    assert done.exit_code == 0, done.output
    assert "4 steps on 1 process" in done.output
    for name in ("train/rollout", "train/update", "train/step", "rollouts", "training", "goodput"):
        assert name in done.output
    assert "waited for: train/rollout" in done.output
    assert f"sightline trace view {runs[0]}" in done.output


def test_a_summary_as_data_is_exhaustive(runs: tuple[Path, Path]) -> None:
    found = orjson.loads(invoke("summary", runs[0], "--json").stdout)
    assert found["processes"] == [0]
    assert sum(found["kinds"].values()) == pytest.approx(1)
    assert [step["step"] for step in found["steps"]] == [0, 1, 2, 3]
    for step in found["steps"]:
        assert sum(step["stages"].values()) == pytest.approx(step["wall_s"], rel=0.01)
        assert sum(part["took_s"] for part in step["critical"]) == pytest.approx(step["wall_s"], rel=0.01)
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert stages["train/rollout"]["spans"] == 4
    assert stages["train/rollout"]["total_s"] >= 0.2
    assert stages["train/step"]["exclusive_s"] < stages["train/step"]["total_s"] / 2


def test_steps_can_be_chosen(runs: tuple[Path, Path]) -> None:
    found = orjson.loads(invoke("summary", runs[0], "--json", "--steps", "1-2").stdout)
    assert [step["step"] for step in found["steps"]] == [1, 2]
    assert invoke("summary", runs[0], "--steps", "x").exit_code == 2


def test_steps_that_come_again_are_told_with_the_first_ones(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        for _ in range(2):
            for step in run.steps(2):
                with sl.trace_scope("update"):
                    time.sleep(0.001)
                run.commit(step)
    done = invoke("summary", tmp_path / "run")
    assert "4 steps on 1 process" in done.stdout
    assert "2 of these have the number of a step that came before" in done.stdout
    found = orjson.loads(invoke("summary", tmp_path / "run", "--json").stdout)
    assert [(step["step"], step["occurrence"]) for step in found["steps"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert found["stages"][0]["spans"] == 4


@pytest.mark.parametrize("rolls_out", [in_tasks, in_threads])
def test_a_step_that_waits_for_rollouts_waited_for_the_rollout(
    tmp_path: Path, rolls_out: Callable[[sl.Run], None]
) -> None:
    """In tasks and in threads of the same process."""
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        rolls_out(run)
    found = orjson.loads(invoke("summary", tmp_path / "run", "--json").stdout)
    assert found["waits"].keys() == {"rollouts"}
    for step in found["steps"]:
        took = {part["stage"]: 0.0 for part in step["critical"]}
        for part in step["critical"]:
            took[part["stage"]] += part["took_s"]
        assert took["rollout"] > 0.02
        assert took["rollout"] > took.get("wait_rollouts", 0.0)
        assert sum(took.values()) == pytest.approx(step["wall_s"])


def test_a_process_that_only_rolls_out_is_told_with_what_it_waits_for(tmp_path: Path) -> None:
    """Also of chosen steps, which it knows nothing of."""
    run = tmp_path / "run"
    trainer, worker = Live(run, processes=2), Live(run, 1, processes=2)
    for n in range(2):
        at = n * 10_000
        trainer.span("wait_rollouts", at, 8000, args={"step": n})
        trainer.add(ph="f", name="flow", cat="flow", id=hex(n + 1), tid=1, ts=at + 7990, bp="e")
        trainer.span("update", at + 8000, 2000, args={"step": n})
        trainer.span("step", at, 10_000, cat="step", args={"step": n})
        worker.span("wait_weights", at, 4000).span("rollout", at + 4000, 4000)
        worker.add(ph="s", name="flow", cat="flow", id=hex(n + 1), tid=1, ts=at + 7980)
        worker.span("wait_weights", at + 8000, 2000)
    trainer.write()
    worker.write()
    done = invoke("summary", run, "--steps", "1")
    assert "process 0: waiting 80.0% (for rollouts 80.0%), training 20.0%" in done.stdout
    assert (
        "process 1, without steps, in 10 ms: waiting 60.0% (for weights 60.0%), rollouts 40.0%" in done.stdout
    )
    assert (
        "waited for: wait_weights 4 ms (process 1) → rollout 3.98 ms (process 1) → update 2 ms (process 0)"
        in done.stdout
    )
    found = orjson.loads(invoke("summary", run, "--json").stdout)["by_process"]
    assert [found[each]["has_steps"] for each in ("0", "1")] == [True, False]
    assert found["1"]["waits"] == {"weights": pytest.approx(0.6)}


def test_where_stages_are_of_no_kind_that_is_said_beside_goodput(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        for step in run.steps(2):
            with sl.trace_scope("xyz"):
                time.sleep(0.01)
            run.commit(step)
    done = invoke("summary", tmp_path / "run")
    (line,) = [line for line in done.stdout.splitlines() if "of no known kind (xyz)" in line]
    assert 'or give `trace_scope` a `category="training"`' in line
    assert orjson.loads(invoke("summary", tmp_path / "run", "--json").stdout)["unknown"]["xyz"] > 0.5


def test_a_path_of_short_parts_says_what_they_add_up_to(tmp_path: Path) -> None:
    live = Live(tmp_path / "run")
    for i in range(400):
        live.span(f"token {i % 4}", i * 10, 9, args={"step": 0})
    live.span("step", 0, 4000, cat="step", args={"step": 0}).write()
    out = invoke("summary", tmp_path / "run").stdout
    assert "waited for: 800 short parts: token" in out
    assert "token 3 0.9 ms (process 0)" in out
    live = Live(tmp_path / "many")
    for i in range(400):
        live.span(f"token {i}", i * 10, 10, args={"step": 0})
    live.span("step", 0, 4000, cat="step", args={"step": 0}).write()
    assert "400 short parts: nothing above 1 %" in invoke("summary", tmp_path / "many").stdout


def test_two_runs_are_compared(runs: tuple[Path, Path]) -> None:
    done = invoke("diff", *runs)
    assert done.exit_code == 0, done.output
    assert "train/rollout" in done.output
    found = {each["name"]: each for each in orjson.loads(invoke("diff", *runs, "--json").stdout)["stages"]}
    assert found["train/rollout"]["change_s"] < 0
    assert found["train/rollout"]["before_s"] >= 0.05


def test_what_is_no_run_or_has_no_steps_is_said(tmp_path: Path) -> None:
    done = invoke("summary", tmp_path)
    assert done.exit_code == 2
    assert done.output.startswith("sightline trace summary:")
    with sl.start(tmp_path, name="run", sinks=[]), sl.trace_scope("a"):
        pass
    done = invoke("summary", tmp_path / "run")
    assert done.exit_code == 1
    assert "there are no steps in it: loop over `for step in run.steps(n):`" in done.stderr


def test_an_empty_run_is_told_what_to_do(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[]):
        pass
    done = invoke("summary", tmp_path / "run")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "sl.trace_scope(name)" in done.stderr
    done = invoke("summary", tmp_path / "run", "--steps", "3-4")
    assert "there is nothing of the steps 3 to 4 in it" in done.stderr


# --- sessions ----------------------------------------------------------------------------------------------

HOSTILE = "\x1b]0;title\x07\x1b[31m\u202etask\n" + "x" * 1000


def rollouts(folder: Path, name: str) -> Path:
    with sl.start(folder, name=name, sinks=[], naming="off") as run:
        for step in run.steps(2):
            for number in range(4):
                with sl.session(task=HOSTILE if step else f"task {number}", policy_version=step) as session:
                    with session.phase("generate"):
                        time.sleep(0.002 * number)
                    session.finish_version(step + 1)
                    if number == 0:
                        session.reject("wrong")
                    elif number == 1:
                        session.retry()
                        session.fail(HOSTILE)
                    else:
                        session.accept()
            run.commit(step)
    return folder / name


def test_sessions_are_shown_by_status_by_phase_and_the_slowest_by_name(tmp_path: Path) -> None:
    done = invoke("summary", rollouts(tmp_path, "run"), "--slowest", "3")
    assert done.exit_code == 0, done.output
    assert "8 sessions: 4 accepted, 2 rejected, 2 failed; 2 retries" in done.stdout
    for words in ("generate", "waiting", "all that ended", "staleness of 8 sessions", "process 0, step"):
        assert words in done.stdout
    _, _, named = done.stdout.partition("slowest sessions")
    assert named.count("process 0, step") == 3


def test_sessions_as_data(tmp_path: Path) -> None:
    run = rollouts(tmp_path, "run")
    found = orjson.loads(invoke("summary", run, "--json", "--slowest", "2").stdout)["sessions"]
    assert (found["sessions"], found["statuses"]) == (8, {"accepted": 4, "rejected": 2, "failed": 2})
    assert found["staleness"]["max"] == 1
    assert sum(times["share"] for times in found["phases"].values()) == pytest.approx(1)
    first, second = found["slowest"]
    assert first["took_s"] >= second["took_s"] >= 0.004
    assert sum(first["phases"].values()) == pytest.approx(first["took_s"])
    chosen = orjson.loads(invoke("summary", run, "--json", "--steps", "0").stdout)["sessions"]
    assert {each["task"] for each in chosen["slowest"]} == {f"task {n}" for n in range(4)}


def test_what_sessions_are_called_does_not_act_on_the_terminal(tmp_path: Path) -> None:
    out = invoke("summary", rollouts(tmp_path, "run")).stdout
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b]0;title\x07" in out
    assert max(map(len, out.splitlines())) <= 200


def test_a_run_without_sessions_says_nothing_of_them(runs: tuple[Path, Path]) -> None:
    assert "session" not in invoke("summary", runs[0]).stdout
    assert orjson.loads(invoke("summary", runs[0], "--json").stdout)["sessions"] is None


def test_a_process_that_only_rolls_out_needs_no_steps(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[]), sl.session(task=7) as session:
        session.accept()
    done = invoke("summary", tmp_path / "run")
    assert (done.exit_code, "problem" in done.stderr) == (0, False)
    assert "1 session: 1 accepted" in done.stdout


def test_a_killed_run_shows_what_was_in_flight(tmp_path: Path) -> None:
    code = """
import os, sys, time, sightline as sl
run = sl.start(sys.argv[1], name="run", sinks=[])
with sl.session(task="stuck") as session, session.phase("reward"):
    while b"stuck" not in b"".join(p.read_bytes() for p in run.wait_dir().glob("sessions/*")):
        time.sleep(0.05)
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code, tmp_path], timeout=60, check=False).returncode == -9
    out = invoke("summary", tmp_path / "run").stdout
    assert "1 session: 1 running" in out
    _, _, named = out.partition("in flight where the files of their processes end")
    assert "at least" in named
    assert "stuck" in named
    assert "now in reward" in named
    (flying,) = orjson.loads(invoke("summary", tmp_path / "run", "--json").stdout)["sessions"]["in_flight"]
    assert flying["took_s"] > 0.1  # it was half a second old when its file was made


def test_what_is_not_here_is_named_for_programs(tmp_path: Path) -> None:
    """The exit code says that the answer is not complete, and a field what is missing."""
    run = Live(tmp_path / "run", 2, processes=4).span("a", 1, 1).write()
    done = invoke("summary", run, "--json")
    assert done.exit_code == 3
    (missing,) = orjson.loads(done.stdout)["missing"]
    assert "files of 1 of 4 processes are here, without processes 0, 1, 3" in missing
    done = invoke("summary", run)
    assert (done.exit_code, f"missing: {missing}" in done.stderr) == (0, True)
    whole = traced(tmp_path, "whole", 0.001)
    done = invoke("diff", whole, run, "--json")
    assert done.exit_code == 3
    assert orjson.loads(done.stdout)["missing"] == [missing]
    assert orjson.loads(invoke("diff", whole, whole, "--json").stdout)["missing"] == []


def test_sessions_are_told_of_a_run_that_was_not_traced(tmp_path: Path) -> None:
    off = sl.PerfTracerConfig(enabled=False)
    with sl.start(tmp_path, name="run", sinks=[], tracing=off) as run:
        for step in run.steps(2):
            with sl.session(task=step) as session:
                session.accept()
            run.commit(step)
    done = invoke("summary", tmp_path / "run")
    assert done.exit_code == 1
    assert "2 sessions: 2 accepted" in done.stdout
    assert "has no traces" in done.stderr
    found = orjson.loads(invoke("summary", tmp_path / "run", "--json", "--steps", "1").stdout)
    assert (found["sessions"]["sessions"], found["steps"]) == (1, [])
    assert invoke("summary", tmp_path / "run", "--steps", "7").exit_code == 2
