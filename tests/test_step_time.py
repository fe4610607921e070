"""Where the time of steps goes, by the timings of a journal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.history import History
from sightline.report.time_shares import shares
from sightline.step_time import StepTime, step_time
from sightline.watching.live import Watch
from tests.report.runs import RunFiles

STEP = {
    "time/train/rollout_s": 0.4, "time/train/rollout_sync_s": 0.1, "time/train/rollout/decode_s": 0.2,
    "time/train/update_s": 0.2, "time/train/wait_weights_s": 0.1, "time/train/step_s": 1.0,
}  # fmt: skip


def of(run: RunFiles) -> StepTime:
    history = History(run.path)
    history.update()
    found = step_time(history, history.keys)
    assert found is not None
    return found


def test_watch_and_report_tell_the_same_shares_of_one_run(tmp_path: Path) -> None:
    """Goodput, kinds, stages, waiting and other; over a resume, with several commits of a step, and parts."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(20):
        run.commit(step, STEP)
    run.time += 10_000
    run.begin(15)
    for step in range(15, 40):
        run.commit(step, {**STEP, "time/train/update_s": 9.0} if step == 15 else STEP)
        if step % 10 == 9:
            run.commit(step, {"eval/accuracy": 0.5, "time/eval/generate_s": 0.8})
    watched = Watch(run.path).facts()
    history = History(run.path)
    history.update()
    reported = shares(history, [run.path])
    assert reported is not None
    assert watched.kinds == reported.kinds
    assert watched.goodput == reported.goodput
    told = {stage.name: (stage.own_share, stage.own_s) for stage in watched.stages if stage.key}
    assert told == {row["stage"]: (row["share"], row["own"]) for row in reported.stages}
    # 38 steps whose beginning is known, and three evaluations of a second each.
    wall_s = 38 + 3
    assert watched.step_s == pytest.approx(wall_s / 38)
    assert reported.kinds["waiting"] == pytest.approx(38 * 0.1 / wall_s)
    assert reported.kinds["evaluation"] == pytest.approx(3 * 0.8 / wall_s)
    assert reported.kinds["weights"] == pytest.approx(38 * 0.1 / wall_s)
    assert reported.goodput == pytest.approx(38 * 0.6 / wall_s)
    assert sum(reported.kinds.values()) == pytest.approx(1)


def test_watch_and_report_agree_on_a_real_run(tmp_path: Path) -> None:
    with sl.start(tmp_path, name="run", sinks=[], naming="off", tracing={"enabled": False}) as run:
        for step in run.steps(12):
            with sl.scope("train"), sl.record_timing("rollout"):
                sum(range(20_000))
            with sl.scope("train"), sl.record_timing("update"):
                sum(range(10_000))
            run.commit(step)
    history = History(run.dir)
    history.update()
    watched, reported = Watch(run.dir).facts(), shares(history, [run.dir])
    assert reported is not None
    assert reported.source == "timings"
    assert (watched.kinds, watched.goodput) == (reported.kinds, reported.goodput)


def test_what_lies_in_a_stage_counts_once(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(5):
        run.commit(step, {**STEP, "time/train/rollout/decode/kernel_s": 0.15})
    found = of(run)
    assert {stage.name: round(stage.own_s, 9) for stage in found.stages} == {
        "rollout": 0.1, "rollout/decode": 0.05, "rollout/decode/kernel": 0.15, "rollout_sync": 0.1,
        "update": 0.2, "wait_weights": 0.1, "other": 0.3,
    }  # fmt: skip
    assert [stage.name for stage in found.stages if stage.is_part] == [
        "rollout/decode", "rollout/decode/kernel", "rollout_sync",
    ]  # fmt: skip
    assert sum(stage.own_share for stage in found.stages) == pytest.approx(1)
    assert not found.overlaps


def test_stages_that_overlap_are_shares_of_their_sum(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(5):
        run.commit(step, {"time/rollout_s": 0.9, "time/update_s": 0.6})
    found = of(run)
    assert found.overlaps
    assert [(stage.name, round(stage.share, 9)) for stage in found.stages] == [
        ("rollout", 0.6), ("update", 0.4), ("other", 0.0),
    ]  # fmt: skip
    assert found.wall_s == 1.0


def test_what_is_gone_over_does_not_count(tmp_path: Path) -> None:
    """Also not before the later attempt has come as far."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(10):
        run.commit(step, {"time/update_s": 0.25 if step < 6 else 1.0})
    run.begin(6)
    run.commit(6, {"time/update_s": 0.5})
    found = of(run)
    assert found.steps.tolist() == list(range(7))
    assert [(stage.name, stage.seconds) for stage in found.stages] == [("update", 0.25), ("other", 0.75)]


def test_a_single_step_is_measured_by_its_own_timing(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"time/train/update_s": 0.5, "time/train/step_s": 2.0})
    assert of(run).kinds == {"other": 0.75, "training": 0.25}


@pytest.mark.filterwarnings("error")
def test_numbers_of_any_size_are_no_warning(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(3):
        run.commit(step, {"time/a_s": 1.7e308, "time/b_s": 1.7e308, "time/c_s": -1.0})
    history = History(run.path)
    history.update()
    assert step_time(history, history.keys) is None
    assert np.isfinite(history.step_seconds()[1:]).all()
