"""A run's aliases at work, commit by commit."""

from typing import Any

import numpy as np
import pytest

from sightline.aliases import Alias, MeanOfLast, Mirror, RunningTotal
from sightline.aliases.functions import Step


def test_windows_go_on_where_a_key_was_left_out_of_a_commit() -> None:
    """They are over the commits that have the key."""
    mirror = Mirror([Alias("t", "mean", MeanOfLast(2)), Alias("n", "sum", RunningTotal())])
    shown = [mirror.values(values).values for values in ({"t": 1.0, "n": 1}, {"n": 2}, {"t": 3.0, "n": 3})]
    assert [each.get("mean") for each in shown] == [1.0, None, 2.0]
    assert [each["sum"] for each in shown] == [1, 3, 6]


def test_each_key_of_a_pattern_has_a_window_of_its_own() -> None:
    """As if each were written out."""
    mirror = Mirror([Alias("time/*_s", "mean/*", MeanOfLast(2))])
    mirror.values({"time/a_s": 1.0, "time/b_s": 10.0})
    shown = mirror.values({"time/a_s": 3.0, "time/b_s": 20.0}).values
    assert (shown["mean/a"], shown["mean/b"]) == (2.0, 15.0)


def test_a_name_that_is_recorded_keeps_what_is_recorded() -> None:
    """And whoever asked for the alias is told."""
    mirrored = Mirror([Alias("train/loss", "loss")]).values({"train/loss": 1.0, "loss": 2.0})
    assert mirrored.values == {"train/loss": 1.0, "loss": 2.0}
    assert mirrored.hidden == [("train/loss", "loss", "loss is recorded too")]


def test_of_two_keys_with_one_name_the_first_has_it() -> None:
    """Patterns may meet only where keys are recorded."""
    mirror = Mirror([Alias("a/*", "x/*"), Alias("b", "x/b")])
    mirrored = mirror.values({"a/b": 1.0, "b": 2.0})
    assert mirrored.values == {"a/b": 1.0, "b": 2.0, "x/b": 1.0}
    assert mirrored.hidden == [("b", "x/b", "a/b has this name too")]


class Refuses:
    """A function of a user's that fails for some values."""

    def start(self) -> Step:
        def step(value: float) -> float:
            return 1 / value

        return step


def test_a_function_that_fails_takes_nothing_else_with_it() -> None:
    """It shows nothing that once, and says why."""
    mirror = Mirror([Alias("a", "inverse", Refuses()), Alias("a", "same")])
    assert mirror.values({"a": 0}) == (
        {"a": 0, "same": 0}, [("a", "inverse", "its function raised ZeroDivisionError: division by zero")],
    )  # fmt: skip
    assert mirror.values({"a": 2}).values == {"a": 2, "inverse": 0.5, "same": 2}
    mirror.replay([{"a": 0}])


class Gives:
    """A function of a user's that gives the same whatever the value."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def start(self) -> Step:
        return lambda value: self.given


@pytest.mark.parametrize(
    ("given", "shown"), [(np.float32(2), 2.0), (np.int64(3), 3), (np.array([0.5]), 0.5), (True, 1)], ids=repr
)
def test_what_a_function_gives_is_made_a_number_of_the_journal(given: Any, shown: float) -> None:
    """A NumPy scalar is no text there."""
    values = Mirror([Alias("a", "old", Gives(given))]).values({"a": 0.0}).values
    assert values == {"a": 0.0, "old": shown}
    assert type(values["old"]) is type(shown)


def test_a_function_that_gives_none_has_nothing_to_show_yet() -> None:
    """And there is nothing to say about it."""
    assert Mirror([Alias("a", "old", Gives(None))]).values({"a": 0.0}) == ({"a": 0.0}, [])


@pytest.mark.parametrize("given", ["2", (1, 2), [1, 2], {}, 1j], ids=repr)
def test_what_is_no_number_is_not_shown(given: Any) -> None:
    """The key is, and why."""
    values, ((key, name, why),) = Mirror([Alias("a", "old", Gives(given))]).values({"a": 0.0})
    assert (values, key, name) == ({"a": 0.0}, "a", "old")
    assert "its function gave no number" in why


def test_one_key_has_a_name_once_whichever_aliases_give_it() -> None:
    """Two tables may agree."""
    mirror = Mirror([Alias("a/*", "x/*"), Alias("a/b", "x/b")])
    assert mirror.values({"a/b": 1.0}) == ({"a/b": 1.0, "x/b": 1.0}, [])
    assert mirror.names("a/b") == ["x/b"]


def test_texts_and_histograms_are_mirrored_by_plain_aliases_only() -> None:
    """A text has no mean; and a window does not go further by it."""
    mirror = Mirror([Alias("a", "old"), Alias("a", "mean", MeanOfLast(3))])
    assert mirror.others({"a": "text"}).values == {"a": "text", "old": "text"}
    assert mirror.values({"a": 5.0}).values == {"a": 5.0, "old": 5.0, "mean": 5.0}


def test_windows_and_totals_go_on_after_what_is_replayed() -> None:
    """A resumed run is no new one."""
    mirror = Mirror([Alias("n", "sum", RunningTotal()), Alias("t", "mean", MeanOfLast(3))])
    mirror.replay([{"n": 5, "t": 1.0}, {}, {"n": 2, "t": 2.0}])
    assert mirror.values({"n": 1, "t": 6.0}).values == {"n": 1, "t": 6.0, "sum": 8, "mean": 3.0}
    assert mirror.derives_from("n")
    assert not mirror.derives_from("m")


def test_what_readers_need_to_know_is_plain_data() -> None:
    """Names that show a key's own value, and what the others show."""
    mirror = Mirror([Alias("a/", "b/"), Alias("x", ["y"]), Alias("x", "z"), Alias("x", "m", MeanOfLast(2))])
    assert mirror.plain == {"x": ["y", "z"], "a/": ["b/"]}
    assert mirror.derived == {"m": "MeanOfLast(count=2, full=False) of x"}


@pytest.mark.parametrize("values", [{}, {"loss": 1.0}])
def test_without_aliases_values_stay_as_they_are(values: dict[str, float]) -> None:
    """The usual case."""
    assert Mirror().values(values) == (values, [])
