"""JAX's profiler records the steps that were asked for, with our spans in it, and the loop goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import sightline as sl
from sightline.recording.step import active_step
from tests.trace_files import events


def names_in(folder: Path) -> dict[str, int]:
    """How often each name stands in a profile."""
    (path,) = folder.rglob("*.xplane.pb")
    found: dict[str, int] = {}
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                found[event.name] = found.get(event.name, 0) + 1
    return found


def train(run: sl.Run, steps: int) -> None:
    compute = jax.jit(lambda x: jnp.sin(x).sum())
    for _ in run.steps(steps):
        with sl.scope("train"), sl.record_timing("update"), sl.trace_scope("dispatch"):
            compute(jnp.ones(100)).block_until_ready()


def profiles(run_dir: Path) -> list[str]:
    return sorted(path.name for path in run_dir.glob("profiles/*"))


def test_neighbouring_steps_are_one_profile_with_our_spans(tmp_path: Path) -> None:
    tracing = sl.PerfTracerConfig(profile_steps=[2, 3], profile_host_level=1)
    with sl.start(tmp_path, name="run", sinks=[], tracing=tracing) as run:
        train(run, 6)
    assert profiles(tmp_path / "run") == ["p00000.a01.s000002"]
    found = names_in(tmp_path / "run" / "profiles")
    assert {name: found.get(name) for name in ("step", "train/update", "dispatch")} == {
        "step": 4,  # the profiler's own, and the span
        "train/update": 2,
        "dispatch": 2,
    }
    told = [event["name"] for event in events(tmp_path / "run", "i") if event.get("cat") == "profile"]
    assert told == ["profile begins", "profile ends"]
    assert sum(event["name"] == "dispatch" for event in events(tmp_path / "run", "X", "E")) == 6


def test_spans_are_annotated_while_the_profile_runs_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int | None, str]] = []

    class Counted(jax.profiler.TraceAnnotation):  # the real one
        def __init__(self, name: str, **more: Any) -> None:
            made.append((active_step(), name))
            super().__init__(name, **more)

    monkeypatch.setattr(jax.profiler, "TraceAnnotation", Counted)
    with sl.start(tmp_path, name="run", sinks=[], tracing={"profile_steps": [2, 3]}) as run:
        train(run, 6)
    with sl.trace_scope("after"):
        pass
    assert {step for step, name in made if name == "dispatch"} == {2, 3}
    assert {step for step, _ in made} <= {2, 3}


def test_a_profile_can_be_asked_for_while_the_run_goes_on(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[], tracing=sl.PerfTracerConfig(profile_host_level=1)) as run:
        time.sleep(1.5)  # the request of an earlier attempt would be taken as seen
        (tmp_path / "run" / "profile").write_text("2")
        deadline = time.monotonic() + 120
        for _ in run.steps(10**9):
            with sl.trace_scope("work"):
                time.sleep(0.01)
            if profiles(tmp_path / "run") or time.monotonic() > deadline:
                break
    (name,) = profiles(tmp_path / "run")
    assert names_in(tmp_path / "run" / "profiles" / name).get("work", 0) <= 2


@pytest.mark.parametrize("processes", [[], [1, 2]])
def test_other_processes_do_not_profile(processes: list[int], tmp_path: Path) -> None:
    tracing = sl.PerfTracerConfig(profile_steps=[0], profile_processes=processes)
    with sl.start(tmp_path, name="run", sinks=[], tracing=tracing) as run:
        train(run, 2)
    assert profiles(tmp_path / "run") == []


def test_somebody_elses_profile_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Profile has already been started.")

    monkeypatch.setattr(jax.profiler, "start_trace", refuse)
    with sl.start(tmp_path, name="run", sinks=[], tracing=sl.PerfTracerConfig(profile_steps=[0])) as run:
        train(run, 2)
    assert "step 0 is not profiled: Profile has already been started." in caplog.text


def test_steps_that_are_none_are_refused() -> None:
    with pytest.raises(sl.ConfigurationError, match=r"profile_steps=\['1'\]; expected ints"):
        sl.PerfTracerConfig(profile_steps=["1"])  # type: ignore[list-item]
