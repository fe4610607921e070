"""Text logs: every line in the files, none twice on the console, and nobody else's logging touched."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import sightline as sl
from sightline.process_files import Place, ProcessFiles
from sightline.text_logging import handler
from sightline.text_logging.config import CHATTY
from sightline.text_logging.process_logging import TextLogging
from tests.harness import until
from tests.terminals import on_terminal

log = sl.get_logger("unit")
QUIET = sl.TextLoggingConfig(console_processes="9")  # nothing on the console of this process


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[TextLogging]:
    logs = sl.setup_file_logging(tmp_path, "unit.log", config=QUIET)
    yield logs
    logs.close()


def records(path: Path) -> list[dict[str, Any]]:
    """The structured lines of a file, each of which must be whole; those with a type are no entries."""
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    return [each for each in map(json.loads, lines) if "type" not in each]


def logged(logs: TextLogging, folder: Path) -> list[dict[str, Any]]:
    assert logs.flush()
    path = folder / "unit.jsonl"
    return records(path) if path.exists() else []


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, which must go well."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "NO_COLOR"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, cwd=cwd, env={**kept, **environment}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


# Loggers


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


# Lines


def test_a_structured_line_has_all_that_is_known(logs: TextLogging, tmp_path: Path) -> None:
    """Time, process, host, level, logger, step, thread, code, message and fields."""
    with sl.step(7):
        log.info("%d completions", 64, policy=3, name="x", extra={"reward": 0.5, "args": "mine"})
    (line,) = logged(logs, tmp_path)
    assert abs(line.pop("time") - __import__("time").time()) < 3600
    where = line.pop("where")
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", where)
    assert line == {
        "process": 0, "host": os.uname().nodename, "level": "INFO", "logger": "unit", "step": 7,
        "thread": "MainThread", "message": "64 completions",
        "fields": {"policy": 3, "name": "x", "reward": 0.5, "args": "mine"},
    }  # fmt: skip


def test_a_plain_line_is_for_people(logs: TextLogging, tmp_path: Path) -> None:
    """Moment in UTC, process, level, step, component, message, fields."""
    with sl.step(7):
        log.warning("slow: %s", "disk", seconds=1.5, where="a b")
    logged(logs, tmp_path)
    header, line = (tmp_path / "unit.log").read_text().splitlines()
    assert header.startswith("# run_id=")
    stamp, _, rest = line.partition(" ")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert rest == 'p00000 WARNING step=7 unit: slow: disk  seconds=1.5  where="a b"'


def test_the_packages_own_messages_are_there_too(logs: TextLogging, tmp_path: Path) -> None:
    """They come from the logger `sightline` itself, whose name is not said twice."""
    logging.getLogger("sightline").warning("sightline: process %d is late", 3)
    (line,) = logged(logs, tmp_path)
    assert (line["logger"], line["message"]) == ("sightline", "process 3 is late")


def test_role_and_span_stand_in_each_line(tmp_path: Path) -> None:
    """And what is told of warnings is told once, on the caller's thread."""
    place = Place(tmp_path, "r", 1)
    files = ProcessFiles(lambda: place, process=2, processes=3, role="rollout")
    told: list[tuple[str, int]] = []
    logs = TextLogging(
        files, QUIET, path="unit", current_span=lambda: "generate",
        on_warning=lambda record: told.append((record.getMessage(), threading.get_ident())),
    )  # fmt: skip
    log.info("a")
    log.warning("b")
    lines = logged(logs, tmp_path)
    assert [(line["role"], line["span"], line["process"]) for line in lines] == [
        ("rollout", "generate", 2)
    ] * 2
    assert told == [("b", threading.get_ident())]
    assert logs.close()
    assert files.close()


class Rude:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("no string")

    __repr__ = __str__
    __len__ = __iter__ = __getitem__ = __mod__ = __str__  # type: ignore[assignment]


class RudeText(str):
    def __str__(self) -> str:
        raise RuntimeError("no string")

    def __mod__(self, other: object) -> str:
        raise RuntimeError("no format")

    encode = __len__ = __getitem__ = __str__  # type: ignore[assignment]


