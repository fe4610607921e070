"""Beside logging that a program has of its own: none twice on the console, and nothing of it touched."""

from __future__ import annotations

import io
import logging
import logging.config
import sys
from pathlib import Path

import pytest

import sightline as sl
from sightline.text_logging.process_logging import TextLogging
from tests.text_logging.logged import log, logged, python, records

HOST = """
import logging, logging.config, sys, threading, warnings
logging.config.dictConfig({
    "version": 1, "disable_existing_loggers": %s,
    "formatters": {"f": {"format": "HOST %%(name)s %%(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "f", "stream": "ext://sys.stderr"},
        "file": {"class": "logging.FileHandler", "formatter": "f", "filename": "host.log"},
    },
    "root": {"level": "WARNING", "handlers": %s},
    "loggers": {"app": {"level": "INFO"}},
})
root = logging.getLogger()
def state():
    return (list(root.handlers), [h.level for h in root.handlers], root.level, type(root), root.filters[:],
            logging.getLoggerClass(), logging.getLogRecordFactory(), logging.lastResort,
            logging.root.manager.disable,
            logging.getLogger("sightline").handlers[:], logging.getLogger("sightline").level,
            logging.getLogger("sightline").propagate,
            sys.excepthook, threading.excepthook, warnings.showwarning, logging.raiseExceptions)
before = state()
import sightline as sl
log = sl.get_logger("rollout")
with sl.start("runs", name="r") as run:
    assert (list(root.handlers), root.level) == (before[0], before[2])
    log.info("one")
    logging.getLogger("sightline").warning("sightline: two")
    logging.getLogger("app").info("three")
assert state() == before
log.warning("four")
"""


@pytest.mark.parametrize("disable", ["False", "True"])
def test_a_program_with_a_console_of_its_own_shows_our_records_once_in_its_own_way(
    tmp_path: Path, disable: str
) -> None:
    """Its handlers get them, and are as they were; ours writes the files only."""
    done = python(HOST % (disable, '["console", "file"]'), tmp_path)
    lines = [
        "HOST sightline.rollout one", "HOST sightline sightline: two", "HOST app three",
        "HOST sightline.rollout four",
    ]  # fmt: skip
    assert done.stderr.splitlines() == (tmp_path / "host.log").read_text().splitlines() == lines
    assert [line["message"] for line in records(tmp_path / "runs/r/logs/p00000.a01.jsonl")] == ["one", "two"]


def test_a_program_whose_logging_goes_to_a_file_only_has_our_console(tmp_path: Path) -> None:
    """Each record once here and once there."""
    done = python(HOST % ("False", '["file"]'), tmp_path)
    shown = [line.partition(" ")[2] for line in done.stderr.splitlines()]
    assert shown == ["INFO rollout: one", "WARNING sightline: two"]
    assert len((tmp_path / "host.log").read_text().splitlines()) == 4


FILTERED = """
import logging, sys
handler = logging.StreamHandler(sys.stderr)
handler.setFormatter(logging.Formatter("HOST %(message)s %(rank)s"))
handler.addFilter({filter})
logging.basicConfig(level=logging.INFO, handlers=[handler])
import sightline as sl
with sl.start("runs", name="r", sinks=[]):
    sl.get_logger("rollout").warning("one", extra={{"mine": 1, "rank": 0}})
    logging.getLogger("app").warning("two", extra={{"rank": 0}})
"""


@pytest.mark.parametrize(
    ("filter", "shown"),
    [
        (
            "lambda record: record.name.startswith('app')",
            ["HOST two 0", "WARNING rollout: one  mine=1  rank=0"],
        ),
        ("logging.Filter('app')", ["HOST two 0", "WARNING rollout: one  mine=1  rank=0"]),
        ("lambda record: not setattr(record, 'rank', 7)", ["HOST one 7", "HOST two 7"]),
        ("lambda record: record.thread and record.rank == 0", ["HOST one 0", "HOST two 0"]),
    ],
)
def test_what_a_handlers_filter_keeps_from_the_console_is_on_ours(
    tmp_path: Path, filter: str, shown: list[str]
) -> None:
    """And what it lets pass, or gives a name of its own, is there once."""
    done = python(FILTERED.format(filter=filter), tmp_path)
    lines = [line.partition(" ")[2] if line[:2].isdigit() else line for line in done.stderr.splitlines()]
    assert sorted(lines) == sorted(shown)


SAY = "sl.get_logger('a').info('x')"
IN_PASSING = """
import logging, sightline as sl
log = sl.get_logger("rollout")
if {early}:
    logging.warning("a library")  # configures the root in passing
with sl.start("runs", name="r") as run:
    log.info("one")
    run.flush()
    logging.warning("a library")
    run.flush()
    {then}
    log.info("two")
log.warning("after")
"""


