"""What stands in an event is plain, short and finite, whatever it was."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.tracing.event_values import dumps, plain


class Colour(enum.Enum):
    RED = 1


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError


class Word(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, 3),
        (True, True),
        (2**70, str(2**70)),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("a\ud800b", "a\\ud800b"),
        (b"abc", "<3 bytes>"),
        (Colour.RED, "Colour.RED"),
        (Path("a/b"), "a/b"),
        (Word("word"), "word"),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        (np.zeros((2, 64), np.float32), "float32[2, 64]"),
        (ValueError("no"), "ValueError: no"),
        ({1: {2}}, {"1": [2]}),
        (object(), "<object>"),
    ],
)
def test_values_are_shown_as_plain_data(value: Any, shown: Any) -> None:
    assert plain(value) == shown


def test_an_array_on_a_device_is_not_read() -> None:
    assert plain({"loss": jnp.ones(4)}) == {"loss": "float32[4]"}


def test_what_raises_is_named_by_its_type() -> None:
    assert "Hostile" in plain([Hostile()])[0]


def test_what_holds_itself_ends() -> None:
    value: list[Any] = []
    value.append(value)
    assert "…" in str(plain(value))


def test_what_is_large_is_cut_and_says_so() -> None:
    wide: Any = [0] * 1000
    for _ in range(6):
        wide = [wide] * 1000
    shown = dumps(plain({"wide": wide, "long": "x" * 10**6}))
    assert len(shown) < 100_000
    assert b"990000 characters more" in shown


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text()
        | st.binary()
        | st.complex_numbers(),
        lambda each: st.lists(each) | st.dictionaries(st.text() | st.integers() | st.none(), each),
    )
)
def test_whatever_it_is_becomes_json(value: Any) -> None:
    orjson.loads(dumps(plain(value)))
