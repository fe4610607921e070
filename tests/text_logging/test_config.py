"""Settings of text logging: levels, and whose loggers they are for."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.text_logging.config import CHATTY
from tests.text_logging.logged import QUIET, log, logged


def test_levels_come_from_the_settings_and_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all and for components; afterwards everything is as it was."""
    parent, rollout = logging.getLogger("sightline"), sl.get_logger("rollout")
    before = parent.level, rollout.level
    config = sl.TextLoggingConfig(
        level="error,rollout=debug", levels={"unit": "warning"}, console_processes="9"
    )
    logs = sl.setup_file_logging(tmp_path, config=config)
    assert (parent.level, rollout.level, log.level) == (logging.ERROR, logging.DEBUG, logging.WARNING)
    monkeypatch.setenv("SIGHTLINE_LOG_LEVEL", "debug,rollout=critical")
    inner = sl.setup_file_logging(tmp_path / "inner", config=config)
    assert (parent.level, rollout.level) == (logging.DEBUG, logging.CRITICAL)
    logs.close()
    assert (parent.level, rollout.level) == (logging.DEBUG, logging.CRITICAL)
    inner.close()
    assert (parent.level, rollout.level, log.level) == (*before, logging.NOTSET)


def test_a_level_that_the_program_has_set_stands(tmp_path: Path) -> None:
    """Before, if none is asked for here; and meanwhile."""
    parent = logging.getLogger("sightline")
    parent.setLevel(logging.ERROR)
    try:
        logs = sl.setup_file_logging(tmp_path, config=QUIET)
        assert parent.level == logging.ERROR
        logs.close()
        logs = sl.setup_file_logging(
            tmp_path, config=sl.TextLoggingConfig(level="debug", console_processes="9")
        )
        parent.setLevel(logging.CRITICAL)
        logs.close()
        assert parent.level == logging.CRITICAL
    finally:
        parent.setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "loud"}, "'loud' is no level; expected one of debug"),
        ({"level": "info,rollout=2"}, "'2' is no level"),
        ({"levels": {"a": 10}}, "10 is no level"),
        ({"levels": "debug"}, "expected a mapping"),
        ({"console_processes": "some"}, "expected 'root', 'all', or as in '0,3-5'"),
        ({"segment_bytes": 0}, "expected a positive int"),
        ({"quiet": "httpx"}, "expected names of loggers"),
        ({"loggers": (1,)}, "expected names of loggers"),
    ],
)
def test_wrong_settings_say_what_is_right(settings: dict[str, Any], message: str) -> None:
    """At start-up."""
    with pytest.raises(sl.ConfigurationError, match=re.escape(message)):
        sl.TextLoggingConfig(**settings)


def test_settings_may_come_from_plain_data() -> None:
    """As from YAML."""
    config = sl.StatsLoggerConfig.from_dict({"logging": {"levels": {"a": "debug"}, "quiet": ["httpx"]}})
    assert config.logging == sl.TextLoggingConfig(levels={"a": "debug"}, quiet=("httpx",))
    with pytest.raises(sl.ConfigurationError, match=r"logging\.level=3"):
        sl.StatsLoggerConfig.from_dict({"logging": {"level": 3}})


def test_console_processes_are_told_by_ranges() -> None:
    """As in '0,3-5'."""
    config = sl.TextLoggingConfig(console_processes="0,3-5")
    assert [process for process in range(8) if config.shows_console(process)] == [0, 3, 4, 5]
    assert sl.TextLoggingConfig(console_processes="all").shows_console(7)
    assert not sl.TextLoggingConfig().shows_console(1)


def test_chatty_loggers_are_quiet_on_request_and_as_before_afterwards(tmp_path: Path) -> None:
    """Only those that would say more than warnings."""
    httpx, urllib3 = logging.getLogger("httpx"), logging.getLogger("urllib3")
    httpx.setLevel(logging.DEBUG)
    urllib3.setLevel(logging.CRITICAL)
    try:
        logs = sl.setup_file_logging(tmp_path, config=sl.TextLoggingConfig(quiet=True, console_processes="9"))
        assert (httpx.level, urllib3.level) == (logging.WARNING, logging.CRITICAL)
        logs.close()
        assert (httpx.level, urllib3.level) == (logging.DEBUG, logging.CRITICAL)
        assert {"httpx", "urllib3"} < set(CHATTY)
    finally:
        httpx.setLevel(logging.NOTSET)
        urllib3.setLevel(logging.NOTSET)


def test_other_loggers_may_be_taken_in(tmp_path: Path) -> None:
    """Asked for by name; given back at the end."""
    config = sl.TextLoggingConfig(loggers=("theirs",), console_processes="9")
    logs = sl.setup_file_logging(tmp_path, "unit.log", config=config)
    logging.getLogger("theirs.part").warning("hello")
    assert [line["logger"] for line in logged(logs, tmp_path)] == ["theirs.part"]
    logs.close()
    assert logging.getLogger("theirs").handlers == []
