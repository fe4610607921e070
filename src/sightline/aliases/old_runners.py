"""The names that the JAX runners before these logged, one table for each.

Keys that the old runner spelled as we do (``train/kl``, ``eval/hr@10``, ``time/train/rollout_s``) need none.
"""

from __future__ import annotations

from sightline.aliases.functions import Constant, MeanOfLast
from sightline.aliases.table import Alias, AliasTable

_REMOVE_AFTER = "2027-12-31"
#: Reward functions whose old names are others; any other has its own.
_REWARDS = {"correct": "reward_correct", "format": "reward_format", "tag_count": "tag_count_reward"}
_ACCURACY = ("eval_full/accuracy", "eval_full/accuracy/pass_at_1",
             "eval/accuracy/accuracy", "eval/accuracy/pass_at_1")  # fmt: skip


def _rewards(ours: str, theirs: str) -> list[Alias | dict[str, str]]:
    """The means of all reward functions under a pattern, and not that of the total."""
    exact = {ours.replace("*", name): theirs.replace("*", old) for name, old in _REWARDS.items()}
    return [exact, Alias(ours, theirs, without=[*exact, ours.replace("*", "total")])]


GRPO_GSM8K = AliasTable(
    "grpo_gsm8k",
    [
        {
            "train/loss": "train-other/loss",
            "train/entropy": "train-other/entropy",
            "train/batch/global": "train-other/batch_global",
            "train/batch/local": "train-other/batch_local",
            "train/valid_tokens": "train-other/total_valid_token_count",
            "train/reward/total/": "train-reward/total/",
            "train/advantage/": "train-reward/advantage/",
            "train/seq_len/": "train-seq_len/",
            "train/completion_length/": "train-seq_len/completion/",
            "train/policy_loss": "train-ppo/policy_loss",
            "train/value_loss": "train-ppo/value_loss",
            "train/value/mean": "train-ppo/value_pred_mean",
            "train/return/mean": "train-ppo/return_mean",
            "throughput/train/valid_tokens_update_per_s": "throughput/train/valid_tokens_per_s_update",
            "eval_full/accuracy/mean": _ACCURACY,
            "eval_full/questions": ["eval_full/questions_global", "eval/accuracy/questions_global"],
            "eval_full/samples_per_question": "eval/accuracy/samples_per_question",
            "eval_full/split": "eval/accuracy/split",
        },
        *_rewards("train/reward/*/mean", "train-reward/func/*/mean"),
        *_rewards("eval/reward/*/mean", "eval/reward/func/*/mean"),
        *_rewards("eval_full/reward/*/mean", "eval_full/*/mean_per_completion"),
        Alias("time/train/step_s", "time/train/step_avg_last10_s", MeanOfLast(10, full=True)),
        Alias("eval_full/accuracy/mean", ["eval_full/enabled", "eval/accuracy/full_sweep"], Constant(1)),
    ],
    remove_after=_REMOVE_AFTER,
)

SID_SFT = AliasTable(
    "sid_sft",
    {
        "train/batch/global": "train/effective_batch_size",
        "time/train/step_s": "train/step_time_sec",
        "throughput/train/samples_per_s": "train/samples_per_sec",
        "eval/invalid_predictions": "eval/invalid_prediction_count",
        "eval/best_ndcg@10": "eval/best_metric_value",
        "eval/best_step": "eval/best_metric_step",
    },
    remove_after=_REMOVE_AFTER,
)

MINIONEREC_RL = AliasTable(
    "minionerec_rl",
    {
        "train/reward/total/mean": ["train/reward_mean", "reward"],
        "train/reward/rule/mean": ["train/reward_rule_mean", "rewards/rule_reward"],
        "train/reward/ndcg/mean": ["train/reward_ndcg_mean", "rewards/ndcg_rule_reward"],
        "train/reward/group/std": "reward_std",
        "train/pass@k": "train/pass@K",
        "train/completion_length/mean": "train/completion_length",
        "train/batch/global": "train/completions_per_step",
        "train/batch/prompts": "train/prompt_batch_size",
        "train/batch/group": "train/num_generations",
        "train/batch/accumulated": "train/grad_accum_steps",
        "train/candidate_diversity": "categorical_diversity",
        "train/token_diversity": "token_diversity",
        "eval/reward/total/mean": "eval_small/reward_mean",
        "eval/invalid_predictions": "eval/invalid_prediction_count",
    },
    remove_after=_REMOVE_AFTER,
)

NANO_GPT = AliasTable(
    "nano_gpt",
    {
        "throughput/train/tokens_per_s": "perf/tokens_per_sec",
        "time/train/step_s": "perf/step_time_sec",
        "eval/sample": "sample/text",
    },
    remove_after=_REMOVE_AFTER,
)
