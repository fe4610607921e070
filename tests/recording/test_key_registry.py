"""One key, one reduction: errors that name both calls."""

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

import sightline as sl
from sightline import RecordError
from tests.recording.local import local


def line_of(text: str) -> int:
    """The line of this file that holds ``text`` for the first time."""
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if text in line)


def test_one_key_with_two_reductions_names_both_call_sites(tracker: sl.StatsTracker) -> None:
    """File and line of the callers, with the reductions and their options."""
    with tracker.scope("train"):
        tracker.summary("loss", [1.0], quantiles=(0.5,))  # the first site
        with pytest.raises(RecordError) as raised:
            tracker.total(loss=1)  # the second site
    message = str(raised.value)
    here = os.path.relpath(__file__)
    assert message.startswith(
        "'train/loss' has two reductions: summary(emit=('mean', 'std', 'min', 'max'), quantiles="
    )
    assert (
        f"at {here}:{line_of('# the first site')}, and now total at {here}:{line_of('# the second site')}"
        in message
    )
    assert "rename one" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda t: t.scalar(a=1.0), lambda t: t.last(a=1.0)),
        (lambda t: t.total(a=1), lambda t: t.scalar(a=1.0)),
        (lambda t: t.total(a=1), lambda t: t.total(a=1, replicated=True)),
        (lambda t: t.summary("a", [1.0]), lambda t: t.summary("a", [1.0], emit=("mean",))),
        (lambda t: t.masked("a", [1.0], [1]), lambda t: t.summary("a", [1.0], quantiles=(0.5,))),
        (lambda t: t.rate("a", 1), lambda t: t.rate("a", 1, over="b")),
        (lambda t: t.ratio("a", 1, 1), lambda t: t.text(a="x")),
    ],
)
def test_a_key_keeps_its_reduction(first: Callable[..., object], second: Callable[..., object]) -> None:
    """From its first record on, over exports, options included."""
    tracker = sl.StatsTracker()
    first(tracker)
    local(tracker)
    with pytest.raises(RecordError, match="two reductions"):
        second(tracker)


def test_masked_and_summary_of_one_key_are_one_reduction(tracker: sl.StatsTracker) -> None:
    """A mask chooses elements; what is done with them is the same."""
    tracker.masked("a", [1.0, 9.0], [1, 0])
    tracker.summary("a", [3.0])
    assert local(tracker)["a/mean"] == 2.0


def test_a_histogram_has_one_number_of_bins_and_no_other_reduction(tracker: sl.StatsTracker) -> None:
    """In one process; both call sites are named."""
    tracker.histogram("a", [1.0], bins=8)
    tracker.histogram("a", [2.0], bins=8)
    with pytest.raises(RecordError, match=r"histogram\(bins=8\) at .*, and now histogram\(bins=64\) at"):
        tracker.histogram("a", [1.0])
    with pytest.raises(RecordError, match=r"histogram\(bins=8\) at .* and now summary\(emit="):
        tracker.summary("a", [1.0])
    with pytest.raises(RecordError, match=r"cannot stand beside what histogram 'a' at"):
        tracker.scalar("a/b", 1.0)
    assert tracker.snapshot().render().histograms["a"][1] == [1, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda t: t.scalar(a=1.0), lambda t: t.scalar(**{"a/b": 1.0})),
        (lambda t: t.scalar(**{"a/b/c": 1.0}), lambda t: t.scalar(a=1.0)),
        (lambda t: t.scalar(**{"a/mean": 1.0}), lambda t: t.summary("a", [1.0])),
        (lambda t: t.summary("a", [1.0]), lambda t: t.scalar(**{"a": 1.0, "b": 1.0})),
        (lambda t: t.text(a="x"), lambda t: t.total(**{"a/b": 1})),
        (lambda t: t._add_timing("x", 1.0), lambda t: t.scalar(**{"time/x_s_max": 1.0})),
        (lambda t: t.rate("x", 1), lambda t: t.last(**{"throughput/x_per_s/y": 1})),
    ],
)  # fmt: skip
def test_no_key_is_a_folder_of_another(first: Callable[..., object], second: Callable[..., object]) -> None:
    """Exported names count: ``a/mean`` of a summary, ``…_s_max`` of a timing."""
    tracker = sl.StatsTracker()
    first(tracker)
    with pytest.raises(RecordError, match=r"two reductions|no key may be another, or a folder of another"):
        second(tracker)


def test_a_summary_beside_its_own_folder_is_fine(tracker: sl.StatsTracker) -> None:
    """``reward/total/mean`` and ``reward/total/median`` do not hide each other."""
    tracker.summary("reward/total", [1.0])
    tracker.scalar("reward/total/median", 1.0)
    assert local(tracker)["reward/total/median"] == 1.0


def test_recording_works_in_a_deleted_directory(
    tracker: sl.StatsTracker, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call site is then named in full."""
    monkeypatch.chdir(tmp_path)
    os.rmdir(tmp_path)
    tracker.scalar(a=1.0)
    with pytest.raises(RecordError, match=re.escape(__file__)):
        tracker.total(a=1)
