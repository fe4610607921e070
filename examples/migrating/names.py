"""The names of all runners: ours, and beside each the one that dashboards still ask for."""

from __future__ import annotations

GRPO = {
    "train/loss": "train-other/loss",
    "train/entropy": "train-other/entropy",
    "train/batch/global": "train-other/batch_global",
    "train/batch/local": "train-other/batch_local",
    "train/valid_tokens": "train-other/total_valid_token_count",
    "train/seq_len/": "train-seq_len/",
    "train/completion_length/": "train-seq_len/completion/",
    "train/reward/total/": "train-reward/total/",
    "train/advantage/": "train-reward/advantage/",
    "train/reward/correct/": "train-reward/func/reward_correct/",
    "train/reward/format/": "train-reward/func/reward_format/",
}
SFT = {
    "train/batch/global": "train/effective_batch_size",
    "time/train/step_s": "train/step_time_sec",
    "throughput/train/samples_per_s": "train/samples_per_sec",
    "eval/invalid_predictions": "eval/invalid_prediction_count",
}
#: What the old runner printed for `grep "^step="`.
LINE = "step={step} loss={train/loss:.4f} reward={train/reward/total/mean:.4f} entropy={train/entropy:.4f}"
