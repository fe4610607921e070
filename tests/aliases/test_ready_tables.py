"""The ready tables: every old key that they promise, from the canonical keys, each with an end."""

import pytest

from sightline.aliases import TABLES, Mirror
from sightline.values.naming import unconventional

STATISTICS = ("mean", "std", "min", "max")
STAGES = ("rollout", "reward", "advantages", "shard", "update", "step")
REWARD = [f"train/reward/total/{name}" for name in STATISTICS]
TIMES = [f"time/train/{name}_s" for name in STAGES]

# Table -> the canonical keys that are recorded -> the old keys that must be there.
PROMISED: dict[str, list[tuple[list[str], list[str]]]] = {
    "verl": [
        (REWARD, [f"critic/{kind}/{s}" for kind in ("rewards", "score") for s in ("mean", "min", "max")]),
        (["train/filter_groups/evicted_samples"], ["training/filter_groups/evicted_samples"]),
        (["train/kl"], ["actor/kl_loss"]),
        (["train/entropy"], ["actor/entropy"]),
        (["train/clip_fraction"], ["actor/pg_clipfrac"]),
        (
            [f"train/completion_length/{s}" for s in ("mean", "max", "min")],
            [f"response_length/{s}" for s in ("mean", "max", "min")],
        ),
        ([f"train/advantage/{s}" for s in STATISTICS], [f"critic/advantages/{s}" for s in STATISTICS]),
        (["train/loss"], ["actor/pg_loss"]),
        (["train/grad_norm", "train/lr"], ["actor/grad_norm", "actor/lr"]),
        (["throughput/train/tokens_per_device_per_s"], ["perf/throughput"]),
        (TIMES, [f"timing_s/{name}" for name in (*STAGES, "gen", "adv", "update_actor")]),
        (["time/train/step_s"], ["perf/time_per_step"]),
    ],
    "trl": [
        (["train/reward/total/mean"], ["reward"]),
        (["train/reward/group/std"], ["reward_std"]),
        (
            ["train/reward/correct/mean", "train/reward/correct/std"],
            ["rewards/correct/mean", "rewards/correct/std"],
        ),
        (["train/reward/zero_variance_groups"], ["frac_reward_zero_std"]),
        (["train/kl", "train/entropy"], ["kl", "entropy"]),
        (["train/clip_fraction"], ["clip_ratio/region_mean"]),
        (
            [f"train/completion_length/{s}" for s in ("mean", "max", "min")],
            [f"completions/{s}_length" for s in ("mean", "max", "min")],
        ),
        (["train/loss", "train/grad_norm", "train/lr"], ["loss", "grad_norm", "learning_rate"]),
        (["train/tokens"], ["num_tokens"]),
        (TIMES, [f"profiling/{name}" for name in STAGES]),
        (["time/train/step_s"], ["step_time"]),
    ],
    "areal": [
        (REWARD, [f"ppo_actor/task_reward/{s}" for s in ("avg", "min", "max")]),
        ([f"train/kl_reward/{s}" for s in STATISTICS], ["ppo_actor/kl_rewards/avg"]),
        (["train/entropy"], ["ppo_actor/update/entropy/avg"]),
        (["train/clip_fraction"], ["ppo_actor/update/clip_ratio/avg"]),
        (
            [f"train/seq_len/total/{s}" for s in STATISTICS],
            [f"ppo_actor/seq_len/{s}" for s in ("avg", "min", "max")],
        ),
        (
            [f"train/advantage/{s}" for s in STATISTICS],
            [f"ppo_actor/advantages/{s}" for s in ("avg", "min", "max")],
        ),
        (["train/loss"], ["ppo_actor/update/actor_loss/avg"]),
        (["train/grad_norm", "train/lr"], ["ppo_actor/update/grad_norm", "ppo_actor/update/lr"]),
        (TIMES, [f"timeperf/{name}" for name in STAGES]),
    ],
    "grpo_gsm8k": [
        (
            ["train/loss", "train/entropy", "train/batch/global", "train/batch/local", "train/valid_tokens"],
            [
                f"train-other/{name}"
                for name in ("loss", "entropy", "batch_global", "batch_local", "total_valid_token_count")
            ],
        ),
        (REWARD, [f"train-reward/total/{s}" for s in STATISTICS]),
        ([f"train/advantage/{s}" for s in STATISTICS], [f"train-reward/advantage/{s}" for s in STATISTICS]),
        (
            [f"train/reward/{name}/mean" for name in ("correct", "format", "tag_count")],
            [
                f"train-reward/func/{name}/mean"
                for name in ("reward_correct", "reward_format", "tag_count_reward")
            ],
        ),
        (
            [f"train/seq_len/{part}/{s}" for part in ("prompt", "total") for s in ("mean", "max")],
            [f"train-seq_len/{part}/{s}" for part in ("prompt", "total") for s in ("mean", "max")],
        ),
        (
            [f"train/completion_length/{s}" for s in ("mean", "max")],
            [f"train-seq_len/completion/{s}" for s in ("mean", "max")],
        ),
        (
            ["throughput/train/valid_tokens_per_s", "throughput/train/valid_tokens_update_per_s"],
            ["throughput/train/valid_tokens_per_s", "throughput/train/valid_tokens_per_s_update"],
        ),
        (["eval/reward/correct/mean"], ["eval/reward/func/reward_correct/mean"]),
        (
            ["eval_full/accuracy/mean"],
            [
                *("eval_full/accuracy", "eval_full/accuracy/pass_at_1", "eval_full/enabled"),
                *("eval/accuracy/accuracy", "eval/accuracy/pass_at_1", "eval/accuracy/full_sweep"),
            ],
        ),
        (["eval_full/questions"], ["eval_full/questions_global", "eval/accuracy/questions_global"]),
        (["eval_full/samples_per_question"], ["eval/accuracy/samples_per_question"]),
        (["eval_full/split"], ["eval_full/split", "eval/accuracy/split"]),
        (["eval_full/reward/correct/mean"], ["eval_full/reward_correct/mean_per_completion"]),
        (["eval_full/reward/tag_count/mean"], ["eval_full/tag_count_reward/mean_per_completion"]),
        (
            ["train/policy_loss", "train/value_loss", "train/value/mean", "train/return/mean"],
            [f"train-ppo/{s}" for s in ("policy_loss", "value_loss", "value_pred_mean", "return_mean")],
        ),
    ],
    "sid_sft": [
        (["train/loss"], ["train/loss"]),
        (["train/batch/global"], ["train/effective_batch_size"]),
        (["time/train/step_s"], ["train/step_time_sec"]),
        (["throughput/train/samples_per_s"], ["train/samples_per_sec"]),
        (["eval/epoch", "eval/hr@10", "eval/ndcg@10"], ["eval/epoch", "eval/hr@10", "eval/ndcg@10"]),
        (["eval/invalid_predictions"], ["eval/invalid_prediction_count"]),
        (
            ["eval/best_ndcg@10", "eval/best_step"],
            ["eval/best_metric_value", "eval/best_metric_step"],
        ),
    ],
    "minionerec_rl": [
        (["train/loss", "train/kl", "train/pass@1"], ["train/loss", "train/kl", "train/pass@1"]),
        (["train/completion_length/mean"], ["train/completion_length"]),
        (
            [f"train/batch/{name}" for name in ("prompts", "group", "global", "accumulated")],
            [
                f"train/{name}"
                for name in (
                    "prompt_batch_size",
                    "num_generations",
                    "completions_per_step",
                    "grad_accum_steps",
                )
            ],
        ),
        (["train/reward/total/mean"], ["train/reward_mean", "reward"]),
        (["train/reward/rule/mean"], ["train/reward_rule_mean", "rewards/rule_reward"]),
        (["train/reward/ndcg/mean"], ["train/reward_ndcg_mean", "rewards/ndcg_rule_reward"]),
        (["train/reward/group/std"], ["reward_std"]),
        (["train/pass@k"], ["train/pass@K"]),
        (
            ["train/candidate_diversity", "train/token_diversity"],
            ["categorical_diversity", "token_diversity"],
        ),
        (["eval/reward/total/mean"], ["eval_small/reward_mean"]),
        (["eval/invalid_predictions"], ["eval/invalid_prediction_count"]),
    ],
    "nano_gpt": [
        (
            ["throughput/train/tokens_per_s", "time/train/step_s"],
            ["perf/tokens_per_sec", "perf/step_time_sec"],
        ),
        (["eval/sample"], ["sample/text"]),
        (["train/loss", "train/lr", "eval/loss"], ["train/loss", "train/lr", "eval/loss"]),
    ],
}


