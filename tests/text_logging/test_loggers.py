"""Loggers are the standard library's, nobody else's change, and calls may be limited by their line."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.text_logging.process_logging import TextLogging
from tests.text_logging.logged import log, logged, python


def test_a_logger_is_the_standard_librarys_under_ours() -> None:
    """One parent for all; a name twice is one logger."""
    assert log.name == "sightline.unit"
    assert isinstance(log, logging.Logger)
    assert log.parent is logging.getLogger("sightline")
    assert (
        logging.getLogger("sightline.unit") is log is sl.getLogger("unit") is sl.get_logger("sightline.unit")
    )
    assert sl.get_logger("unit.part").parent is log
    assert sl.get_logger() is logging.getLogger("sightline")


def test_nobody_elses_loggers_change() -> None:
    """Neither the class of those to come nor those that are there, save the one that is asked for."""
    before = logging.getLoggerClass(), logging.Logger.manager.loggerClass
    there = logging.getLogger("sightline.was_there_before")
    there.setLevel(logging.ERROR)
    assert sl.get_logger("was_there_before") is there
    assert there.level == logging.ERROR
    assert (logging.getLoggerClass(), logging.Logger.manager.loggerClass) == before
    assert type(logging.getLogger("elsewhere")) is logging.Logger


def test_a_program_may_have_a_logger_class_of_its_own(tmp_path: Path) -> None:
    """Ours is then made over it."""
    python(
        """
import logging
class Theirs(logging.Logger):
    def hello(self): return "hello"
logging.setLoggerClass(Theirs)
logging.getLogger("sightline.early")
import sightline as sl
for name in ("early", "late"):
    assert isinstance(sl.get_logger(name), Theirs) and sl.get_logger(name).hello() == "hello"
    sl.get_logger(name).once(30, "once", field=1)
assert logging.getLoggerClass() is Theirs
""",
        tmp_path,
    )


def test_before_anything_is_set_up_it_is_as_with_the_standard_library(tmp_path: Path) -> None:
    """Warnings on stderr, once, and no file."""
    done = python(
        "import sightline as sl; sl.get_logger('a').info('x'); sl.get_logger('a').warning('y')", tmp_path
    )
    assert done.stderr == "y\n"
    assert list(tmp_path.iterdir()) == []


def test_calls_may_be_limited_by_their_line_of_code(logs: TextLogging, tmp_path: Path) -> None:
    """Each line has a count of its own, and so have two calls on one line."""
    for i in range(7):
        log.log_every_n(logging.INFO, "every %d", 3, i)
        log.log_first_n(logging.INFO, "first %d", 2, i)
        log.once(logging.INFO, "a %d", i); log.once(logging.INFO, "b %d", i)  # fmt: skip # noqa: E702
        log.log_every_seconds(logging.INFO, "hour %d", 3600, i, field=i)
    assert [line["message"] for line in logged(logs, tmp_path)] == [
        "every 0", "first 0", "a 0", "b 0", "hour 0", "first 1", "every 3", "every 6"
    ]  # fmt: skip
    where = {line["where"].rpartition(":")[0] for line in logged(logs, tmp_path)}
    assert where == {__file__}


@pytest.mark.parametrize("call", ["debug", "info", "warning", "error", "exception", "critical", "fatal"])
def test_every_name_is_free_for_a_field(logs: TextLogging, tmp_path: Path, call: str) -> None:
    """Also those of the parameters of the calls, and what only looks like the standard library's own."""
    fields = {"msg": "text", "self": 4, "level": 5, "args": 3, "name": "q", "message": "m", "n": 7}
    log.setLevel(logging.DEBUG)
    try:
        getattr(log, call)("a %d", 1, **fields)
    finally:
        log.setLevel(logging.NOTSET)
    (line,) = logged(logs, tmp_path)
    assert (line["message"], line["fields"]) == ("a 1", fields)
    assert line["level"] == {"EXCEPTION": "ERROR", "FATAL": "CRITICAL"}.get(call.upper(), call.upper())


def test_calls_by_level_and_by_count_have_no_names_of_their_own_either(
    logs: TextLogging, tmp_path: Path
) -> None:
    """A parameter may still be given by its name, where it is not given by its place."""
    fields = {"level": 5, "message": "m", "n": 7, "seconds": 8, "self": 4, "msg": "text"}
    log.log(logging.INFO, "a", **fields)
    log.once(logging.INFO, "a", **fields)
    log.log_every_n(logging.INFO, "a", 1, **fields)
    log.log_first_n(logging.INFO, "a", 1, **fields)
    log.log_every_seconds(logging.INFO, "a", 1, **fields)
    lines = logged(logs, tmp_path)
    assert [(line["message"], line["fields"]) for line in lines] == [("a", fields)] * 5
    log.info(msg="by name", field=1)
    log.log_first_n(logging.INFO, message="b", n=1, field=1)
    log.log_every_seconds(logging.INFO, "c", seconds=1, field=1)
    lines = logged(logs, tmp_path)[5:]
    assert [line["message"] for line in lines] == ["by name", "b", "c"]
    assert [line["fields"] for line in lines] == [{"field": 1}] * 3


def test_settings_of_a_call_that_are_none_are_fields(logs: TextLogging, tmp_path: Path) -> None:
    """The line is there, and says where it comes from."""
    log.info("a", stacklevel=None)
    log.info("a", stacklevel="x", extra="y", exc_info="z", stack_info=0)
    lines = logged(logs, tmp_path)
    assert [line.get("fields") for line in lines] == [None, {"stacklevel": "x", "extra": "y"}]
    assert {line["where"].rpartition(":")[0] for line in lines} == {__file__}


def test_numpys_numbers_and_names_of_levels_are_as_good(logs: TextLogging, tmp_path: Path) -> None:
    log.log_first_n(np.int64(logging.INFO), "a", np.int64(1))  # type: ignore[arg-type]
    log.log_every_seconds("info", "b", np.float32(1))  # type: ignore[arg-type]
    log.log("WARNING", "c")
    assert [(line["level"], line["message"]) for line in logged(logs, tmp_path)] == [
        ("INFO", "a"), ("INFO", "b"), ("WARNING", "c")
    ]  # fmt: skip
    with pytest.raises(sl.RecordError, match=r"level='LOUD'; expected an int .* or one of CRIT"):
        log.once("LOUD", "x")


def test_limits_that_cannot_be_raise_where_they_are_written(logs: TextLogging) -> None:
    """They are programming errors."""
    with pytest.raises(sl.RecordError, match="n=0; expected a positive int"):
        log.log_every_n(logging.INFO, "x", 0)
    with pytest.raises(sl.RecordError, match="n='y'"):
        log.log_first_n(logging.INFO, "x", "y")  # type: ignore[arg-type]
    with pytest.raises(sl.RecordError, match="seconds=-1"):
        log.log_every_seconds(logging.INFO, "x", -1)
