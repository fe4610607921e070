"""The names that TRL's GRPOTrainer logs (`reward`, `completions/mean_length`), for dashboards made for it.

What TRL counts otherwise has a key of its own here, to be recorded by whoever wants the panel:

- ``reward_std`` is the mean over groups of the deviation within each:
  ``sl.ratio("reward/group/std", deviations.sum(), len(deviations))``. With ``scale_rewards="batch"`` it is
  that of all rewards, ``train/reward/total/std``.
- ``num_tokens`` are prompts and completions, all so far: ``sl.total(tokens=...)`` each step.
"""

from __future__ import annotations

from sightline.aliases.functions import RunningTotal
from sightline.aliases.table import Alias, AliasTable

TRL = AliasTable(
    "trl",
    [
        {
            "train/reward/total/mean": "reward",
            "train/reward/group/std": "reward_std",
            "train/reward/zero_variance_groups": "frac_reward_zero_std",
            "train/kl": "kl",
            "train/entropy": "entropy",
            "train/clip_fraction": "clip_ratio/region_mean",
            "train/completion_length/mean": "completions/mean_length",
            "train/completion_length/min": "completions/min_length",
            "train/completion_length/max": "completions/max_length",
            "train/loss": "loss",
            "train/grad_norm": "grad_norm",
            "train/lr": "learning_rate",
            "time/train/step_s": "step_time",
            "time/train/rollout_s": "profiling/Time taken: GRPOTrainer.transformers.generate",
            "time/train/reward_s": "profiling/Time taken: GRPOTrainer._calculate_rewards",
            "time/train/update_s": "profiling/Time taken: GRPOTrainer.compute_loss",
            "time/train/*_s": "profiling/*",
        },
        # What is no reward function's has no name among theirs.
        Alias("train/reward/*/mean", "rewards/*/mean", without=["train/reward/total/mean"]),
        Alias(
            "train/reward/*/std",
            "rewards/*/std",
            without=["train/reward/total/std", "train/reward/group/std"],
        ),
        Alias("train/tokens", "num_tokens", RunningTotal()),
    ],
    remove_after="2.0",
)
