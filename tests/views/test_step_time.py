"""Where the time of steps goes, by the timings of a journal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.report.headline import headline
from sightline.report.time_shares import shares
from sightline.views.history import History
from sightline.views.step_time import RunTime, StepTime, run_time, step_time
from sightline.watching.cells import PLAIN
from sightline.watching.drawing import View, page
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


def whole(run: RunFiles) -> RunTime:
    history = History(run.path)
    history.update()
    found = run_time(history, history.keys)
    assert found is not None
    return found


def test_the_time_of_a_run_has_what_is_before_and_after_its_steps(tmp_path: Path) -> None:
    """Three seconds of set-up, nine tenths of a second of steps, four more until it says that it ends."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.time += 3
    for step in range(30):
        run.time += 0.03 - 1
        run.commit(step, {"time/train/update_s": 0.02})
    run.time += 3
    run.finish()
    found = whole(run)
    assert found.wall_s == pytest.approx(3.0 + 0.9 + 4)
    assert found.goodput == found.kinds["training"] == pytest.approx(30 * 0.02 / found.wall_s, rel=1e-4)
    assert found.kinds["other"] == pytest.approx(29 * 0.01 / found.wall_s, rel=1e-4)
    assert found.kinds["outside"] == pytest.approx((3.0 + 0.01 + 4) / found.wall_s, rel=1e-4)
    assert sum(found.kinds.values()) == pytest.approx(1)
    assert of(run).kinds == pytest.approx({"training": 2 / 3, "other": 1 / 3}, rel=1e-4)


def test_stages_of_no_kind_are_told_where_they_take_much(tmp_path: Path) -> None:
    """Else a goodput of nothing would look like a run that trains nothing; by report and screen."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(10):
        run.commit(step, {"time/rl/xyz_s": 0.8, "time/rl/reward_s": 0.1, "time/rl/step_s": 1.0})
    run.finish()
    found = whole(run)
    assert found.unknown == pytest.approx({"xyz": 8 / found.wall_s}, rel=1e-3)
    history = History(run.path)
    history.update()
    figures = headline(history, Watch(run.path).facts().state)
    assert "% is in stages of no known kind (xyz)" in figures["of_no_kind"]
    lines = page(Watch(run.path).facts(), 80, None, view=View(), glyphs=PLAIN, now=run.time)
    screen = "\n".join(line.plain for line in lines)
    assert f"{figures['of_no_kind']}, which is no goodput" in screen
    known = RunFiles(tmp_path / "known")
    known.begin()
    known.commit(0, {"time/rl/update_s": 0.8})
    known.finish()
    history = History(known.path)
    history.update()
    assert headline(history, Watch(known.path).facts().state)["of_no_kind"] == ""


def test_the_time_of_a_run_has_what_was_gone_over_and_no_pauses(tmp_path: Path) -> None:
    """Each attempt ends with its end event, or when it was heard of last."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(10):
        run.commit(step, {"time/train/update_s": 1.0})
    run.say("event", event="stall", step=10, k=0, waiting_for=[0], time=run.time + 5)
    run.time += 1000
    run.begin(6)
    for step in range(6, 10):
        run.commit(step, {"time/train/update_s": 1.0})
    run.finish()
    found = whole(run)
    assert found.wall_s == pytest.approx(10 + 5 + 4 + 1)
    assert found.kinds == pytest.approx({"training": 10 / 20, "outside": 10 / 20, "other": 0})


def test_the_time_of_a_run_of_which_only_the_end_was_read_says_since_when(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.time += 50
    for step in range(2000):
        run.commit(step, {"time/train/update_s": 0.5})
    history = History(run.path, tail=20_000)
    history.update()
    found = run_time(history, history.keys)
    assert found is not None
    assert found.since is not None
    assert found.since > 1000
    steps = 2000 - found.since
    assert found.wall_s == pytest.approx(steps - 1)
    assert found.goodput == pytest.approx(0.5, abs=0.01)


def test_stages_that_overlap_are_no_more_than_the_time_of_a_run(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(5):
        run.commit(step, {"time/rollout_s": 0.9, "time/update_s": 0.6})
    found = whole(run)
    assert found.wall_s == 5.0
    assert found.kinds == pytest.approx({"rollouts": 0.6, "training": 0.4, "other": 0, "outside": 0})


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
    assert watched.run_time is not None
    assert watched.run_time.goodput == headline(history, watched.state)["goodput"]
    told = {stage.name: (stage.own_share, stage.own_s) for stage in watched.stages if stage.key}
    assert told == {row["stage"]: (row["share"], row["own"]) for row in reported.stages}
    # 38 steps whose beginning is known, and three evaluations of a second each.
    wall_s = 38 + 3
    assert watched.step_s == pytest.approx(wall_s / 38)
    assert reported.kinds["waiting"] == pytest.approx(38 * 0.1 / wall_s)
    assert reported.kinds["evaluation"] == pytest.approx(3 * 0.8 / wall_s)
    assert reported.kinds["weights"] == pytest.approx(38 * 0.1 / wall_s)
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
    assert watched.kinds == reported.kinds
    figures = headline(history, watched.state)
    assert watched.run_time is not None
    assert (watched.run_time.kinds, watched.run_time.wall_s) == (figures["kinds"], figures["wall_s"])
    assert watched.plain()["goodput"] == figures["goodput"]


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
