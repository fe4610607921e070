"""`sl.start`: what a run writes, its steps, its end, and that it is free when switched off."""

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

import sightline as sl
from sightline.recording.step import active_step
from sightline.runs.run_state import state_of


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in sl.read_journal(run) if record["type"] == kind]


@dataclass
class _Settings:
    learning_rate: float = 0.1
    wandb_api_key: str = "hunter2"
    url: str = "https://me:hunter2@host/x"


def test_the_console_prints_in_the_form_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    form = "step={step} loss={test_run/loss:.3f}"
    with sl.start(tmp_path, name="run", sinks=["console"], console_format=form) as run:
        for step in run.steps(2):
            sl.scalar("test_run/loss", step / 8)
            run.commit(step)
    assert capsys.readouterr().out.splitlines() == ["step=0 loss=0.000", "step=1 loss=0.125"]


def test_the_console_keeps_its_other_settings_beside_the_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An argument of `start` overrides one setting of `logger`, not all of them."""
    settings = sl.StatsLoggerConfig(
        log_dir=tmp_path / "a", name="a", console=sl.ConsoleConfig(style="line", include=("test_run/*",))
    )
    with sl.start(tmp_path / "b", logger=settings) as run:
        run.commit(1, {"test_run/loss": 0.5, "test_run_not/shown": 1.0})
    assert run.dir == tmp_path / "b" / "a"
    assert capsys.readouterr().out == "step=1 test_run/loss=0.5\n"


@pytest.mark.parametrize("form", ["{", "loss={train/loss:.4q}", "{}"])
def test_a_form_that_cannot_work_is_refused_at_the_start(tmp_path: Path, form: str) -> None:
    with pytest.raises(sl.ConfigurationError):
        sl.start(tmp_path, sinks=["console"], console_format=form)
    assert list(tmp_path.iterdir()) == []


def test_parts_are_switched_off_by_a_word(tmp_path: Path) -> None:
    """And keep what other settings say of them."""
    settings = sl.StatsLoggerConfig.from_dict({"tracing": {"segment_mb": 3}})
    with sl.start(tmp_path, name="off", sinks=[], tracing=False, logging=False, logger=settings) as run:
        with sl.trace_scope("a"):
            sl.scalar("train/loss", 1.0)
        run.commit(0)
    assert run.logger.config.tracing == dataclasses.replace(settings.tracing, enabled=False)
    assert {path.name for path in (tmp_path / "off").iterdir() if path.is_dir()} == set()


@pytest.mark.parametrize("part", ["tracing", "logging"])
def test_what_is_no_setting_of_a_part_is_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(sl.ConfigurationError, match=f"{part}='off': expected True, False, a mapping"):
        sl.start(tmp_path, sinks=[], **{part: "off"})
    assert list(tmp_path.iterdir()) == []


def test_run_json_says_what_the_run_was(tmp_path: Path) -> None:
    """Configuration without credentials, settings, versions, command and processes."""
    with sl.start(tmp_path, name="run", sinks=[], config=_Settings(), aliases={"a": "b"}) as run:
        pass
    said = (tmp_path / "run" / "run.json").read_text()
    facts = json.loads(said)
    assert facts["config"] == {
        "learning_rate": 0.1, "wandb_api_key": "[redacted]", "url": "https://me:[redacted]@host/x",
    }  # fmt: skip
    assert "hunter2" not in said
    assert (facts["run_id"], facts["name"]) == (run.run_id, "run")
    assert (facts["attempt"], facts["processes"], facts["pid"]) == (1, 1, os.getpid())
    assert facts["sightline"]["deadline_s"] == sl.StatsLoggerConfig().deadline_s
    assert facts["versions"].keys() >= {"python", "sightline", "numpy"}
    assert len(facts["command"]) >= len(sys.argv)
    files = sorted(path.name for path in run.wait_dir().iterdir())
    assert files == [".lock", "logs", "metrics.jsonl", "run.json", "traces"]


def test_a_run_knows_its_place(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        assert (run.is_root, run.process, run.processes, run.next_step) == (True, 0, 1, 0)
        assert run.wait_dir() == run.dir == tmp_path / "run"
        assert run.flush()
    (line,) = records(run.dir, "run")
    assert (line["run_id"], line["processes"], line["attempt"]) == (run.run_id, 1, 1)


def test_steps_are_active_in_the_loop(tmp_path: Path) -> None:
    """From 0 to the total, journaled once, and gone when the loop is left."""
    before = active_step()
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        seen = [(step, active_step()) for step in run.steps(3)]
        for _ in run.steps(9, start=7):
            break
        assert list(run.steps(3, start=3)) == []
    assert seen == [(0, 0), (1, 1), (2, 2)]
    assert active_step() == before
    events = [(e["start"], e["total"]) for e in records(tmp_path / "run", "event") if e["event"] == "steps"]
    assert events == [(0, 3), (7, 9), (3, 3)]


@pytest.mark.parametrize("with_state", [False, True])
def test_a_resumed_run_goes_on_at_the_next_step(tmp_path: Path, with_state: bool) -> None:
    """After the journal's last step, or the checkpoint's if there is one."""
    state = None
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        for step in run.steps(4):
            run.commit(step)
            if step == 1 and with_state:
                state = run.state_dict()
    with sl.start(tmp_path, name="run", sinks=[], resume="must", state_dict=state) as again:
        assert list(again.steps(6)) == ([2, 3, 4, 5] if with_state else [4, 5])
        assert (again.run_id, again.logger.attempt) == (run.run_id, 2)


def test_without_a_name_the_latest_run_is_resumed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with sl.start(tmp_path, name=name, sinks=[]) as run:
            run.commit(3)
    with sl.start(tmp_path, sinks=[], resume="allow") as again:
        assert (again.dir, again.run_id, again.next_step) == (run.dir, run.run_id, 4)


@pytest.mark.parametrize("error", [ZeroDivisionError("here"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_exception_is_journaled_and_goes_on_its_way(tmp_path: Path, error: BaseException) -> None:
    def train() -> None:
        with sl.start(tmp_path, name="run", sinks=[]) as run:
            run.commit(1, {"loss": 0.5})
            raise error

    with pytest.raises(type(error)) as caught:
        train()
    assert caught.value is error
    events = records(tmp_path / "run", "event")
    assert [event["event"] for event in events] == ["failed", "finish"]
    assert events[0]["error"].startswith(type(error).__name__)
    assert str(error) in events[0]["error"]
    assert records(tmp_path / "run", "commit")[0]["values"] == {"loss": 0.5}


def test_credentials_in_an_exception_are_neither_journaled_nor_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConnectionError), sl.start(tmp_path, name="run", sinks=[]):
        raise ConnectionError("no answer from http://me:hunter2@host/x?access_token=hunter2")
    (failed, _) = records(tmp_path / "run", "event")
    shown = "ConnectionError: no answer from http://me:[redacted]@host/x?access_token=[redacted]"
    assert failed["error"] == shown
    assert f"sightline: the run ends by {shown}" in caplog.messages
    assert "hunter2" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_resumed_run_whose_start_fails_has_failed_and_not_crashed(tmp_path: Path) -> None:
    """With the reason, and without a step of its own; of a fresh run nothing is left."""
    wrong = {"sinks": [], "upload_to": "nosuch://place"}
    with pytest.raises(sl.ConfigurationError, match="nosuch"):
        sl.start(tmp_path, name="run", **wrong)
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        run.commit(7, {"loss": 0.5})
    with pytest.raises(sl.ConfigurationError, match="nosuch"):
        sl.start(tmp_path, name="run", resume="must", **wrong)
    state = state_of(tmp_path / "run")
    assert (state.state, state.attempt, state.last_step) == ("failed", 2, 7)
    assert str(state.error).startswith("ConfigurationError: nosuch://place")
    assert str(state.error).endswith(" (at the start)")
    assert state.reason == "it ended by an exception"
    with sl.start(tmp_path, name="run", resume="must", sinks=[]) as again:
        assert (again.next_step, again.logger.attempt) == (8, 3)
        again.commit(8, {"loss": 0.25})
    assert state_of(tmp_path / "run").state == "finished"
    assert [each["seq"] for each in records(tmp_path / "run", "commit")] == [1, 2]


def test_a_program_that_exits_well_has_not_failed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), sl.start(tmp_path, name="run", sinks=[]):
        sys.exit(0)
    assert [event["event"] for event in records(tmp_path / "run", "event")] == ["finish"]


class _Unanswered(sl.Transport):
    """Process 1 of 2, whose root never says anything."""

    process, processes = 1, 2

    def post(self, channel: str, payload: bytes) -> None: ...
    def poll(self, channel: str) -> list[bytes]:
        return []

    def publish(self, name: str, value: bytes) -> None: ...
    def lookup(self, name: str, timeout: float) -> bytes | None:
        threading.Event().wait(min(timeout, 0.05))
        return None


class _Unreachable(sl.Transport):
    """Process 0 of 2, whose store is gone when it says that the run begins."""

    process, processes = 0, 2

    def __init__(self) -> None:
        self.published: list[bytes] = []

    def post(self, channel: str, payload: bytes) -> None: ...
    def poll(self, channel: str) -> list[bytes]:
        return []

    def publish(self, name: str, value: bytes) -> None:
        self.published.append(value)
        if len(self.published) == 1:
            raise sl.TransportError("the store is gone")

    def lookup(self, name: str, timeout: float) -> bytes | None:
        return None


def test_a_run_that_cannot_be_announced_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither its name, nor the spans of the process, nor hooks, handlers and threads."""
    before = (
        signal.getsignal(signal.SIGTERM), sys.excepthook, list(logging.getLogger("sightline").handlers),
        set(threading.enumerate()),
    )  # fmt: skip
    transport = _Unreachable()
    with pytest.raises(sl.TransportError, match="is gone"):
        sl.start(tmp_path, name="run", sinks=[], transport=transport, monitor_hosts=True)
    assert [orjson.loads(each) for each in transport.published][1:] == [{"error": "the store is gone"}]
    after = signal.getsignal(signal.SIGTERM), sys.excepthook, list(logging.getLogger("sightline").handlers)
    assert after == before[:3]
    assert {each for each in threading.enumerate() if each.is_alive()} <= before[3]
    with sl.start(tmp_path, name="run", sinks=[]) as run, sl.trace_scope("mine"):
        run.commit(0, {"loss": 0.5})
    assert [(c["attempt"], c["step"]) for c in records(tmp_path / "run", "commit")] == [(1, 0)]
    assert '"mine"' in (tmp_path / "run" / "traces" / "p00000.a01.0000.json").read_text()