def test_every_ready_table_is_looked_at_here() -> None:
    """A new one needs its promise, too."""
    assert set(PROMISED) == set(TABLES)


@pytest.mark.parametrize("table", PROMISED)
def test_the_old_keys_of_a_table_are_there_when_the_canonical_ones_are(table: str) -> None:
    """Each promise by itself, and all of them in one commit, where nothing may be in another's way."""
    canonical = [key for keys, _ in PROMISED[table] for key in keys]
    for keys, old in PROMISED[table]:
        assert set(old) <= set(Mirror(TABLES[table].aliases).values(dict.fromkeys(keys, 1.0)).values), keys
    together = Mirror(TABLES[table].aliases).values(dict.fromkeys(canonical, 1.0))
    assert together.hidden == []


@pytest.mark.parametrize("table", PROMISED)
def test_the_keys_that_a_table_mirrors_keep_the_conventions(table: str) -> None:
    """Whoever records for a table need not leave them."""
    for alias in TABLES[table].aliases:
        key = alias.key.replace("*", "x") + ("x" if alias.key.endswith("/") else "")
        assert unconventional(key) is None, key


@pytest.mark.parametrize("table", PROMISED)
def test_every_table_has_an_end(table: str) -> None:
    """Aliases are for the time of a move."""
    assert TABLES[table].remove_after is not None


