"""What becomes of a call: one line with all that is known, whatever it was given; no device is waited for."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import sightline as sl
from sightline.files.process_files import Place, ProcessFiles
from sightline.text_logging.process_logging import TextLogging
from tests.text_logging.logged import QUIET, log, logged


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
