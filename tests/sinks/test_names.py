"""Keys in a back end: one name each, whatever it refuses, and the same one in the next attempt."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.sinks.mlflow import clean
from sightline.sinks.names import Names

KEYS = st.lists(st.text("ab@_/.", min_size=1, max_size=6), max_size=20)


@given(KEYS)
def test_no_two_keys_get_one_name(keys: list[str]) -> None:
    names = Names("x", clean)
    assert len({names[key] for key in keys}) == len(set(keys))


@given(KEYS, KEYS)
def test_what_is_kept_holds_however_the_keys_come_the_next_time(first: list[str], then: list[str]) -> None:
    kept: dict[str, str] = {}
    names = Names("x", clean, kept=kept)
    before = {key: names[key] for key in first}
    again = Names("x", clean, kept=dict(kept))
    changed = {key for key in first if before[key] != key}
    for key in then:
        if key in changed or key not in first:
            assert again[key] not in {before[other] for other in changed - {key}}
    assert all(again[key] == before[key] for key in changed)


def test_a_long_key_is_cut_and_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    names = Names("x", clean, longest=20)
    with caplog.at_level(logging.WARNING, "sightline"):
        first, second = names["k" * 20 + "1"], names["k" * 20 + "2"]
    assert first != second
    assert len(first) == len(second) == 20
    assert "since it is too long" in caplog.text


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/b.c-d e:f", "a/b.c-d e:f"),
        ("a@1", "a_1"),
        ("grad|x", "grad_x"),
        ("./a", "_/a"),
        ("a..b/..", "a..b/_"),
    ],
)
def test_mlflows_names_are_those_it_takes(key: str, name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name  # type: ignore[attr-defined]

    assert clean(key) == name
    _validate_metric_name(name)