def test_off_the_root_a_directory_that_nobody_names_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    run = sl.start(tmp_path, sinks=[], transport=_Unanswered())
    assert (run.is_root, run.dir, run.run_id) == (False, None, None)
    with pytest.raises(sl.TransportError, match=r"within 0\.1 s"):
        run.wait_dir(0.1)
    run.commit(1)
    assert not run.finish(0.1)
    assert list(tmp_path.iterdir()) == []


# --- switched off ------------------------------------------------------------------------------------------


def run_disabled(code: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "SIGHTLINE_DISABLED": "1"}, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(cwd.iterdir()) == []


def test_switched_off_a_run_writes_nothing_and_the_loop_runs(tmp_path: Path) -> None:
    """The same program, with its steps, from the checkpoint that it was given."""
    code = """
import sightline as sl
state = {"run_id": "r", "name": "run", "attempt": 1, "last_slot": [4, 0]}
for given, steps in ((None, [0, 1, 2]), (state, []), (state, [5, 6])):
    with sl.start("runs", config={}, state_dict=given) as run:
        seen = []
        for step in run.steps(3 if given is None else 5 + len(steps)):
            with sl.scope("train"), sl.record_timing("update"):
                sl.scalar(loss=1.0)
            run.commit(step)
            run.commit(step, {"loss": 1.0})
            seen.append(step)
        assert seen == steps, seen
        assert run.flush() and run.dir is None and run.run_id is None
        assert (run.is_root, run.process, run.processes) == (True, 0, 1)
"""
    run_disabled(code, tmp_path)


