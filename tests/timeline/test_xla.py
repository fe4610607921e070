"""XLA's events of a profile lie within the step that was profiled, on the same timeline."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
from click.testing import CliRunner

import sightline as sl
from sightline.cli import main
from sightline.timeline.sessions import sessions_of
from sightline.timeline.xla import xla_events
from tests.timeline.conftest import Merged


def profiled(folder: Path) -> Path:
    compute = jax.jit(lambda x: jnp.sin(x @ x).sum())
    x = jnp.ones((300, 300))
    compute(x).block_until_ready()
    with sl.start(folder, name="run", sinks=[], tracing={"profile_steps": [1]}) as run:
        for _ in run.steps(3):
            with sl.trace_scope("work"):
                compute(x).block_until_ready()
    return folder / "run"


def test_device_events_lie_within_the_step_that_was_profiled(tmp_path: Path, merged: Merged) -> None:
    run = profiled(tmp_path)
    trace, report = merged(run, sources=[sessions_of, xla_events])
    assert report.problems == []
    assert report.events["device events"] > 0
    (step,) = trace.query(
        "select s.ts, s.dur from slice s join args a using (arg_set_id) "
        "where s.name = 'step' and a.key = 'args.step' and a.int_value = 1"
    )
    found = trace.query("select name, ts, dur from slice where category = 'xla'")
    assert len(found) == report.events["device events"]
    inside = [
        each
        for each in found
        if step["ts"] - 1_000_000 <= each["ts"]
        and each["ts"] + each["dur"] <= step["ts"] + step["dur"] + 50_000_000
    ]
    assert len(inside) >= 0.9 * len(found)
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
