"""What reaches the journal equals what the old way computes, under the old names too."""

from __future__ import annotations

import re

import numpy as np
import pytest

import sightline as sl
from tests.runners.jobs import Finished

PHASES = ("rollout", "reward", "advantages", "shard", "update")
OLD_TIMINGS = (
    *PHASES,
    *("rollout_sync", "rollout_generate", "rollout_flush", "rollout_release", "step", "step_avg_last10"),
)
# What only a commit of this kind has; old names of one may lie in the scope of another.
MARKS = {"train": "train/loss", "eval": "eval/accuracy/mean", "eval_full": "eval_full/accuracy/mean"}
OLD_THROUGHPUT = (
    "throughput/train/valid_tokens_per_s",
    "throughput/train/valid_tokens_per_s_update",
    "throughput/train/valid_tokens_update_per_s",
)


@pytest.fixture(params=["one_process", "two_processes", "four_processes"])
def run(request: pytest.FixtureRequest) -> Finished:
    finished: Finished = request.getfixturevalue(request.param)
    return finished


def test_every_metric_equals_its_old_computation_key_by_key(run: Finished) -> None:
    seen = set()
    for line in run.journal():
        for name, key in MARKS.items():
            if key not in line["values"]:
                continue
            seen.add(where := f"{line['step']} {name}")
            for key, (expected, tolerance) in run.old_style[where].items():
                assert line["values"][key] == pytest.approx(expected, rel=0, abs=tolerance), (where, key)
    assert seen == set(run.old_style)


def test_the_timings_and_rates_of_the_old_runner_are_there_at_every_step(run: Finished) -> None:
    steps = [line for line in run.journal() if "train/loss" in line["values"]]
    assert steps
    for line in steps:
        for key in (*(f"time/train/{name}_s" for name in OLD_TIMINGS), *OLD_THROUGHPUT):
            assert line["values"][key] > 0, key


def test_rates_times_and_amounts_belong_together(run: Finished) -> None:
    """A rate without a timing of its own is by the time between two commits, in which the step lies."""
    for line, seconds in zip(run.steps(), run.of_root("time/train/step_s"), strict=True):
        values = line["values"]
        tokens = values["train/valid_tokens"]
        update = values["throughput/train/valid_tokens_update_per_s"] * values["time/train/update_s"]
        assert update == pytest.approx(tokens)
        assert tokens / values["throughput/train/valid_tokens_per_s"] >= seconds
        old = values["throughput/train/valid_tokens_per_s_update"]
        assert old == values["throughput/train/valid_tokens_update_per_s"]


def test_the_old_window_is_the_mean_of_the_last_ten_steps(run: Finished) -> None:
    times = [line["values"]["time/train/step_s"] for line in run.steps()]
    for n, line in enumerate(run.steps(), 1):
        window = np.mean(times[max(n - 10, 0) : n])
        assert line["values"]["time/train/step_avg_last10_s"] == pytest.approx(window)


def test_nothing_is_recorded_but_what_has_an_old_computation_or_is_a_time(run: Finished) -> None:
    marks = {**MARKS, "warmup": "warmup/loss"}
    assert run.without_an_old_computation(marks, "grpo_gsm8k") == {
        f"warmup/{name}" for name in ("loss", "grad_norm", "lr", "step")
    }


def test_the_phases_on_the_host_add_up_to_no_more_than_the_step(run: Finished) -> None:
    for line in run.journal():
        if "train/loss" in line["values"]:
            times = {name: line["values"][f"time/train/{name}_s"] for name in OLD_TIMINGS}
            # The update's time ends on the devices, maybe after the step has let them go on alone.
            assert sum(times[name] for name in PHASES if name != "update") <= times["step"] * 1.001


def test_tokens_are_counted_once_for_each_optimiser_step_whatever_the_split(run: Finished) -> None:
    for line in run.journal():
        if "train/loss" in line["values"]:
            tokens = line["values"]["train/valid_tokens"]
            for key in ("train/ratio__count", "train/advantage__count"):
                assert line["counts"][key] == 2 * tokens  # grpo.ppo_epochs of the smoke config
            assert line["counts"]["train/grad_norm__count"] == 2


def test_each_group_is_a_session_that_is_rejected_if_nothing_is_learned_from_it(run: Finished) -> None:
    for line in run.steps():
        values = line["values"]
        rejected = values.get("rollout/session/rejected", 0)
        assert rejected == pytest.approx(4 * values["train/reward/zero_variance_groups"])
        assert rejected + values.get("rollout/session/accepted", 0) == 4  # prompts of the smoke config
        assert values["rollout/session/staleness/mean"] == 0
    sessions = list(sl.read_sessions(run.dir))
    assert {phase.name for session in sessions for phase in session.phases} == {"generate", "reward"}
    assert all(session.status in ("accepted", "rejected") for session in sessions)


def test_every_device_value_reaches_its_commit(run: Finished) -> None:
    for line in run.journal():
        trouble = [key for key in line["values"] if key.startswith("obs/")]
        assert trouble == [], line["step"]


def test_evaluations_carry_their_split_and_their_timings(run: Finished) -> None:
    lines = run.journal()
    small = [line for line in lines if "eval/accuracy/mean" in line["values"]]
    full = [line for line in lines if "eval_full/accuracy/mean" in line["values"]]
    last = lines[-1]["step"]
    assert [line["step"] for line in small] == list(range(2, last + 1, 2))
    assert [line["step"] for line in full] == [0, last]
    assert all(line["texts"] == {"eval/split": "test"} for line in small)
    assert all(line["texts"] == {"eval_full/split": "test", "eval/accuracy/split": "test"} for line in full)
    for line in (*small, *full):
        scope = "eval" if line in small else "eval_full"
        phases = [line["values"][f"time/{scope}/rollout_{name}_s"] for name in ("generate", "flush")]
        assert 0 < sum(phases) <= line["values"][f"time/{scope}/rollout_s"]
    assert all(line["counts"]["eval_full/accuracy__count"] == 20 for line in full)


def test_every_process_takes_part_in_every_training_commit(run: Finished) -> None:
    steps = [line for line in run.journal() if "train/loss" in line["values"]]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert all(line["expected"] == line["reported"] == len(run.outputs) for line in steps)


def test_two_processes_sample_and_learn_what_one_does(one_process: Finished, two_processes: Finished) -> None:
    for a, b in zip(one_process.journal(), two_processes.journal(), strict=True):
        for key in ("train/reward/total/mean", "train/loss", "train/valid_tokens", "eval_full/accuracy/mean"):
            if key in a["values"]:
                assert a["values"][key] == pytest.approx(b["values"][key], rel=1e-3, abs=1e-4), (
                    a["step"],
                    key,
                )


def test_the_root_alone_prints_the_summary_and_names_files_that_exist(two_processes: Finished) -> None:
    root, other = two_processes.printed
    assert "Held-out accuracy, 20 problems" in root
    assert "Held-out accuracy" not in other
    files = re.search(r"Written:\n((?:  .+\n)+)", root)
    assert files is not None
    names = {line.strip().rsplit("/", 1)[1] for line in files[1].splitlines()}
    assert names >= {"metrics.jsonl", "eval.json", "checkpoints"}