def test_switched_off_a_logger_of_ones_own_writes_nothing(tmp_path: Path) -> None:
    """A program that makes its `StatsLogger` itself is switched off like one that calls `start`."""
    code = """
import sightline as sl
state = {"run_id": "r", "name": "run", "attempt": 1, "last_slot": [4, 0]}
for given in (None, state):
    logger = sl.StatsLogger(sl.StatsLoggerConfig(), run_config={"lr": 0.1}, state_dict=given)
    assert (logger.is_root, logger.dir) == (True, None)
    assert logger.next_step == (5 if given else 0)
    sl.scalar(loss=1.0)
    logger.commit(7)
    logger.commit(8, [{"loss": 1.0}])
    logger.event("here")
    assert logger.flush()
    assert logger.finish()
"""
    run_disabled(code, tmp_path)


@pytest.mark.parametrize("make", ["StatsLogger(", "start('runs', "])
def test_switched_off_a_checkpoints_state_is_handed_back(tmp_path: Path, make: str) -> None:
    """What is switched off for a while must not make the checkpoint forget which run it is of."""
    code = f"""
import sightline as sl
state = {{"run_id": "r", "name": "run", "attempt": 1, "last_slot": [4, 0]}}
assert sl.{make}state_dict=state).state_dict() == state
"""
    run_disabled(code, tmp_path)


def test_switched_off_a_folder_for_the_programs_own_files_is_there_when_asked_for(tmp_path: Path) -> None:
    code = """
import sightline as sl
with sl.start("runs", name="mine") as run:
    folder = run.wait_dir()
assert folder.is_dir() and list(folder.iterdir()) == []
folder.rmdir()
folder.parent.rmdir()
"""
    run_disabled(code, tmp_path)


# --- several runs at once in one process -------------------------------------------------------------------