circular: list[Any] = []
circular.append(circular)

HOSTILE: list[tuple[Any, tuple[Any, ...]]] = [
    ("%d", ("text",)),
    ("%d %d", (1,)),
    ("%", (1,)),
    ("%(a)s", (1,)),
    ("%s", (Rude(),)),
    ("%s", ({"a": Rude()},)),
    ("%s", (circular,)),
    ("lone \ud800 %s", ("\udfff",)),
    ("nul \x00 bell \a %s", ("\x1b[2J",)),
    ("line\nline\r\nline\u2028%s", ("\x85",)),
    ("%s", (b"\xff",)),
    ("%s", (float("nan"),)),
    ("%d", (10**4000,)),
    ("%s", (10**5000,)),
    (Rude(), ()),
    (RudeText("text %s"), (1,)),
    (b"bytes", ()),
    (None, ()),
    ("%s" * 3, ({},)),
    ("x" * 10_000_000, ()),
    ("%s", ("y" * 10_000_000,)),
]


@pytest.mark.parametrize("at", range(len(HOSTILE)))
def test_a_hostile_message_is_one_line_and_nobodys_exception(
    at: int, logs: TextLogging, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As message, as field and as extra; what is logged after it is there."""
    message, args = HOSTILE[at]
    parent = logging.getLogger("sightline")
    parent.propagate = False  # the test runner's own handlers would complain
    try:
        log.info(message, *args)
        log.info("fields", it=message, **{f"a{i}": arg for i, arg in enumerate(args)})
        log.info("extra", extra={"it": message, "args": args, "message": "x"})
        log.info("after")
    finally:
        parent.propagate = True
    lines = logged(logs, tmp_path)
    assert [line["message"] for line in lines[1:]] == ["fields", "extra", "after"]
    assert len(lines[0]["message"]) < 110_000
    assert capfd.readouterr() == ("", "")
    data = (tmp_path / "unit.log").read_bytes()
    assert re.sub(rb"[\x20-\x7e\x80-\xff]", b"", data.replace(b"\n", b"")) == b""
    stamped = [line for line in data.decode().splitlines() if not line.startswith(("#", "    | "))]
    assert len(stamped) == 4


def test_no_message_can_forge_a_line(logs: TextLogging, tmp_path: Path) -> None:
    """Line breaks are indented; other characters that break lines or move cursors are escaped."""
    log.info("a\n2026-01-01T00:00:00.000Z p00000 INFO forged: b\rc\x0bd\u2028e\x1b[1A", field="x\ny")
    logged(logs, tmp_path)
    first, *rest = (tmp_path / "unit.log").read_text().splitlines()[1:]
    assert first.endswith("unit: a")
    assert rest == [
        r'    | 2026-01-01T00:00:00.000Z p00000 INFO forged: b\rc\x0bd\u2028e\x1b[1A  field="x\ny"'
    ]  # fmt: skip


def test_arguments_are_shown_as_they_were_at_the_call(logs: TextLogging, tmp_path: Path) -> None:
    """Though the text is made later."""
    batch, config = [1], {"lr": 0.5}
    log.info("batch %s", batch, config=config)
    batch.append(2)
    config["lr"] = 0.0
    (line,) = logged(logs, tmp_path)
    assert (line["message"], line["fields"]) == ("batch [1]", {"config": {"lr": 0.5}})


class NotReady:
    """An array on a device that is still computing: whoever reads it waits."""

    dtype, shape, size, device, is_fully_addressable = "float32", (), 1, "tpu:0", True

    def is_ready(self) -> bool:
        return False

    def is_deleted(self) -> bool:
        return False

    def _read(self, *_: object) -> Any:
        raise AssertionError("the training thread waits for the device")

    __str__ = __repr__ = __float__ = __array__ = __format__ = _read


def test_no_device_is_waited_for(logs: TextLogging, tmp_path: Path) -> None:
    """Values that are there are shown; others by type and shape, also in containers and under `%.3f`."""
    parent = logging.getLogger("sightline")
    parent.propagate = False
    try:
        gone = jnp.ones(3)
        gone.delete()
        log.info("%s %s", NotReady(), [1, {"a": NotReady()}], loss=NotReady())
        log.info("%.3f", NotReady())
        log.info("%s", gone)
        log.info("loss %.2f", jnp.float32(0.25).block_until_ready())
    finally:
        parent.propagate = True
    first, second, third, fourth = logged(logs, tmp_path)
    assert first["message"] == "float32[] [1, {'a': 'float32[]'}]"
    assert first["fields"] == {"loss": "float32[]"}
    assert second["message"].startswith("%.3f ['float32[]'] (TypeError")
    assert third["message"] == "float32[3]"
    assert fourth["message"] == "loss 0.25"


def test_exceptions_and_stacks_are_written_down(logs: TextLogging, tmp_path: Path) -> None:
    """With their causes; nothing keeps the frames, and the arrays in them, alive."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        log.exception("failed")
        log.error("again", exc_info=error)
    log.info("here", stack_info=True)
    log.error("none", exc_info=True)
    entries = list(logs._handler.waiting)
    assert not any(
        "frame" in type(part).__name__ or isinstance(part, BaseException) for e in entries for part in e
    )
    failed, again, here, none = logged(logs, tmp_path)
    for line in (failed, again):
        assert line["level"] == "ERROR"
        assert "KeyError: 'inner'" in line["exception"]
        assert line["exception"].endswith("ValueError: outer")
        assert 'raise ValueError("outer") from error' in line["exception"]
    assert "test_exceptions_and_stacks_are_written_down" in here["stack"]
    assert "exception" not in none


def test_no_extra_disappears(logs: TextLogging, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever names it uses: those of a record, of what formatters make, and of the fields of the call."""
    own = {name: f"extra {name}" for name in logging.makeLogRecord({}).__dict__}
    log.info("own", extra=own)
    log.info(
        "made later", extra={"message": "important", "asctime": "then", "taskName": "t", "fields": 3, "k": 1}
    )
    log.info("twice", k=1, name="x", fields="f", extra={"k": 2, "k_": 3, "name": "y", "fields": 4})
    log.info("mapping", k=1, extra={"fields": {"k": 2, 3: 4}, "other": 5})
    logging.LoggerAdapter(log, {"message": "m", "shard": 4}).info("adapted")
    assert [line["fields"] for line in logged(logs, tmp_path)] == [
        own,
        {"message": "important", "asctime": "then", "taskName": "t", "fields": 3, "k": 1},
        {"k": 1, "k_": 2, "k__": 3, "name": "x", "name_": "y", "fields": "f", "fields_": 4},
        {"k": 1, "k_": 2, "3": 4, "other": 5},
        {"message": "m", "shard": 4},
    ]
    assert capfd.readouterr() == ("", "")


def test_fields_of_the_standard_librarys_loggers_are_kept_beside_other_extras(tmp_path: Path) -> None:
    """One named `fields` is a field, or several; what a formatter has made is none."""

    class Formats(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logging.Formatter("%(asctime)s %(message)s").format(record)

    theirs = logging.getLogger("theirs")
    formats = Formats()
    theirs.addHandler(formats)
    logs = sl.setup_file_logging(
        tmp_path, "unit.log", config=sl.TextLoggingConfig(console_processes="9", loggers=["theirs"])
    )
    try:
        theirs.warning("a", extra={"fields": 3, "k": 1})
        theirs.warning("b", extra={"fields": {"k": 2}, "k": 1})
        theirs.warning("c")
        lines = logged(logs, tmp_path)
    finally:
        logs.close()
        theirs.removeHandler(formats)
    assert [line.get("fields") for line in lines] == [{"fields": 3, "k": 1}, {"k": 1, "k_": 2}, None]


def test_the_caller_is_found_through_wrappers(logs: TextLogging, tmp_path: Path) -> None:
    """`stacklevel` and adapters mean what they mean in the standard library."""

    def wrapper() -> None:
        log.info("wrapped", stacklevel=2)

    wrapper()
    here = sys._getframe().f_lineno - 1
    logging.LoggerAdapter(log, {"shard": 4}).info("adapted")
    wrapped, adapted = logged(logs, tmp_path)
    assert wrapped["where"] == f"{__file__}:{here}"
    assert adapted["where"] == f"{__file__}:{here + 2}"
    assert adapted["fields"] == {"shard": 4}


# Now and then


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


def test_limits_that_cannot_be_raise_where_they_are_written(logs: TextLogging) -> None:
    """They are programming errors."""
    with pytest.raises(sl.RecordError, match="n=0; expected a positive int"):
        log.log_every_n(logging.INFO, "x", 0)
    with pytest.raises(sl.RecordError, match="n='y'"):
        log.log_first_n(logging.INFO, "x", "y")  # type: ignore[arg-type]
    with pytest.raises(sl.RecordError, match="seconds=-1"):
        log.log_every_seconds(logging.INFO, "x", -1)


# Levels


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


# A program with logging of its own

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


# The console


def talked(cwd: Path, **environment: str) -> str:
    """What a process prints on a terminal as its stderr."""
    return on_terminal([sys.executable, "-c", TALK], shown="stderr", cwd=cwd, **environment).decode()


TALK = """
import sightline as sl
with sl.start("runs", sinks=[]):
    sl.get_logger("rollout").info("one")
    sl.get_logger("trainer.data").info("two")
    sl.get_logger("rollout").warning("three")
    sl.get_logger("rollout").error("four\\nfive\\x1b[2J")
"""


def test_a_terminal_shows_components_and_levels_in_colours(tmp_path: Path) -> None:
    """Below WARNING the component's, which differ; from there the level's; no escape of a message's own."""
    lines = [line.partition(" ")[2] for line in talked(tmp_path).split("\n")]
    one, two = (re.fullmatch(r"INFO \x1b\[(\d+)m([\w.]+)\x1b\[0m: (\w+)", line) for line in lines[:2])
    assert one is not None
    assert two is not None
    assert (one[2], one[3], two[2], two[3]) == ("rollout", "one", "trainer.data", "two")
    assert one[1] != two[1]
    assert lines[2] == "\x1b[33mWARNING rollout: three\x1b[0m"
    assert lines[3].startswith("\x1b[1;31mERROR rollout: four")
    assert "\x1b[2J" not in "".join(lines)


def test_no_colours_where_none_are_wanted(tmp_path: Path) -> None:
    """NO_COLOR, a dumb terminal, and what is no terminal."""
    plain = ["INFO rollout: one", "INFO trainer.data: two", "WARNING rollout: three", "ERROR rollout: four"]
    shown = [
        talked(tmp_path, NO_COLOR="1"),
        talked(tmp_path, TERM="dumb"),
        python(TALK, tmp_path).stderr,
    ]
    for text in shown:
        lines = text.splitlines()
        assert [line.partition(" ")[2] for line in lines[:4]] == plain
        assert lines[4:] == [r"    | five\x1b[2J"]


def test_lines_and_tables_come_whole(tmp_path: Path) -> None:
    """The console sink prints beside the log, both to one pipe."""
    code = """
import sys, threading, sightline as sl
sys.stderr = sys.stdout
log = sl.get_logger("rollout")
with sl.start("runs", naming="off") as run:
    threads = [threading.Thread(target=lambda: [log.info("x" * 200) for _ in range(200)]) for _ in range(4)]
    for thread in threads: thread.start()
    for step in run.steps(50):
        sl.scalar(**{f"metric{i}": i for i in range(50)})
        run.commit(step)
    for thread in threads: thread.join()
"""
    lines = python(code, tmp_path).stdout.splitlines()
    steps = [line for line in lines if line.startswith("step=")]
    texts = [line for line in lines if re.fullmatch(r"\d\d:\d\d:\d\d INFO rollout: x{200}", line)]
    assert (len(steps), len(texts)) == (50, 800)
    assert len(lines) == 850
    assert all(line.count("=") == 51 for line in steps)


# What no call has logged


def test_uncaught_exceptions_go_into_the_files_and_on_to_the_hooks_before(tmp_path: Path) -> None:
    """Of the main thread, of others, and of the block of a run."""
    code = """
import sys, threading, sightline as sl
heard = []
def hook(kind, error, trace):
    heard.append(kind.__name__)
    print("main hook", kind.__name__)
sys.excepthook = hook
threading.excepthook = lambda args: print("thread hook", args.exc_type.__name__)
def bad(): raise KeyError("in a thread")
try:
    with sl.start("runs", name="r"):
        thread = threading.Thread(target=bad, name="loader")
        thread.start(); thread.join()
        raise RuntimeError("in the block")
except RuntimeError: pass
assert sys.excepthook is hook
run = sl.start("runs", name="s")
raise ValueError("last words")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if "hook" in line] == [
        "thread hook KeyError", "main hook ValueError"
    ]  # fmt: skip
    uncaught = [
        (line["message"], line["exception"].splitlines()[-1])
        for name in "rs"
        for line in records(tmp_path / f"runs/{name}/logs/p00000.a01.jsonl")
        if line["logger"] == "uncaught"
    ]
    assert uncaught == [
        ("uncaught KeyError in loader", "KeyError: 'in a thread'"),
        ("uncaught RuntimeError", "RuntimeError: in the block"),
        ("uncaught ValueError", "ValueError: last words"),
    ]


def test_warnings_go_into_the_files_and_are_shown_as_before(
    logs: TextLogging, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """By whoever showed them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = []
        warnings.showwarning = lambda message, *_, **__: shown.append(str(message))  # type: ignore[assignment]
        inner = sl.setup_file_logging(tmp_path / "inner", "unit.log", config=QUIET)
        warnings.warn("careful", stacklevel=1)
        (line,) = logged(inner, tmp_path / "inner")
        inner.close()
        warnings.warn("after", stacklevel=1)
        assert shown == ["careful", "after"]
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "warnings", "UserWarning: careful")
    assert line["where"].startswith(__file__)


def test_a_hook_that_others_have_put_over_ours_stays(tmp_path: Path) -> None:
    """Ours beneath it only passes on."""
    logs = sl.setup_file_logging(tmp_path, config=QUIET)
    ours = sys.excepthook
    heard: list[str] = []
    try:
        sys.excepthook = lambda kind, error, trace: heard.append("theirs")
        theirs = sys.excepthook
        logs.close()
        assert sys.excepthook is theirs
    finally:
        sys.excepthook = sys.__excepthook__
    assert ours is not theirs


def test_output_of_all_kinds_is_captured_and_still_shown(tmp_path: Path) -> None:
    """Python's, that of C and of child processes; long lines in pieces; both streams as before at the end."""
    code = """
import os, subprocess, sys, sightline as sl
with sl.start("runs", name="r", sinks=[], logging={"capture_output": True}):
    print("from python")
    os.write(2, b"from c\\n")
    subprocess.run(["sh", "-c", "echo from a child; printf 'no end' >&2"])
    os.write(1, b"z" * 200_000 + b"\\nprogress 1\\rprogress 2\\r\\n")
    sl.get_logger("a").info("a log line")
print("afterwards")
"""
    done = python(code, tmp_path)
    assert done.stdout.splitlines()[:2] == ["from python", "from a child"]
    assert done.stdout.endswith("\nafterwards\n")
    assert "z" * 200_000 in done.stdout
    assert "from c\n" in done.stderr
    assert "no end" in done.stderr
    lines = records(tmp_path / "runs/r/logs/p00000.a01.jsonl")
    by_stream = {
        name: [x["message"] for x in lines if x["logger"] == name] for name in ("stdout", "stderr", "a")
    }
    assert by_stream["stdout"][:2] == ["from python", "from a child"]
    assert by_stream["stdout"][-2:] == ["progress 1", "progress 2"]
    assert sum(text.count("z") for text in by_stream["stdout"]) == 200_000
    assert by_stream["stderr"] == ["from c", "no end"]
    assert by_stream["a"] == ["a log line"]


def test_last_words_of_an_abort_are_shown_and_kept(tmp_path: Path) -> None:
    """What C writes before it ends the process, and what a child writes that lives longer."""
    code = """
import os, subprocess, sightline as sl
sl.start("runs", name="r", sinks=[], logging={"capture_output": True})
subprocess.Popen(["sh", "-c", "while [ ! -e go ]; do sleep 0.05; done; echo outlived"])
os.write(2, b"terminate called\\n")
os.abort()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.wait(120) == -signal.SIGABRT
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=120)
    assert out == "outlived\n"
    assert "terminate called\n" in err
    folder = tmp_path / "runs/r/logs"
    assert (folder / "p00000.a01.stdout").read_text() == "outlived\n"
    assert "terminate called\n" in (folder / "p00000.a01.stderr").read_text()


# Nothing lost


def test_what_waits_too_long_is_dropped_counted_and_told(
    logs: TextLogging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers wait first, and not once more for each line."""
    monkeypatch.setattr(handler, "MOST_WAITING", 10)
    monkeypatch.setattr(handler, "_PATIENCE_S", 0.05)
    logs._files.remove_source(logs._write)
    monkeypatch.setattr(handler, "_ROOM", 0)
    pauses: list[float] = []
    monkeypatch.setattr(handler.time, "sleep", pauses.append)
    for i in range(10):
        log.info("kept %d", i)
    assert pauses == []
    log.info("lost")
    waited = len(pauses)
    assert waited
    for _ in range(4):
        log.info("lost")
    assert len(pauses) == waited
    logs._files.add_source(logs._write)
    notice, *lines = logged(logs, tmp_path)
    assert (notice["lost"], notice["message"][:23]) == (5, "5 lines are missing her")
    assert [line["message"] for line in lines] == [f"kept {i}" for i in range(10)]
    assert "5 lines are missing here" in (tmp_path / "unit.log").read_text()
    log.info("again")
    assert logged(logs, tmp_path)[-1]["message"] == "again"


def test_files_are_followed_by_others_and_the_oldest_go(tmp_path: Path) -> None:
    """By size, with a cap on all."""
    config = sl.TextLoggingConfig(segment_bytes=10_000, keep_bytes=40_000, console_processes="9")
    logs = sl.setup_file_logging(tmp_path, "unit.log", config=config)
    for i in range(100):
        log.info("%d %s", i, "x" * 1000)
        logs.flush()
    logs.close()
    for suffix in ("jsonl", "log"):
        paths = sorted(tmp_path.glob(f"unit.*.{suffix}"))
        assert 2 <= len(paths) <= 5
        assert sum(path.stat().st_size for path in paths) <= 40_000
    last = [
        int(line["message"].split()[0])
        for path in sorted(tmp_path.glob("unit.*.jsonl"))
        for line in records(path)
    ]
    last += [int(line["message"].split()[0]) for line in records(tmp_path / "unit.jsonl")]
    assert last == list(range(last[0], 100))


FLOOD = """
import sys, threading, sightline as sl
process, threads, lines = map(int, sys.argv[1:])
logs = sl.setup_file_logging("logs", config=sl.TextLoggingConfig(console_processes="99"), process=process)
log = sl.get_logger("flood")
def work(thread):
    for i in range(lines):
        log.info("line %d", i, of=thread)
workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
for each in workers: each.start()
for each in workers: each.join()
assert logs.close(300)
"""


@pytest.mark.parametrize(
    ("processes", "threads", "lines"),
    [(2, 8, 2000), pytest.param(8, 16, 10_000, marks=pytest.mark.long)],
    ids=["small", "large"],
)
def test_no_line_is_lost_or_torn_and_each_threads_are_in_order(
    tmp_path: Path, processes: int, threads: int, lines: int
) -> None:
    """Of many threads in many processes, as fast as they can."""
    started = [
        subprocess.Popen([sys.executable, "-c", FLOOD, *map(str, (process, threads, lines))], cwd=tmp_path)
        for process in range(processes)
    ]
    assert [process.wait(600) for process in started] == [0] * processes
    for process in range(processes):
        found: dict[int, list[str]] = {}
        for line in records(tmp_path / f"logs/p{process:05d}.a01.jsonl"):
            assert line["process"] == process
            assert "lost" not in line, line["message"]
            found.setdefault(line["fields"]["of"], []).append(line["message"])
        assert found == {thread: [f"line {i}" for i in range(lines)] for thread in range(threads)}
        plain = (tmp_path / f"logs/p{process:05d}.a01.log").read_bytes().splitlines()
        assert len(plain) == 1 + threads * lines
        assert all(re.fullmatch(rb"\S+Z p\d{5} INFO flood: line \d+  of=\d+", line) for line in plain[1:])


@pytest.mark.parametrize("level", ["info", "warning"])
def test_a_killed_process_leaves_its_lines(tmp_path: Path, level: str) -> None:
    """They reach the kernel by themselves, without flush or end."""
    code = f"""
import time, sightline as sl
sl.setup_file_logging(".", "unit.log")
for i in range(100): sl.get_logger("a").{level}("line %d", i)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    path = tmp_path / "unit.jsonl"
    try:
        until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 101, "its lines")
    finally:
        process.kill()
        process.wait()
    assert [line["message"] for line in records(path)] == [f"line {i}" for i in range(100)]


def test_a_preempted_run_leaves_its_lines(tmp_path: Path) -> None:
    """They are written before SIGTERM goes on."""
    code = """
import os, signal, time, sightline as sl
sl.start("runs", name="r", sinks=[])
for i in range(100): sl.get_logger("a").info("line %d", i)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert process.wait(120) == -signal.SIGTERM
    *lines, last = records(tmp_path / "runs/r/logs/p00000.a01.jsonl")
    assert [line["message"] for line in lines] == [f"line {i}" for i in range(100)]
    assert last["message"].startswith("SIGTERM: all is written")


def test_a_forked_child_does_not_write_into_the_parents_files(tmp_path: Path) -> None:
    """Nor does it hang, nor run the parent's hooks; its warnings go to stderr."""
    code = """
import os, sys, sightline as sl
logs = sl.setup_file_logging(".", "unit.log", config=sl.TextLoggingConfig(console_processes="9"))
log = sl.get_logger("a")
log.info("one")
child = os.fork()
if child == 0:
    log.warning("from the child")
    assert logs.flush(0.0) and logs.close(0.0) and sys.excepthook is sys.__excepthook__
    assert not logs._handler.waiting
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
log.info("two")
"""
    assert python(code, tmp_path).stderr == "from the child\n"
    assert [line["message"] for line in records(tmp_path / "unit.jsonl")] == ["one", "two"]


def test_a_signal_handler_may_log_in_the_middle_of_a_call(tmp_path: Path) -> None:
    """Nothing of it waits for a lock that the interrupted call holds."""
    code = """
import signal, sightline as sl
logs = sl.setup_file_logging(".", "unit.log", config=sl.TextLoggingConfig(console_processes="9"))
log = sl.get_logger("a")
handled = 0
def handle(*_):
    global handled
    handled += 1
    log.warning("handler %d", handled)
    log.log_every_seconds(30, "now and then", 1e-6)
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
said = 0
while handled < 1000:
    log.warning("main")
    log.log_every_seconds(30, "main, now and then", 1e-6)
    said += 1
signal.setitimer(signal.ITIMER_REAL, 0)
logs.close()
import json
messages = [json.loads(line).get("message", "") for line in open("unit.jsonl")]
assert messages.count("main") == said
assert {m for m in messages if m.startswith("handler")} == {f"handler {i}" for i in range(1, handled + 1)}
assert len([m for m in messages if m.startswith("handler")]) == handled
"""
    python(code, tmp_path)


# In a run


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
