"""XLA's events of a profile lie within the step that was profiled, on the same timeline."""

from __future__ import annotations

import time
from pathlib import Path

import jax
import jax.numpy as jnp
from click.testing import CliRunner

import sightline as sl
from sightline.cli import main
from sightline.timeline.sessions import sessions_of
from sightline.timeline.xla import xla_events
from tests.timeline.conftest import Merged

_OFF_NS = 2_000_000


def profiled(folder: Path) -> Path:
    compute = jax.jit(lambda x: jnp.sin(x @ x).sum())
    x = jnp.ones((300, 300))
    compute(x).block_until_ready()
    with sl.start(folder, name="run", sinks=[], tracing={"profile_steps": [1]}) as run:
        for _ in run.steps(3):
            with sl.trace_scope("work"):
                compute(x).block_until_ready()
            time.sleep(0.1)
    return folder / "run"


def test_device_events_lie_within_the_spans_that_waited_for_them(tmp_path: Path, merged: Merged) -> None:
    run = profiled(tmp_path)
    trace, report = merged(run, sources=[sessions_of, xla_events])
    assert report.problems == []
    assert report.events["device events"] > 0
    works = trace.query("select ts, ts + dur as end from slice where name = 'work' order by ts")
    assert len(works) == 3
    found = trace.query("select name, ts, ts + dur as end from slice where category = 'xla'")
    assert len(found) == report.events["device events"]
    # Whoever asked waits for the result within the span, and nothing runs in the pauses between them.
    outside = [
        each
        for each in found
        if not any(
            work["ts"] - _OFF_NS <= each["ts"] and each["end"] <= work["end"] + _OFF_NS for work in works
        )
    ]
    assert outside == []
    names = trace.column("select t.name from thread t join thread_track using (utid)")
    assert any(name.startswith("tf_XLA") for name in names)


def test_the_command_takes_profiles_along_when_asked(tmp_path: Path) -> None:
    run = profiled(tmp_path)
    said = CliRunner().invoke(main, ["trace", "merge", str(run)])
    assert "device events" not in said.output
    said = CliRunner().invoke(main, ["trace", "merge", str(run), "--xla"])
    assert said.exit_code == 0, said.output
    assert "device events" in said.output


def test_a_profile_that_cannot_be_read_or_is_nobodys_is_told(tmp_path: Path, merged: Merged) -> None:
    with sl.start(tmp_path, name="run", sinks=[]), sl.trace_scope("a"):
        pass
    for name in ("p00000.a01.s000001", "p00009.a01.s000001", "something"):
        folder = tmp_path / "run" / "profiles" / name
        folder.mkdir(parents=True)
        (folder / "host.xplane.pb").write_bytes(b"\xff\xfftorn")
    _, report = merged(tmp_path / "run", sources=[xla_events])
    assert len(report.problems) == 3
    assert sum("of no process whose trace is here" in line for line in report.problems) == 2
    assert sum("cannot be read" in line for line in report.problems) == 1
