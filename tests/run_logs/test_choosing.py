"""What people write to choose lines means what it says, or is refused with what was expected."""

from __future__ import annotations

from datetime import datetime

import pytest

from sightline.errors import ConfigurationError
from sightline.run_logs import choosing


def test_since_is_a_duration_a_clock_time_or_an_iso_time() -> None:
    now = datetime(2026, 1, 31, 12, 0, 0).timestamp()
    moments = {
        "10m": datetime(2026, 1, 31, 11, 50),
        "1h30m": datetime(2026, 1, 31, 10, 30),
        "11:59": datetime(2026, 1, 31, 11, 59),
        "12:01:30": datetime(2026, 1, 30, 12, 1, 30),  # yesterday's: today's is to come
        "2026-01-30T10:00": datetime(2026, 1, 30, 10),
    }
    for text, moment in moments.items():
        assert choosing.since(text, now) == int(moment.timestamp() * 1e9), text


@pytest.mark.parametrize("text", ["", "10", "25:99", "yesterday", "10m ago", "1e9d" * 99])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a duration"):
        choosing.since(text)


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1,,2", "0-"])
def test_ranges_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--process .*: expected numbers and ranges"):
        choosing.Ranges.parse(text, "--process")


def test_a_pattern_that_is_none_says_why() -> None:
    with pytest.raises(ConfigurationError, match="no regular expression: unterminated"):
        choosing.pattern("[a")