def traced(run_dir: Path) -> set[str]:
    """The names of the spans in a run's trace."""
    lines = b"".join(path.read_bytes() for path in run_dir.glob("traces/*")).splitlines()
    events = [json.loads(line.rstrip(b",")) for line in lines if line.startswith(b'{"ph":"X"')]
    return {event["name"] for event in events} - {"step"}


def begun(run_dir: Path) -> list[object]:
    """The tasks of a run's sessions."""
    return [each.task for each in sl.read_sessions(run_dir)]


def record(name: str) -> None:
    with sl.trace_scope(name), sl.session(task=name, otherwise="accepted"):
        pass


def test_the_first_run_has_the_spans_and_sessions_and_the_next_one_from_its_end_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is lost, none is in two files, and the second run says once where they are."""
    monkeypatch.setattr("sightline.run._has_said_so", False)
    training = sl.start(tmp_path, name="training", sinks=[])
    record("before")
    evaluation = sl.start(tmp_path, name="evaluation", sinks=[])
    for _ in range(200):  # over several rounds of writing
        record("both")
        time.sleep(0.002)
    with sl.start(tmp_path, name="short", sinks=[]):
        record("inside")
    training.finish()
    record("after")
    evaluation.finish()
    assert traced(tmp_path / "training") == {"before", "both", "inside"}
    assert traced(tmp_path / "evaluation") == {"after"}
    assert begun(tmp_path / "training") == ["before", *["both"] * 200, "inside"]
    assert begun(tmp_path / "evaluation") == ["after"]
    assert not (tmp_path / "short" / "traces").exists()
    said = [each.getMessage() for each in caplog.records if "has the spans and sessions" in each.getMessage()]
    assert len(said) == 1
    assert str(tmp_path / "training") in said[0]


def test_a_run_without_tracing_takes_nothing_from_another(tmp_path: Path) -> None:
    """Neither does it switch off what the other has."""
    off = {"enabled": False, "session_tracer": {"enabled": False}}
    with sl.start(tmp_path, name="a", sinks=[], tracing=off):
        with sl.start(tmp_path, name="b", sinks=[]):
            record("one")
            with sl.start(tmp_path, name="c", sinks=[], tracing=off):
                record("two")
        record("three")
    assert traced(tmp_path / "b") == {"one", "two"}
    assert begun(tmp_path / "b") == ["one", "two"]
    assert not (tmp_path / "a" / "traces").exists()


def test_a_warning_is_in_the_logs_of_all_runs_and_on_the_trace_once(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="a", sinks=[]), sl.start(tmp_path, name="b", sinks=[]):
        logging.getLogger("sightline.mine").warning("careful")
    for name in ("a", "b"):
        text = b"".join(path.read_bytes() for path in (tmp_path / name / "logs").glob("*.log"))
        assert text.count(b"careful") == 1, name
    trace = b"".join(path.read_bytes() for path in (tmp_path / "a" / "traces").iterdir())
    assert trace.count(b'"careful"') == 1


def test_metrics_of_sessions_are_not_for_a_logger_with_a_tracker_of_its_own(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="a", sinks=[]) as run:
        record("one")
        settings = sl.StatsLoggerConfig(log_dir=tmp_path, name="own", sinks=())
        own = sl.StatsLogger(settings, tracker=sl.StatsTracker("own"))
        own.commit(0)
        own.finish()
        run.commit(0)
    assert "rollout/session/accepted" in records(tmp_path / "a", "commit")[0]["values"]
    assert all(
        "rollout/session/accepted" not in each["values"] for each in records(tmp_path / "own", "commit")
    )


def test_runs_that_end_in_any_order_let_sigterm_through(tmp_path: Path) -> None:
    code = """
import os, signal, sys, sightline as sl
first = sl.start(sys.argv[1], name="a", sinks=[])
second = sl.start(sys.argv[1], name="b", sinks=[])
first.finish()
second.finish()
os.kill(os.getpid(), signal.SIGTERM)
signal.pause()
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM


def test_output_is_captured_by_the_first_run_that_wants_it(tmp_path: Path) -> None:
    """Whichever ends first, what is printed afterwards goes where it went before them."""
    code = """
import sys, sightline as sl
captures = {"capture_output": True, "console_processes": "1"}
first = sl.start(sys.argv[1], name="a", sinks=[], logging=captures)
second = sl.start(sys.argv[1], name="b", sinks=[], logging=captures)
print("both", flush=True)
first.finish()
print("alone", flush=True)
second.finish()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], timeout=60, check=True, capture_output=True, text=True
    )
    assert [line for line in done.stdout.splitlines() if line in ("both", "alone")] == ["both", "alone"]
    assert "both" in (tmp_path / "a" / "logs" / "p00000.a01.stdout").read_text()
    assert not list((tmp_path / "b" / "logs").glob("*.stdout"))
