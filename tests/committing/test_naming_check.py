"""Odd keys as they are met: by what they export, once, and not where they were asked for."""

from sightline.aliases import Alias, Mirror
from sightline.committing.naming_check import NamingCheck
from sightline.values.key_specs import Spec


def spec(key: str, kind: str = "scalar", **options: object) -> Spec:
    return Spec(key, kind, "train.py", 3)._replace(**options)


def test_a_key_is_looked_at_as_it_is_exported() -> None:
    """A statistic that a summary adds is no part of its name; what a rate and a timing are called is."""
    check = NamingCheck()
    fine = [
        spec("train/reward", "summary", emit=("mean", "std"), quantiles=(0.5, 0.999)),
        spec("throughput/train/tokens_per_s", "rate"),
        spec("time/train/update_s", "timing"),
        spec("train/note", "text"),
        spec("train/length", "summary", bins=8),
    ]
    assert check.of_specs(fine) == []
    (line,) = check.of_specs([spec("train/reward_mean", "summary", emit=("mean",))])
    assert line == (
        "'train/reward_mean' (recorded at train.py:3): "
        "'reward_mean': a statistic is a part of its own, as in 'reward/mean'"
    )


def test_an_odd_key_stays_odd() -> None:
    """Each time it is shown; whoever says it once keeps account."""
    check = NamingCheck()
    assert check.of_specs([spec("loss")]) == check.of_specs([spec("loss")]) != []
    assert check.of_keys(["kl", "train/kl", "kl__count"]) == check.of_keys(["kl"]) != []


def test_a_timing_that_is_spelled_on_purpose_is_left_alone() -> None:
    """But not one that is odd under our own spelling, nor something else under that name."""
    check = NamingCheck()
    assert check.of_specs([spec("timeperf/train/update", "timing")]) == []
    assert "snake_case" in check.of_specs([spec("time/Train/update_s", "timing")])[0]
    assert "first part" in check.of_specs([spec("timeperf/train/rollout")])[0]


def test_a_key_and_an_alias_of_one_name_are_found_in_either_order() -> None:
    """Also where the alias is a pattern, and one of them is a final value."""
    mirror = Mirror([Alias("train/*", "train/old/*")])
    check = NamingCheck(mirror=mirror)
    assert check.of_specs([spec("train/loss")]) == []
    assert "alias 'train/loss' -> 'train/old/loss'" in check.of_keys(["train/old/loss"])[0]
    check = NamingCheck(mirror=mirror)
    assert check.of_keys(["train/old/loss"]) == []
    assert "its alias 'train/old/loss' is a key itself" in check.of_specs([spec("train/loss")])[0]
