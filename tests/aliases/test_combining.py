"""From ``aliases=`` to one list: what may be given, what clashes, what is over."""

import logging
from datetime import date
from typing import Any

import pytest

from sightline.aliases import TABLES, Alias, AliasTable, MeanOfLast, combined, warn_of_passed
from sightline.aliases.combining import tables_of


def test_names_tables_aliases_and_mappings_go_together() -> None:
    """One of them, or several in a list."""
    ours = AliasTable("ours", {"train/loss": "our/loss"})
    assert combined("nano_gpt") == TABLES["nano_gpt"].aliases
    assert combined(ours) == ours.aliases
    assert combined(Alias("a", "b")) == (Alias("a", "b"),)
    assert combined({"a": "b"}) == (Alias("a", "b"),)
    assert combined(()) == ()
    assert combined(["nano_gpt", ours, Alias("a", "b"), {"c": "d"}]) == (
        *TABLES["nano_gpt"].aliases, *ours.aliases, Alias("a", "b"), Alias("c", "d"),
    )  # fmt: skip


@pytest.mark.parametrize("given", ["Verl", ["trl", "other"], 3, [3], [None]])
def test_what_is_no_table_is_refused_with_those_that_there_are(given: Any) -> None:
    """The ready tables are named."""
    with pytest.raises(ValueError, match=r"ready table.*verl, trl, areal"):
        tables_of(given)


@pytest.mark.parametrize(
    ("given", "first", "second"),
    [
        ({"a": "x", "b": "x"}, "'a' -> 'x'", "'b' -> 'x'"),
        ({"a/": "x/", "b/": "x/"}, "'a/' -> 'x/'", "'b/' -> 'x/'"),
        ([{"a": "x"}, Alias("a", "x", MeanOfLast(2))], "'a' -> 'x'", "'a' -> 'x'"),
        (
            ["sid_sft", "grpo_gsm8k", {"train/other": "train-other/loss"}],
            "of table 'grpo_gsm8k'",
            "train/other",
        ),
        ({"a": "b", "b": "c"}, "'a' -> 'b'", "'b' is a key with an alias of its own ('c')"),
        ({"a/": "b/", "b/": "c/"}, "'a/' -> 'b/'", "'b/' is a key with an alias of its own ('c/')"),
    ],
)
def test_two_keys_with_one_name_are_an_error_with_both(given: Any, first: str, second: str) -> None:
    """Before anything runs; tables of which one is meant are named."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is looked at below
        combined(given)
    assert first in str(raised.value)
    assert second in str(raised.value)


def test_two_tables_may_agree() -> None:
    """The same name for the same key is one alias."""
    both = combined(["sid_sft", "minionerec_rl"])
    assert len([a for a in both if a.key == "eval/invalid_predictions"]) == 1
    combined(list(TABLES))  # nor does any ready table clash with another


def test_tables_that_are_over_are_named_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """And those that are not are not."""
    over = AliasTable("ours", {"a": "b"}, remove_after="2027-01-01")
    old = AliasTable("older", {"c": "d"}, remove_after="1.0")
    live = AliasTable("live", {"e": "f"}, remove_after="2029-01-01")
    with caplog.at_level(logging.WARNING, "sightline"):
        warn_of_passed([over, old, live, {"x": "y"}], today=date(2028, 1, 1), version="1.1")
    assert len(caplog.messages) == 2
    assert "'ours' was to be removed after 2027-01-01" in caplog.messages[0]
    assert "'older' was to be removed after 1.0" in caplog.messages[1]
    assert "take it out of aliases=" in caplog.messages[1]
