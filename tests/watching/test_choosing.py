"""Which metrics are shown."""

from __future__ import annotations

import pytest

from sightline.watching.choosing import chosen, filtered, is_goal, own

USUAL = [
    "time/train/step_s", "obs/conflicts", "train/reward/total/mean", "train/reward/total/std",
    "train/reward/format/mean", "train/loss", "train/kl", "train/entropy", "train/grad_norm",
    "train/completion_length/mean", "throughput/train/tokens_per_s", "train/lr", "eval/pass@1", "train/odd",
]  # fmt: skip


def test_the_usual_metrics_come_in_a_useful_order() -> None:
    """Reward first; no timing, no counter of trouble, no deviation; odd keys only where few are usual."""
    found = chosen(USUAL)
    assert found[:3] == ["train/reward/total/mean", "train/reward/format/mean", "train/loss"]
    assert {"eval/pass@1", "train/kl", "throughput/train/tokens_per_s", "train/lr"} <= set(found)
    assert not {"train/reward/total/std", "time/train/step_s", "obs/conflicts", "train/odd"} & set(found)


@pytest.mark.parametrize("result", ["pass@1", "accuracy", "ndcg@10", "hr@10", "hr@3"])
def test_what_an_evaluation_is_made_for_comes_before_its_reward(result: str) -> None:
    rewards = ["eval/reward/total/mean", "eval/reward/format/mean", "eval_full/reward/total/mean"]
    trained = ["train/reward/total/mean", "train/reward/format/mean", "train/loss"]
    found = chosen([*trained, *rewards, f"eval/{result}"])
    assert found[:5] == [*trained, f"eval/{result}", "eval/reward/total/mean"]
    assert is_goal(f"eval/{result}")


def test_a_run_with_names_of_its_own_shows_them() -> None:
    assert chosen(["a/x", "a/y", "time/a/z_s"]) == ["a/x", "a/y"]
    assert len(chosen([f"a/k{n}" for n in range(300)])) == 12


def test_patterns_are_taken_as_they_are_given() -> None:
    """In their order, each key once, also timings and counters."""
    assert chosen(USUAL, ["train/l*", "train/*", "obs/*"])[:2] == ["train/loss", "train/lr"]
    assert chosen(USUAL, ["obs/*"]) == ["obs/conflicts"]
    assert chosen(USUAL, ["none"]) == []


def test_old_names_beside_the_keys_are_left_out() -> None:
    run = {"aliases": {"train/loss": ["loss"], "train/": ["old/"]}, "derived": {"average": "…"}}
    assert own(["train/loss", "loss", "old/loss", "average", "b"], run) == ["train/loss", "b"]
    assert own(["loss"], {"aliases": {"train/loss": 7}}) == ["loss"]
    assert own(["loss"], None) == ["loss"]


def test_a_filter_takes_words_in_any_order() -> None:
    assert filtered(USUAL, "MEAN reward") == ["train/reward/total/mean", "train/reward/format/mean"]
    assert set(filtered(USUAL, "")) == set(USUAL)
    assert filtered(["a[b", "ab"], "[") == ["a[b"]


def test_all_metrics_come_by_namespace_and_times_and_machines_last() -> None:
    keys = ["host/x", "obs/late", "time/a_s", "mine/b", "train/kl", "eval_full/acc", "loss", "rollout/n"]
    last = ["time/a_s", "obs/late", "host/x"]
    assert filtered(keys, "") == ["train/kl", "eval_full/acc", "rollout/n", "mine/b", "loss", *last]


def test_goals_are_what_should_grow() -> None:
    assert is_goal("eval/pass@1")
    assert not is_goal("train/reward/zero_variance_groups")
