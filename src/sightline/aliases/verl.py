"""The names that verl logs (`critic/rewards/mean`, `actor/pg_loss`), for dashboards made for it.

What verl counts otherwise has a key of its own here, to be recorded by whoever wants the panel:

- ``perf/throughput`` is per device: ``sl.rate("tokens_per_device", tokens / jax.device_count())``.
- ``training/filter_groups/evicted_samples`` is a number of groups:
  ``sl.total("filter_groups/evicted_samples", groups)``. The share of groups without variance, our
  ``train/reward/zero_variance_groups``, verl does not log.
"""

from __future__ import annotations

from sightline.aliases.table import AliasTable

VERL = AliasTable(
    "verl",
    {
        "train/reward/total/": ["critic/rewards/", "critic/score/"],
        "train/advantage/": "critic/advantages/",
        "train/return/": "critic/returns/",
        "train/value/": "critic/values/",
        "train/value_loss": "critic/vf_loss",
        "train/filter_groups/": "training/filter_groups/",
        "train/loss": "actor/pg_loss",
        "train/kl": "actor/kl_loss",
        "train/policy_kl": "actor/ppo_kl",
        "train/entropy": "actor/entropy",
        "train/clip_fraction": "actor/pg_clipfrac",
        "train/grad_norm": "actor/grad_norm",
        "train/lr": "actor/lr",
        "train/completion_length/": "response_length/",
        "train/seq_len/prompt/": "prompt_length/",
        "train/tokens": "perf/total_num_tokens",
        "throughput/train/tokens_per_device_per_s": "perf/throughput",
        "time/train/step_s": "perf/time_per_step",
        "time/train/rollout_s": "timing_s/gen",
        "time/train/advantages_s": "timing_s/adv",
        "time/train/update_s": "timing_s/update_actor",
        "time/train/reference_s": "timing_s/ref",
        "time/eval/step_s": "timing_s/testing",
        "time/train/*_s": "timing_s/*",
    },
    remove_after="2.0",
)
