"""Numbers as programs hand them over: all kinds are taken, no device is waited for, and nothing raises."""

from __future__ import annotations

import threading
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from sightline.support.given_numbers import NOT_YET, number, whole
from tests.jax.several_devices import Callback


class Level(IntEnum):
    HIGH = 3


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "given",
    [
        3, 3.0, Level.HIGH, np.int8(3), np.uint64(3), np.float16(3), np.float64(3), np.array(3),
        np.array(3.0), np.float32(3).astype(ml_dtypes.bfloat16), np.int8(3).astype(ml_dtypes.int4),
        np.array(3, ml_dtypes.float8_e5m2), Decimal(3), Fraction(3),
    ],
    ids=lambda given: f"{type(given).__name__}",
)  # fmt: skip
def test_whatever_is_one_number_is_taken(given: Any) -> None:
    assert (number(given), whole(given)) == (3, 3)
    assert type(number(given)) in (int, float)
    assert type(whole(given)) is int


def test_whatever_is_none_is_none() -> None:
    for given in (
        None, "3", b"3", 1j, np.complex64(3), np.datetime64(3, "s"), np.ones(1), [3], Hostile(), object,
    ):  # fmt: skip
        assert (number(given), whole(given)) == (None, None)


def test_a_fraction_is_no_whole_number() -> None:
    assert [whole(given) for given in (0.5, float("inf"), float("nan"), np.float32(2.5))] == [None] * 4


def test_a_device_is_asked_and_not_waited_for() -> None:
    """What is computed is taken, what is not, or was donated, is told apart."""
    over = threading.Event()

    def wait(x: Any) -> Any:
        over.wait(60)
        return np.float32(7)

    slow = Callback(wait)()
    assert (number(slow), whole(slow)) == (NOT_YET, NOT_YET)
    over.set()
    slow.block_until_ready()
    assert (number(slow), whole(slow)) == (7.0, 7)
    assert [number(jnp.bfloat16(0.5)), whole(jnp.int32(3)), number(jnp.ones(1))] == [0.5, 3, None]
    slow.delete()
    assert number(slow) is None


def test_what_is_traced_has_no_number() -> None:
    found = []

    @jax.jit
    def traced(x: Any) -> Any:
        found.append(number(x))
        return x

    traced(1.0)
    assert found == [None]
