"""Keys and scopes, and the conventions that a key should keep."""

import pytest

from sightline.values.naming import (
    ancestors,
    check_key,
    folders_among,
    join,
    unconventional,
)


@pytest.mark.parametrize(
    "key", ["loss", "reward/total", "pass@1", "hr@k", "a.b", "GPU 0", "Größe", "x" * 500]
)
def test_paths_of_printable_parts_are_keys(key: str) -> None:
    """Whatever people name metrics in practice."""
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "empty part"),
        ("/loss", "empty part"),
        ("loss/", "empty part"),
        ("a//b", "empty part"),
        ("a\nb", "control characters"),
        ("a\x1b[0m", "control characters"),
        ("\ud800", "control characters"),
        ("loss__count", "reserved"),
        (None, "NoneType"),
        (3, "int"),
    ],
)
def test_what_is_no_key_is_told_why(key: object, said: str) -> None:
    """The message holds the value and the reason."""
    with pytest.raises(ValueError, match=said) as raised:
        check_key(key)
    assert repr(key) in str(raised.value)


def test_scopes_join_with_a_slash() -> None:
    """And the empty scope with nothing."""
    assert join("train", "loss") == "train/loss"
    assert join("", "loss") == "loss"


def test_ancestors_are_the_folders_of_a_key() -> None:
    """Proper prefixes at slashes, shortest first."""
    assert list(ancestors("a/b/c/d")) == ["a", "a/b", "a/b/c"]
    assert list(ancestors("a")) == []


def test_a_key_that_is_a_folder_is_found() -> None:
    """``loss`` beside ``loss/max`` and beside ``loss/x/y``, but not beside ``loss_max``."""
    assert folders_among(["loss", "loss_max", "loss.max"]) == {}
    assert set(folders_among(["loss", "loss/x/y", "lr", "lr/a", "b/c"])) == {"loss", "lr"}


@pytest.mark.parametrize(
    "key",
    [
        "train/loss", "train/reward/total/mean", "train/length/p50", "train/length/p99.9", "train/pass@1",
        "train/reward/zero_variance_groups", "train/completion_length/max", "train/step",
        "eval/hr@10", "eval_full/accuracy/split", "eval_small/reward/total/mean", "warmup/lr",
        "time/update_s", "time/train/rollout_s", "time/train/rollout_s_max", "time/train/rollout_s_slowest",
        "time/jax/compile_s", "throughput/tokens_per_s", "throughput/train/valid_tokens_update_per_s",
        "jax/compile/count", "jax/memory/process_in_use_bytes", "jax/memory/in_use_bytes/mean",
        "train/reward/tag_count/mean", "train/max_length",
        "rollout/version", "obs/late_snapshots", "obs/sink/My Sink/errors",
        "rollout/session/total_s/p50", "eval/average_precision", "eval/average_precision/mean",
        "train/n_gram_diversity", "train/n_step_return", "train/n_gram", "train/n_step", "train/max_abs/mean",
        "eval/mean_iou", "train/max_tokens", "train/reward/tag_count/max",
        "throughput/train/tokens_per_device_per_s",
        "train/summary", "train/minimal_pairs", "train/p50", "train/steps_per_epoch",
    ],
)  # fmt: skip
def test_canonical_keys_keep_the_conventions(key: str) -> None:
    """What the recording calls export, what sightline itself exports, and the keys of the runners."""
    assert unconventional(key) is None


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("loss", "first part 'loss' is none of train, eval"),
        ("train-reward/total/mean", "first part 'train-reward'"),
        ("evaluation/loss", "first part"),
        ("eval_/loss", "first part"),
        ("eval__full/loss", "first part"),
        ("train", "namespace alone"),
        ("train/Loss", "'Loss' is not in snake_case"),
        ("train/grad-norm", "snake_case"),
        ("train/GPU 0", "snake_case"),
        ("train/a__b", "snake_case"),
        ("train/p99.9/x", "snake_case"),
        ("train/reward_mean", "as in 'reward/mean'"),
        ("train/reward/total_std", "as in 'total/std'"),
        ("train/avg_reward", "as in 'reward/mean'"),
        ("train/reward/avg", "spelled 'mean'"),
        ("train/num_tokens", "as in 'tokens'"),
        ("train/number_of_tokens", "as in 'tokens'"),
        ("train/token_cnt", "'tokens' for 'token_cnt'"),
        ("train/clipped_pct", "between 0 and 1"),
        ("train/step_time_sec", "makes it 'time/train/step_s'"),
        ("train/step_time", "makes it 'time/train/step_s'"),
        ("train/inner/wait_ms", "makes it 'time/train/inner/wait_s'"),
        ("train/wait_s", "makes it 'time/train/wait_s'"),
        ("rollout/latency_ms/mean", "makes it 'time/rollout/latency_s'"),
        ("time/train/update", "as in 'update_s'"),
        ("time/train/update_ms", "as in 'update_s'"),
        ("time/train/update_s_avg", "no time in seconds"),
        ("train/samples_per_sec", "makes it 'throughput/train/samples_per_s'"),
        ("train/tokens_per_s", "makes it 'throughput/train/tokens_per_s'"),
        ("throughput/train/tokens", "makes it 'throughput/train/tokens_per_s'"),
        ("train/time", "makes it 'time/train/step_s'"),
        ("train/ms", "makes it 'time/train/step_s'"),
        ("train/num", "named by the things"),
        ("train/cnt", "named by the things"),
        ("train/n_tokens", "as in 'tokens'"),
        ("train/mean_reward", "as in 'reward/mean'"),
        ("train/std_reward", "as in 'reward/std'"),
        ("train/max_reward", "as in 'reward/max'"),
        ("train/reward_p95", "as in 'reward/p95'"),
        ("train/latency_p50/x", "as in 'latency/p50'"),
        ("train/reward_count", "as in 'reward/count'"),
        ("train/rollout_duration", "makes it 'time/train/rollout_s'"),
        ("train/elapsed", "makes it 'time/train/step_s'"),
        ("train/loss/mean/mean", "keep one, as in 'train/loss/mean'"),
        ("train/loss/max/p50", "keep one, as in 'train/loss/max'"),
        ("train/tokens_per_s_per_device", "makes it 'throughput/train/tokens_per_device_per_s'"),
        ("train/samples_per_sec_per_device", "makes it 'throughput/train/samples_per_device_per_s'"),
        ("throughput/train/tokens_per_sec", "makes it 'throughput/train/tokens_per_s'"),
    ],
)
def test_a_key_outside_of_the_conventions_is_told_why(key: str, said: str) -> None:
    """The reason names the part that is meant, and how it is spelled here."""
    assert said in (unconventional(key) or "")


def test_a_namespace_of_ones_own_is_welcome_when_it_is_named() -> None:
    """And only its own first part; the rest of the conventions holds inside it."""
    assert unconventional("actor/loss", namespaces=("actor",)) is None
    assert "snake_case" in (unconventional("actor/Loss", namespaces=("actor",)) or "")
    assert "train, eval" in (unconventional("critic/loss", namespaces=("actor",)) or "")
