"""The names that AReaL logs (`ppo_actor/task_reward/avg`, `timeperf/rollout`), for dashboards made for it.

What AReaL counts otherwise has a key of its own here, to be recorded by whoever wants the panel:

- ``ppo_actor/kl_rewards`` is the share of the reward that comes from the KL term, −coefficient · KL:
  ``sl.masked("kl_reward", -coefficient * kl, mask)``. From ``train/kl`` alone, with the coefficient at hand:
  ``Alias("train/kl", "ppo_actor/kl_rewards/avg", Scaled(-coefficient))``.
- ``ppo_actor/seq_len`` is prompt and completion: ``sl.summary("seq_len/total", lengths)``.
"""

from __future__ import annotations

from sightline.aliases.table import AliasTable

#: Our statistics and AReaL's; it has no deviation.
_STATISTICS = {"mean": "avg", "min": "min", "max": "max"}
_SUMMARIES = {
    "train/reward/total": "ppo_actor/task_reward",
    "train/advantage": "ppo_actor/advantages",
    "train/kl_reward": "ppo_actor/kl_rewards",
    "train/seq_len/total": "ppo_actor/seq_len",
    "train/seq_len/prompt": "ppo_actor/prompt_len",
    "train/ratio": "ppo_actor/update/importance_weight",
}

AREAL = AliasTable(
    "areal",
    {
        **{
            f"{ours}/{statistic}": f"{theirs}/{name}"
            for ours, theirs in _SUMMARIES.items()
            for statistic, name in _STATISTICS.items()
        },
        "train/loss": "ppo_actor/update/actor_loss/avg",
        "train/entropy": "ppo_actor/update/entropy/avg",
        "train/clip_fraction": "ppo_actor/update/clip_ratio/avg",
        "train/policy_kl": "ppo_actor/update/approx_kl/avg",
        "train/grad_norm": "ppo_actor/update/grad_norm",
        "train/lr": "ppo_actor/update/lr",
        "time/train/advantages_s": "timeperf/compute_advantage",
        "time/train/update_s": "timeperf/train_step",
        "time/train/reference_s": "timeperf/ref_logp",
        "time/train/*_s": "timeperf/*",
    },
    remove_after="2.0",
)