def test_what_is_no_reward_functions_has_no_name_among_those_of_trl() -> None:
    """The total and the deviation within groups have names of their own."""
    total = {f"train/reward/{name}": 1.0 for name in ("total/mean", "total/std", "group/std")}
    assert Mirror(TABLES["trl"].aliases).values(total).values.keys() - total == {"reward", "reward_std"}


def test_any_reward_function_has_its_old_names() -> None:
    """Under its own name, but for those that the old runner called otherwise; the total is none."""
    mirror = Mirror(TABLES["grpo_gsm8k"].aliases)
    for name, old in (
        ("brevity", "brevity"),
        ("reward_correct", "reward_correct"),
        ("correct", "reward_correct"),
    ):
        assert mirror.names(f"train/reward/{name}/mean") == [f"train-reward/func/{old}/mean"]
        assert mirror.names(f"eval/reward/{name}/mean") == [f"eval/reward/func/{old}/mean"]
        assert mirror.names(f"eval_full/reward/{name}/mean") == [f"eval_full/{old}/mean_per_completion"]
    assert mirror.names("train/reward/total/mean") == ["train-reward/total/mean"]
    assert mirror.names("eval/reward/total/mean") == mirror.names("eval_full/reward/total/mean") == []
    assert mirror.names("train/reward/group/std") == []


def test_values_that_are_not_the_keys_own_are_computed() -> None:
    """A window over steps, a total over the run, and flags."""
    window = Mirror(TABLES["grpo_gsm8k"].aliases)
    for step in range(1, 13):
        shown = window.values({"time/train/step_s": float(step), "eval_full/accuracy/mean": 0.25}).values
        # As the old runner had it: nothing before there are ten steps.
        assert shown.get("time/train/step_avg_last10_s") == (step - 4.5 if step >= 10 else None)
    assert shown["eval_full/enabled"] == shown["eval/accuracy/full_sweep"] == 1
    total = Mirror(TABLES["trl"].aliases)
    assert [total.values({"train/tokens": 100}).values["num_tokens"] for _ in range(3)] == [100, 200, 300]
