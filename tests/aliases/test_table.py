"""Aliases as data: keys, prefixes, patterns, and when a table is over."""

from datetime import date
from typing import Any

import pytest

from sightline.aliases import Alias, AliasTable, Scaled, alias_targets


@pytest.mark.parametrize(
    ("key", "names", "given", "expected"),
    [
        ("train/loss", "loss", "train/loss", ("loss",)),
        ("train/loss", ["loss", "old/loss"], "train/loss", ("loss", "old/loss")),
        ("train/loss", "loss", "train/loss2", ()),
        ("train/reward/", ("t/", "u/"), "train/reward/total/mean", ("t/total/mean", "u/total/mean")),
        ("train/reward/", "t/", "train/reward", ()),
        ("time/train/*_s", "timing_s/*", "time/train/rollout_s", ("timing_s/rollout",)),
        ("time/train/*_s", "timing_s/*", "time/train/a/b_s", ("timing_s/a/b",)),
        ("time/train/*_s", "timing_s/*", "time/train/rollout_s_max", ()),
        ("time/train/*_s", "timing_s/*", "time/train/_s", ()),
        ("a/*/mean", "b/*", "a/mean", ()),
        ("*/loss", "old-*-loss", "train/loss", ("old-train-loss",)),
    ],
)
def test_an_alias_gives_names_to_the_keys_that_it_means(
    key: str, names: Any, given: str, expected: tuple[str, ...]
) -> None:
    """Exact keys, prefixes, and patterns whose star is one character at least; one to many."""
    assert Alias(key, names).of(given) == expected


@pytest.mark.parametrize(
    ("key", "names", "said"),
    [
        ("train/", "t", "has prefixes or patterns"),
        ("train", "t/", "an exact key has exact names"),
        ("train", "t/*", "an exact key has exact names"),
        ("train/*", "t", "has prefixes or patterns"),
        ("train/*/*", "t/*", "one '\\*'"),
        ("train/*/", "t/", "one '\\*'"),
        ("", "x", "empty part"),
        ("a//b", "x", "empty part"),
        ("/", "x/", "empty part"),
        ("a", "x__count", "reserved"),
        ("a", "b\nc", "control characters"),
        ("a", [3], "a key is a string"),
        ("a", [], "has no names"),
        ("a", "a", "its own name"),
    ],
)
def test_an_alias_that_cannot_work_is_refused(key: str, names: Any, said: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(ValueError, match=said):
        Alias(key, names)


def test_a_table_takes_a_mapping_or_aliases_or_both() -> None:
    """Whatever is shorter to write."""
    scaled = Alias("train/kl", "kl", Scaled(2))
    assert AliasTable("t", {"a": "b"}).aliases == (Alias("a", ["b"]),)
    assert AliasTable("t", [scaled, {"a": "b", "c/": ["d/"]}]).aliases == (
        scaled, Alias("a", "b"), Alias("c/", "d/"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after", "today", "version", "passed"),
    [
        (None, "2999-01-01", "99", False),
        ("2027-12-31", "2027-12-31", "99", False),
        ("2027-12-31", "2028-01-01", "0.1", True),
        (date(2027, 12, 31), "2028-01-01", "0.1", True),
        ("1.2", "2999-01-01", "1.2", False),
        ("1.2", "2999-01-01", "1.2.0", False),
        ("1.2", "2999-01-01", "1.1.9", False),
        ("1.2", "2026-01-01", "1.2.1", True),
        ("1.2", "2026-01-01", "1.10", True),
        ("2", "2026-01-01", "2.1rc1", True),
    ],
)
def test_a_table_is_over_after_its_date_or_version(
    after: Any, today: str, version: str, passed: bool
) -> None:
    """The day and the version themselves still belong to it; versions compare as numbers."""
    table = AliasTable("t", {}, remove_after=after)
    assert table.has_passed(date.fromisoformat(today), version) is passed


@pytest.mark.parametrize("after", ["soon", "31.12.2027x", "2027-13-01", 3])
def test_an_end_that_is_no_date_and_no_version_is_refused(after: Any) -> None:
    """When the table is made, not when a run starts."""
    with pytest.raises(ValueError, match="expected a date, as in '2027-12-31', or a version"):
        AliasTable("t", {}, remove_after=after)


def test_readers_of_a_journal_find_a_keys_other_names_in_its_run_line() -> None:
    """From plain data: exact ones first, then in the table's order."""
    table = {"train/": ["t/", "all/"], "train/*_x": ["x/*"], "train/a_x": ["ax"]}
    assert alias_targets("train/a_x", table) == ["ax", "t/a_x", "all/a_x", "x/a"]
    assert alias_targets("training/a", table) == []
