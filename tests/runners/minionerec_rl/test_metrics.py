"""What reaches the journal equals what the old way computes, under the old names too."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.runners.grpo_metrics import GrpoMetrics
from tests.runners.jobs import Finished

#: What earlier runners logged of a step.
OLD_KEYS = {
    *("reward", "reward_std", "rewards/rule_reward", "rewards/ndcg_rule_reward"),
    *("categorical_diversity", "token_diversity"),
    *(f"train/{name}" for name in ("loss", "kl", "prompt_batch_size", "num_generations", "pass@1", "pass@K")),
    *(f"train/{name}" for name in ("completions_per_step", "grad_accum_steps", "completion_length")),
    *(f"train/{name}" for name in ("reward_mean", "reward_rule_mean", "reward_ndcg_mean")),
}


class TestMetrics(GrpoMetrics):
    aliases = "minionerec_rl"
    marks: ClassVar = {"train": "train/loss", "eval": "eval/hr@10", "eval_full": "eval_full/hr@10"}
    phases = ("rollout", "reward", "advantages", "shard", "reference", "update")
    on_devices = ("reference", "update")
    timings = (*phases, "step")
    rates = (
        "throughput/train/valid_tokens_per_s",
        "throughput/train/valid_tokens_update_per_s",
        "throughput/train/candidates_per_s",
    )
    prompts = 8
    learned = ("train/reward/total/mean", "train/loss", "train/token_diversity", "eval_full/ndcg@10")
    table = "train/candidates"
    summary = "Next item of 12 held-out users", "held-out users"

    def test_every_key_of_the_old_runner_is_compared(self, run: Finished) -> None:
        assert run.old_style["1 train"].keys() >= OLD_KEYS
        assert {"eval_small/reward_mean", "eval/hr@10", "eval/ndcg@20"} <= run.old_style["2 eval"].keys()

    def test_the_groups_have_something_to_learn_from(self, run: Finished) -> None:
        """Else zeros would be compared with zeros."""
        steps = [line["values"] for line in run.steps()]
        assert any(0 < values["train/reward/zero_variance_groups"] < 1 for values in steps)
        assert any(values["train/reward/ndcg/min"] < 0 < values["train/pass@k"] for values in steps)
        assert all(values["train/grad_norm"] > 0 for values in steps)

    def test_the_rate_of_candidates_is_by_the_rollout(self, run: Finished) -> None:
        for line in run.steps():
            values = line["values"]
            found = values["throughput/train/candidates_per_s"] * values["time/train/rollout_s"]
            assert found == pytest.approx(values["train/batch/global"])

    def test_a_commit_with_a_key_of_an_evaluation_is_one(self, run: Finished) -> None:
        """No old name of a step lies in the scope of an evaluation, or the other way round."""
        for line in run.journal():
            for name, mark in self.marks.items():
                assert (mark in line["values"]) == any(key.startswith(f"{name}/") for key in line["values"])

    def test_the_root_evaluates_alone_and_the_others_wait_outside_of_their_steps(self, run: Finished) -> None:
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

    def test_nobody_is_warned(self, two_processes: Finished) -> None:
        assert not any("WARNING" in printed for printed in two_processes.printed)
