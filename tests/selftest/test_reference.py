"""What the self-test compares with: it passes what is right, and finds what is a little off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.selftest.reference import HostData, compare, full_array, statistics

PROCESSES = 3


@pytest.fixture(scope="module")
def committed() -> tuple[dict[str, Any], dict[str, int]]:
    """What sightline makes of the data of three processes, and of an array."""
    snapshots = []
    for process in range(PROCESSES):
        tracker, data = sl.StatsTracker(), HostData.of(process)
        for value in data.scalars:
            tracker.scalar("selftest/scalar", float(value))
        tracker.masked("selftest/masked", data.values, data.mask)
        tracker.total("selftest/tokens", data.tokens)
        if process == 0:
            tracker.summary("selftest/device", full_array())
        snapshots.append(tracker.snapshot())
    rendered = sl.Snapshot.merge(snapshots).render()
    return dict(rendered.values), dict(rendered.counts)


def host() -> list[HostData]:
    return [HostData.of(process) for process in range(PROCESSES)]


def test_what_is_right_passes(committed: tuple[dict[str, Any], dict[str, int]]) -> None:
    found = compare(*committed, host(), full_array())
    assert found.wrong == []
    assert 0 <= found.host < 1e-3
    assert 0 <= found.device < 1e-3


@pytest.mark.parametrize(
    ("key", "factor"),
    [
        ("selftest/scalar", 1 + 1e-8),
        ("selftest/masked/std", 1 + 1e-8),
        ("selftest/device/mean", 1 + 1e-4),
        ("selftest/device/max", 1.01),
        ("selftest/masked/min", float("nan")),
    ],
)
def test_a_value_that_is_a_little_off_is_found(
    committed: tuple[dict[str, Any], dict[str, int]], key: str, factor: float
) -> None:
    values, counts = committed
    found = compare({**values, key: values[key] * factor}, counts, host(), full_array())
    assert [each.split()[0] for each in found.wrong] == [key]
    assert compare({k: v for k, v in values.items() if k != key}, counts, host(), full_array()).wrong


def test_counts_and_ints_must_be_exact(committed: tuple[dict[str, Any], dict[str, int]]) -> None:
    values, counts = committed
    tokens = {**values, "selftest/tokens": values["selftest/tokens"] + 1}
    assert len(compare(tokens, counts, host(), None).wrong) == 1
    for key in ("selftest/scalar__count", "selftest/masked__count", "selftest/device__count"):
        assert len(compare(values, {**counts, key: counts[key] + 1}, host(), full_array()).wrong) == 1


def test_data_travel_as_bytes() -> None:
    """And are other ones on each process, of another number of scalars."""
    for process in range(PROCESSES):
        own = HostData.of(process)
        there = HostData.unpacked(own.packed().tobytes())
        assert all(np.array_equal(a, b) for a, b in zip(own, there, strict=True))
    assert len({len(HostData.of(process).scalars) for process in range(PROCESSES)}) == PROCESSES
    assert len({len(HostData.of(process).packed()) for process in range(PROCESSES)}) == 1


def test_statistics_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).standard_normal(1000) + 1e6
    found = statistics(values)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-14)
    assert found["std"] == pytest.approx(values.std(), rel=1e-9)
