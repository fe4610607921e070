"""A process that aborts in C, as JAX ends those whose peer has died, leaves what it recorded before."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl
from tests.harness import PATIENCE
from tests.perfetto import Engine
from tests.timeline.conftest import Merged

#: Records ``early`` spans and sessions, waits ten times as long as docs/timeline.md says it takes, records
#: ``late`` ones, and aborts at once: `os.abort` with the interpreter's lock, libc's without it.
PROGRAM = """
import ctypes, os, sys, threading, time
import sightline as sl

run = sl.start(sys.argv[1], name="run", sinks=[])

def record(name, count):
    for n in range(count):
        with sl.trace_scope(name, n=n) as span:
            sl.counter("queue", n)
            sl.instant("mark")
        with sl.session(task=f"{name} {n}", otherwise="accepted"), sl.session_phase("generate"):
            pass

with sl.trace_scope("open") as span:
    record("early", 500)
    time.sleep(1.5)
    record("late", 500)
    if sys.argv[2] == "python":
        os.abort()
    threading.Thread(target=ctypes.CDLL(None).abort).start()  # while the main thread goes on
    record("later", 10**9)
"""


@pytest.mark.parametrize("by", ["python", "another thread"])
def test_all_but_the_last_moments_is_in_the_files_and_perfetto_opens_them(
    by: str, tmp_path: Path, engine: Engine, merged: Merged
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path, by], timeout=PATIENCE, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGABRT
    run = tmp_path / "run"
    (file,) = (run / "traces").iterdir()
    _, *lines, _ = file.read_bytes().split(b"\n")  # the last one may be cut
    events = [json.loads(line.rstrip(b",")) for line in lines]
    found = [each["args"]["n"] for each in events if each["name"] == "early"]
    assert found == list(range(500))
    assert [each["ph"] for each in events if each["name"] == "open"] == ["B"]
    tasks = {each.task for each in sl.read_sessions(run, on_damage=lambda damage: None)}
    assert tasks >= {f"early {n}" for n in range(500)}

    live = engine.load(file)
    assert live.errors() == {}
    assert live.column("select count(*) from slice where name = 'early'") == [500]
    trace, report = merged(run)
    assert report.problems == []
    assert trace.column("select count(*) from slice where name = 'early'") == [500]
    assert trace.column(
        "select p.name from slice s join slice p on p.id = s.parent_id where s.name = 'early' limit 1"
    ) == ["open"]
