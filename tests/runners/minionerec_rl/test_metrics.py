"""What reaches the journal equals what the old way computes, under the old names too."""

from __future__ import annotations

import re

import pytest

import sightline as sl
from tests.runners.jobs import Finished

PHASES = ("rollout", "reward", "advantages", "shard", "reference", "update")
#: Those that end when the devices are done, maybe after the step has let them go on alone.
ON_DEVICES = ("reference", "update")
THROUGHPUT = tuple(
    f"throughput/train/{name}_per_s" for name in ("valid_tokens", "valid_tokens_update", "candidates")
)
#: What earlier runners logged of a step.
OLD_KEYS = {
    *("reward", "reward_std", "rewards/rule_reward", "rewards/ndcg_rule_reward"),
    *("categorical_diversity", "token_diversity"),
    *(f"train/{name}" for name in ("loss", "kl", "prompt_batch_size", "num_generations", "pass@1", "pass@K")),
    *(f"train/{name}" for name in ("completions_per_step", "grad_accum_steps", "completion_length")),
    *(f"train/{name}" for name in ("reward_mean", "reward_rule_mean", "reward_ndcg_mean")),
}


@pytest.fixture(params=["one_process", "two_processes", "four_processes"])
def run(request: pytest.FixtureRequest) -> Finished:
    finished: Finished = request.getfixturevalue(request.param)
    return finished


def test_every_metric_equals_its_old_computation_key_by_key(run: Finished) -> None:
    seen = set()
    for line in run.journal():
        for name in ("train", "eval", "eval_full"):
            if not any(key.startswith(f"{name}/") for key in line["values"]):
                continue
            seen.add(where := f"{line['step']} {name}")
            for key, (expected, tolerance) in run.old_style[where].items():
                assert line["values"][key] == pytest.approx(expected, rel=0, abs=tolerance), (where, key)
    assert seen == set(run.old_style)


def test_every_key_of_the_old_runner_is_compared(run: Finished) -> None:
    assert run.old_style["1 train"].keys() >= OLD_KEYS
    assert {"eval_small/reward_mean", "eval/hr@10", "eval/ndcg@20"} <= run.old_style["2 eval"].keys()


def test_the_groups_have_something_to_learn_from(run: Finished) -> None:
    """Else zeros would be compared with zeros."""
    steps = [line["values"] for line in run.journal() if "train/loss" in line["values"]]
    assert any(0 < values["train/reward/zero_variance_groups"] < 1 for values in steps)
    assert any(values["train/reward/ndcg/min"] < 0 < values["train/pass@k"] for values in steps)
    assert all(values["train/grad_norm"] > 0 for values in steps)


def test_timings_and_rates_are_there_at_every_step(run: Finished) -> None:
    steps = [line for line in run.journal() if "train/loss" in line["values"]]
    assert steps
    for line in steps:
        for key in (*(f"time/train/{name}_s" for name in (*PHASES, "step")), *THROUGHPUT):
            assert line["values"][key] > 0, key


def test_rates_times_and_amounts_belong_together(run: Finished) -> None:
    """A rate without a timing of its own is by the time between two commits, in which the step lies."""
    for line, seconds in zip(run.steps(), run.of_root("time/train/step_s"), strict=True):
        values = line["values"]
        tokens = values["train/valid_tokens"]
        update = values["throughput/train/valid_tokens_update_per_s"] * values["time/train/update_s"]
        assert update == pytest.approx(tokens)
        assert tokens / values["throughput/train/valid_tokens_per_s"] >= seconds
        found = values["throughput/train/candidates_per_s"] * values["time/train/rollout_s"]
        assert found == pytest.approx(values["train/batch/global"])


def test_nothing_is_recorded_but_what_has_an_old_computation_or_is_a_time(run: Finished) -> None:
    marks = {"train": "train/loss", "eval": "eval/hr@10", "eval_full": "eval_full/hr@10"}
    assert run.without_an_old_computation(marks, "minionerec_rl") == set()


def test_the_phases_on_the_host_add_up_to_no_more_than_the_step(run: Finished) -> None:
    for line in run.journal():
        if "train/loss" in line["values"]:
            times = {name: line["values"][f"time/train/{name}_s"] for name in (*PHASES, "step")}
            assert sum(times[name] for name in PHASES if name not in ON_DEVICES) <= times["step"] * 1.001


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
        assert rejected == pytest.approx(8 * values["train/reward/zero_variance_groups"])
        assert rejected + values.get("rollout/session/accepted", 0) == 8  # prompts of the smoke config
        assert values["rollout/session/staleness/mean"] == 0
    sessions = list(sl.read_sessions(run.dir))
    assert {phase.name for session in sessions for phase in session.phases} == {"generate", "reward"}
    assert all(session.status in ("accepted", "rejected") for session in sessions)


def test_every_device_value_reaches_its_commit(run: Finished) -> None:
    for line in run.journal():
        trouble = [key for key in line["values"] if key.startswith("obs/")]
        assert trouble == [], line["step"]


def test_the_root_evaluates_alone_and_the_others_wait_outside_of_their_steps(run: Finished) -> None:
    lines = run.journal()
    last = lines[-1]["step"]
    small = [line for line in lines if "eval/hr@10" in line["values"]]
    full = [line for line in lines if "eval_full/hr@10" in line["values"]]
    assert [line["step"] for line in small] == list(range(2, last + 1, 2))
    assert [line["step"] for line in full] == [0, last]
    assert all(line["texts"]["eval/split"] == "valid" for line in small)
    assert all(line["texts"]["eval_full/split"] == "test" for line in full)
    for line in (*small, *full):
        scope = "eval" if line in small else "eval_full"
        assert line["values"][f"time/{scope}/step_s"] > 0
        assert line["values"][f"{scope}/invalid_predictions"] == 0
        assert (f"time/{scope}/wait_s" in line["values"]) == (len(run.outputs) > 1)
        assert line["reported"] == len(run.outputs)


def test_every_process_takes_part_in_every_training_commit(run: Finished) -> None:
    steps = [line for line in run.journal() if "train/loss" in line["values"]]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert all(line["expected"] == line["reported"] == len(run.outputs) for line in steps)


def test_two_processes_find_and_learn_what_one_does(one_process: Finished, two_processes: Finished) -> None:
    for a, b in zip(one_process.journal(), two_processes.journal(), strict=True):
        for key in ("train/reward/total/mean", "train/loss", "train/token_diversity", "eval_full/ndcg@10"):
            if key in a["values"]:
                assert a["values"][key] == pytest.approx(b["values"][key], rel=1e-3, abs=1e-4), (
                    a["step"],
                    key,
                )


def test_the_root_alone_prints_the_summary_and_names_files_that_exist(two_processes: Finished) -> None:
    root, other = two_processes.printed
    assert "Next item of 12 held-out users" in root
    assert "held-out users" not in other
    assert "WARNING" not in root + other
    files = re.search(r"Written:\n((?:  .+\n)+)", root)
    assert files is not None
    names = {line.strip().rsplit("/", 1)[1] for line in files[1].splitlines()}
    assert names >= {"metrics.jsonl", "eval.json", "checkpoints"}
