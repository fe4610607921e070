"""Every line reaches the files: of many threads, before a kill, in a signal handler; what is lost is told."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl
from sightline.text_logging import handler
from sightline.text_logging.process_logging import TextLogging
from tests.harness import until
from tests.text_logging.logged import log, logged, python, records


def test_what_waits_too_long_is_dropped_counted_and_told(
    logs: TextLogging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers wait first, and not once more for each line."""
    monkeypatch.setattr(handler, "MOST_WAITING", 10)
    monkeypatch.setattr(handler, "_PATIENCE_S", 0.05)
    logs._files.remove_source(logs._write)
    monkeypatch.setattr(handler, "_ROOM", 0)
    pauses: list[float] = []
    monkeypatch.setattr(handler.time, "sleep", pauses.append)
    for i in range(10):
        log.info("kept %d", i)
    assert pauses == []
    log.info("lost")
    waited = len(pauses)
    assert waited
    for _ in range(4):
        log.info("lost")
    assert len(pauses) == waited
    logs._files.add_source(logs._write)
    notice, *lines = logged(logs, tmp_path)
    assert (notice["lost"], notice["message"][:23]) == (5, "5 lines are missing her")
    assert [line["message"] for line in lines] == [f"kept {i}" for i in range(10)]
    assert "5 lines are missing here" in (tmp_path / "unit.log").read_text()
    log.info("again")
    assert logged(logs, tmp_path)[-1]["message"] == "again"


def test_files_are_followed_by_others_and_the_oldest_go(tmp_path: Path) -> None:
    """By size, with a cap on all."""
    config = sl.TextLoggingConfig(segment_bytes=10_000, keep_bytes=40_000, console_processes="9")
    logs = sl.setup_file_logging(tmp_path, "unit.log", config=config)
    for i in range(100):
        log.info("%d %s", i, "x" * 1000)
        logs.flush()
    logs.close()
    for suffix in ("jsonl", "log"):
        paths = sorted(tmp_path.glob(f"unit.*.{suffix}"))
        assert 2 <= len(paths) <= 5
        assert sum(path.stat().st_size for path in paths) <= 40_000
    last = [
        int(line["message"].split()[0])
        for path in sorted(tmp_path.glob("unit.*.jsonl"))
        for line in records(path)
    ]
    last += [int(line["message"].split()[0]) for line in records(tmp_path / "unit.jsonl")]
    assert last == list(range(last[0], 100))


FLOOD = """
import sys, threading, sightline as sl
process, threads, lines = map(int, sys.argv[1:])
logs = sl.setup_file_logging("logs", config=sl.TextLoggingConfig(console_processes="99"), process=process)
log = sl.get_logger("flood")
def work(thread):
    for i in range(lines):
        log.info("line %d", i, of=thread)
workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
for each in workers: each.start()
for each in workers: each.join()
assert logs.close(300)
"""


@pytest.mark.parametrize(
    ("processes", "threads", "lines"),
    [(2, 8, 2000), pytest.param(8, 16, 10_000, marks=pytest.mark.long)],
    ids=["small", "large"],
)
def test_no_line_is_lost_or_torn_and_each_threads_are_in_order(
    tmp_path: Path, processes: int, threads: int, lines: int
) -> None:
    """Of many threads in many processes, as fast as they can."""
    started = [
        subprocess.Popen([sys.executable, "-c", FLOOD, *map(str, (process, threads, lines))], cwd=tmp_path)
        for process in range(processes)
    ]
    assert [process.wait(600) for process in started] == [0] * processes
    for process in range(processes):
        found: dict[int, list[str]] = {}
        for line in records(tmp_path / f"logs/p{process:05d}.a01.jsonl"):
            assert line["process"] == process
            assert "lost" not in line, line["message"]
            found.setdefault(line["fields"]["of"], []).append(line["message"])
        assert found == {thread: [f"line {i}" for i in range(lines)] for thread in range(threads)}
        plain = (tmp_path / f"logs/p{process:05d}.a01.log").read_bytes().splitlines()
        assert len(plain) == 1 + threads * lines
        assert all(re.fullmatch(rb"\S+Z p\d{5} INFO flood: line \d+  of=\d+", line) for line in plain[1:])


