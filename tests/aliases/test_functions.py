"""What an old name may show instead of the value."""

import math
from typing import Any

import pytest

from sightline.aliases import Constant, Function, MeanOfLast, RunningTotal, Scaled


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        (MeanOfLast(1), [1, 2, 3], [1, 2, 3]),
        (MeanOfLast(3), [1, 2, 3, 10], [1, 1.5, 2, 5]),
        (RunningTotal(), [2**53, 1, 1], [2**53, 2**53 + 1, 2**53 + 2]),
        (RunningTotal(), [0.5, 1], [0.5, 1.5]),
        (Scaled(-0.1), [10, 20.0], [-1.0, -2.0]),
        (Constant(1), [5, math.nan], [1, 1]),
    ],
)
def test_a_function_maps_a_keys_values_in_their_order(
    function: Function, values: list[Any], expected: list[Any]
) -> None:
    """And one that is started anew remembers nothing; sums of ints are exact."""
    for _ in range(2):
        step = function.start()
        assert [step(value) for value in values] == pytest.approx(expected, rel=1e-15)


def test_a_window_that_must_be_full_shows_nothing_before() -> None:
    """Nor in another run, however full it was in the one before."""
    for _ in range(2):
        step = MeanOfLast(3, full=True).start()
        assert [step(value) for value in (1, 2, 3, 10)] == [None, None, 2, 5]


def test_a_window_forgets_what_is_not_finite_once_it_has_passed() -> None:
    """It is a mean of what was there, and no running sum."""
    step = MeanOfLast(2).start()
    shown = [step(value) for value in (1.0, math.nan, 2.0, 4.0)]
    assert math.isnan(shown[1])
    assert math.isnan(shown[2])
    assert shown[3] == 3.0


@pytest.mark.parametrize("given", ["x", None, (1,)])
def test_a_factor_or_constant_that_is_no_number_is_refused(given: Any) -> None:
    """Where it is made, and not at every commit."""
    for function in (Scaled, Constant):
        with pytest.raises(ValueError, match="expected a number"):
            function(given)


@pytest.mark.parametrize("count", [0, -1, 2.5, "3"])
def test_a_window_of_no_length_is_refused(count: Any) -> None:
    """Where it is made."""
    with pytest.raises(ValueError, match="expected an int, 1 or more"):
        MeanOfLast(count)
