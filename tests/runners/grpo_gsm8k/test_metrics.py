"""What reaches the journal equals what the old way computes, under the old names too."""

from __future__ import annotations

from typing import ClassVar

from tests.runners.grpo_metrics import GrpoMetrics
from tests.runners.jobs import Finished


class TestMetrics(GrpoMetrics):
    aliases = "grpo_gsm8k"
    marks: ClassVar = {
        "train": "train/loss",
        "eval": "eval/accuracy/mean",
        "eval_full": "eval_full/accuracy/mean",
        "warmup": "warmup/loss",
    }
    new = frozenset(f"warmup/{name}" for name in ("loss", "grad_norm", "lr", "step"))
    phases = ("rollout", "reward", "advantages", "shard", "update")
    on_devices = ("update",)
    timings = (
        *phases,
        *("rollout_sync", "rollout_generate", "rollout_flush", "rollout_release", "step"),
    )
    rates = (
        "throughput/train/valid_tokens_per_s",
        "throughput/train/valid_tokens_per_s_update",
        "throughput/train/valid_tokens_update_per_s",
    )
    prompts = 4
    learned = ("train/reward/total/mean", "train/loss", "train/valid_tokens", "eval_full/accuracy/mean")
    table = "train/rollouts"
    summary = "Held-out accuracy, 20 problems", "Held-out accuracy"

    def test_the_rate_of_the_update_has_its_old_name(self, run: Finished) -> None:
        for line in run.steps():
            old = line["values"]["throughput/train/valid_tokens_per_s_update"]
            assert old == line["values"]["throughput/train/valid_tokens_update_per_s"]

    def test_the_old_window_shows_nothing_before_there_are_ten_steps(self, run: Finished) -> None:
        assert 0 < len(run.steps()) < 10
        assert all("time/train/step_avg_last10_s" not in line["values"] for line in run.journal())

    def test_evaluations_carry_their_split_and_their_timings(self, run: Finished) -> None:
        lines = run.journal()
        small = [line for line in lines if "eval/accuracy/mean" in line["values"]]
        full = [line for line in lines if "eval_full/accuracy/mean" in line["values"]]
        last = lines[-1]["step"]
        assert [line["step"] for line in small] == list(range(2, last + 1, 2))
        assert [line["step"] for line in full] == [0, last]
        assert all(line["texts"] == {"eval/split": "test"} for line in small)
        assert all(
            line["texts"] == {"eval_full/split": "test", "eval/accuracy/split": "test"} for line in full
        )
        for line in (*small, *full):
            scope = "eval" if line in small else "eval_full"
            phases = [line["values"][f"time/{scope}/rollout_{name}_s"] for name in ("generate", "flush")]
            assert 0 < sum(phases) <= line["values"][f"time/{scope}/rollout_s"]
        assert all(line["counts"]["eval_full/accuracy__count"] == 20 for line in full)