@pytest.mark.parametrize("level", ["info", "warning"])
def test_a_killed_process_leaves_its_lines(tmp_path: Path, level: str) -> None:
    """They reach the kernel by themselves, without flush or end."""
    code = f"""
import time, sightline as sl
sl.setup_file_logging(".", "unit.log")
for i in range(100): sl.get_logger("a").{level}("line %d", i)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    path = tmp_path / "unit.jsonl"
    try:
        until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 101, "its lines")
    finally:
        process.kill()
        process.wait()
    assert [line["message"] for line in records(path)] == [f"line {i}" for i in range(100)]


@pytest.mark.parametrize(
    ("call", "then"),
    [("warning", "time.sleep(600)"), ("error", "time.sleep(600)"), ("critical", "os._exit(9)")],
)
def test_from_warning_up_no_tick_is_waited_for(tmp_path: Path, call: str, then: str) -> None:
    """Here none comes within the hour. At CRITICAL the caller waits, since it may end at the next line."""
    code = f"""
import os, time, sightline as sl
from sightline.files import process_files as files
from sightline.text_logging import process_logging as p
files._TICK_S = 3600.0
p._LAST_WORDS_S = 60.0
sl.setup_file_logging(".", "unit.log", config=sl.TextLoggingConfig(console_processes="9"))
sl.get_logger("a").info("before")
sl.get_logger("a").{call}("last words")
{then}
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    path = tmp_path / "unit.jsonl"
    try:
        if call == "critical":
            assert process.wait(120) == 9
        until(lambda: path.exists() and b"last words" in path.read_bytes(), "its last words")
    finally:
        process.kill()
        process.wait()
    assert [line["message"] for line in records(path)] == ["before", "last words"]


def test_a_preempted_run_leaves_its_lines(tmp_path: Path) -> None:
    """They are written before SIGTERM goes on."""
    code = """
import os, signal, time, sightline as sl
sl.start("runs", name="r", sinks=[])
for i in range(100): sl.get_logger("a").info("line %d", i)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert process.wait(120) == -signal.SIGTERM
    *lines, last = records(tmp_path / "runs/r/logs/p00000.a01.jsonl")
    assert [line["message"] for line in lines] == [f"line {i}" for i in range(100)]
    assert last["message"].startswith("SIGTERM: all is written")


def test_a_forked_child_does_not_write_into_the_parents_files(tmp_path: Path) -> None:
    """Nor does it hang, nor run the parent's hooks; its warnings go to stderr."""
    code = """
import os, sys, sightline as sl
logs = sl.setup_file_logging(".", "unit.log", config=sl.TextLoggingConfig(console_processes="9"))
log = sl.get_logger("a")
log.info("one")
child = os.fork()
if child == 0:
    log.warning("from the child")
    assert logs.flush(0.0) and logs.close(0.0) and sys.excepthook is sys.__excepthook__
    assert not logs._handler.waiting
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
log.info("two")
"""
    assert python(code, tmp_path).stderr == "from the child\n"
    assert [line["message"] for line in records(tmp_path / "unit.jsonl")] == ["one", "two"]


def test_a_signal_handler_may_log_in_the_middle_of_a_call(tmp_path: Path) -> None:
    """Nothing of it waits for a lock that the interrupted call holds."""
    code = """
import signal, sightline as sl
logs = sl.setup_file_logging(".", "unit.log", config=sl.TextLoggingConfig(console_processes="9"))
log = sl.get_logger("a")
handled = 0
def handle(*_):
    global handled
    handled += 1
    log.warning("handler %d", handled)
    log.log_every_seconds(30, "now and then", 1e-6)
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
said = 0
while handled < 1000:
    log.warning("main")
    log.log_every_seconds(30, "main, now and then", 1e-6)
    said += 1
signal.setitimer(signal.ITIMER_REAL, 0)
logs.close()
import json
messages = [json.loads(line).get("message", "") for line in open("unit.jsonl")]
assert messages.count("main") == said
assert {m for m in messages if m.startswith("handler")} == {f"handler {i}" for i in range(1, handled + 1)}
assert len([m for m in messages if m.startswith("handler")]) == handled
"""
    python(code, tmp_path)