@pytest.mark.parametrize("early", [True, False])
def test_a_handler_that_a_library_has_made_in_passing_does_not_get_our_lines(
    tmp_path: Path, early: bool
) -> None:
    """They are printed once, in our format, and by the processes that are to print; until the run ends."""
    done = python(IN_PASSING.format(early=early, then=""), tmp_path)
    shown = [line.partition(" ")[2] if line[:2].isdigit() else line for line in done.stderr.splitlines()]
    library = "WARNING:root:a library"
    after = "WARNING:sightline.rollout:after"
    assert shown == [library] * early + ["INFO rollout: one", library, "INFO rollout: two", after]


def test_a_program_that_then_asks_for_a_handler_has_our_lines_in_it(tmp_path: Path) -> None:
    then = "logging.basicConfig(format='MINE %(message)s', force=True); run.flush()"
    done = python(IN_PASSING.format(early=True, then=then), tmp_path)
    assert done.stderr.splitlines()[-2:] == ["MINE two", "MINE after"]


def test_a_dict_config_that_closes_all_handlers_in_the_middle_of_a_run_loses_nothing(tmp_path: Path) -> None:
    """It does so with every handler that exists, also those it does not know."""
    config = {"version": 1, "disable_existing_loggers": False, "root": {"level": "INFO", "handlers": []}}
    python(
        f"""
import logging.config, sightline as sl
with sl.start("runs", name="r"):
    sl.get_logger("a").info("before")
    logging.config.dictConfig({config!r})
    sl.get_logger("a").info("after")
logging.shutdown()
""",
        tmp_path,
    )
    assert [line["message"] for line in records(tmp_path / "runs/r/logs/p00000.a01.jsonl")] == [
        "before",
        "after",
    ]


def test_the_test_runners_handlers_get_our_records(
    logs: TextLogging, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """pytest's `caplog` stands for all handlers of the root logger."""
    with caplog.at_level(logging.DEBUG, "sightline.unit"):
        log.debug("seen %d", 1, field=2)
    (record,) = caplog.records
    assert (record.getMessage(), record.fields) == ("seen 1", {"field": 2})  # type: ignore[attr-defined]
    assert [line["message"] for line in logged(logs, tmp_path)] == ["seen 1"]


def test_the_newest_of_two_has_the_console_and_both_have_the_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is shown twice."""
    stream = io.StringIO()
    before, sys.stderr = sys.stderr, stream
    try:
        outer = sl.setup_file_logging(tmp_path, "unit.log")
        inner = sl.setup_file_logging(tmp_path / "inner", "unit.log")
    finally:
        sys.stderr = before
    log.info("to both")
    assert [line["message"] for line in logged(outer, tmp_path)] == ["to both"]
    assert [line["message"] for line in logged(inner, tmp_path / "inner")] == ["to both"]
    inner.close()
    log.info("to one")
    outer.close()
    assert [line.partition(" ")[2] for line in stream.getvalue().splitlines()] == [
        "INFO unit: to both", "INFO unit: to one"
    ]  # fmt: skip


def test_switched_off_there_are_no_files_and_the_loggers_are_the_standard_librarys(tmp_path: Path) -> None:
    """By the environment, or by the settings."""
    code = """
import logging, sys, threading, sightline as sl
with sl.start("runs", name="r", sinks=[], logging={"enabled": False}):
    sl.get_logger("a").warning("said", field=1)
    logs = sl.setup_file_logging("logs", config=sl.TextLoggingConfig(enabled=False))
    assert logs.flush() and logs.close()
    assert logging.getLogger("sightline").handlers == []
"""
    assert python(code, tmp_path).stderr == "said\n"
    assert not list(tmp_path.rglob("logs"))
    off = code.replace('logging={"enabled": False}', "logging=None").replace("enabled=False", "enabled=True")
    assert python(off, tmp_path / "..", SIGHTLINE_DISABLED="1").stderr == "said\n"


@pytest.mark.parametrize(
    ("environment", "argument", "name"),
    [
        ({"JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}, "", "tool.p00003"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "", "tool.p00000"),
        ({"WORLD_SIZE": "1", "RANK": "0"}, "", "tool"),
        ({}, "", "tool"),
        ({}, ", process=2", "tool.p00002"),
    ],
)
def test_of_several_processes_each_has_files_of_its_own(
    tmp_path: Path, environment: dict[str, str], argument: str, name: str
) -> None:
    """Also under one name given by the program; and those that are not the root say nothing."""
    python(
        f"import sightline as sl; sl.setup_file_logging('logs', 'tool.log'{argument}); {SAY}",
        tmp_path,
        **environment,
    )
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [f"{name}.jsonl", f"{name}.log"]


def test_processes_whose_numbers_nobody_knows_have_files_of_their_own_too(tmp_path: Path) -> None:
    for _ in range(2):
        python(
            f"import sightline as sl; sl.setup_file_logging('logs', 'tool.log'); {SAY}",
            tmp_path,
            WORLD_SIZE="2",
        )
    assert len(list((tmp_path / "logs").glob("tool.*.log"))) == 2
