"""Entries as lines: structured ones, and such as people read, in which no message can forge another line."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from sightline.support.foreign_text import escaped
from sightline.text_logging.entries import CHARACTERS, Entry, message_of, traceback_of
from sightline.text_logging.loggers import component
from sightline.tracing.event_values import dumps, plain, text

FORMAT = 1  #: of the structured files, as their headers say
_INDENT = "\n    | "


class Line(NamedTuple):
    """One entry, rendered.

    Attributes:
        time: seconds since the epoch.
        level: its number and its name.
        component: the logger.
        process: the process that logged it.
        body: message, fields and traceback; further lines of it are indented, control characters escaped.
        structured: the line of JSON.
        plain: the line of the plain file.
    """

    time: float
    level: int
    level_name: str
    component: str
    body: str
    structured: bytes
    plain: bytes


class Renderer:
    """Renders the entries of one process.

    Args:
        facts: what stands in each structured line: process, host, role.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = dict(facts)
        self._process = f"p{facts.get('process', 0):05d}"
        self._second: tuple[int, str] = (-1, "")

    def line(self, entry: Entry) -> Line:
        """The line of an entry; never raises."""
        try:
            return self._line(entry)
        except Exception as error:  # noqa: BLE001 - one odd record must not be the end of the others
            message = f"<a record that cannot be shown: {type(error).__name__}>"
            data = dumps(
                {
                    "time": time.time(),
                    "level": "ERROR",
                    "logger": "sightline",
                    **self._facts,
                    "message": message,
                }
            )
            return Line(
                time.time(),
                logging.ERROR,
                "ERROR",
                "sightline",
                message,
                data + b"\n",
                f"{message}\n".encode(),
            )

    def _line(self, entry: Entry) -> Line:
        message = message_of(entry.message, entry.args)
        name = text(component(entry.logger), 200)
        if name == "sightline":
            message = message.removeprefix("sightline: ")
        level = text(str(entry.level_name), 40)
        seen: dict[str, Any] = {
            "time": round(entry.created, 6), "level": level, "logger": name, **self._facts,
            "message": message,
        }  # fmt: skip
        if entry.step is not None:
            seen["step"] = entry.step
        if entry.span is not None:
            seen["span"] = text(entry.span)
        fields = plain(entry.fields) if entry.fields else {}
        if not isinstance(fields, dict):
            fields = {"fields": fields}
        if fields:
            seen["fields"] = fields
        if entry.error is not None:
            seen["exception"] = traceback_of(entry.error)
        if entry.stack:
            seen["stack"] = text(str(entry.stack), CHARACTERS)
        seen["thread"] = text(str(entry.thread), 200)
        if entry.line:
            seen["where"] = text(f"{entry.path}:{entry.line}", 1000)
        try:
            structured = dumps(seen)
        except orjson.JSONEncodeError:  # an odd step, or time, of a foreign record factory
            structured = dumps(plain(seen))
        body = body_of(seen)
        number = entry.level if isinstance(entry.level, int) else logging.ERROR
        step = "" if entry.step is None else f" step={entry.step}"
        head = f"{self._stamp(entry.created)} {self._process} {level}{step}"
        shown = f"{on_lines_of_its_own(f'{head} {name}')}: {body}\n"
        return Line(entry.created, number, level, name, body, structured + b"\n", shown.encode())

    def notice(self, lost: int) -> tuple[bytes, bytes]:
        """What the two files say where lines are missing."""
        now = time.time()
        message = f"{lost} lines are missing here: too many waited, or the disk refused them"
        data = {
            "time": round(now, 6), "level": "WARNING", "logger": "sightline", **self._facts,
            "message": message, "lost": lost,
        }  # fmt: skip
        shown = f"{self._stamp(now)} {self._process} WARNING sightline: {message}\n"
        return dumps(data) + b"\n", shown.encode()

    def _stamp(self, moment: float) -> str:
        """UTC, so that the files of several hosts can be read side by side."""
        second = int(moment)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((moment - second) * 1000):03d}Z"


def body_of(seen: Mapping[str, Any]) -> str:
    """What people read of a structured line: message, fields, traceback and stack, on lines of its own."""
    fields = seen.get("fields")
    shown = fields.items() if isinstance(fields, Mapping) else ()
    body = "  ".join([str(seen.get("message", "")), *(f"{key}={_word(value)}" for key, value in shown)])
    for more in ("exception", "stack"):
        if more in seen:
            body += f"\n{seen[more]}"
    return on_lines_of_its_own(body)


def on_lines_of_its_own(body: str) -> str:
    r"""Escapes what could move a cursor or begin a line, and indents what follows a line break.

    Example:
        >>> print(on_lines_of_its_own("two\nlines\x1b[2J"))
        two
            | lines\x1b[2J
    """
    if body.isprintable():
        return body
    return escaped(body, keep="\n\t").replace("\n", _INDENT)


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value if value and " " not in value and value.isprintable() else orjson.dumps(value).decode()
    return str(value) if isinstance(value, (int, float)) else orjson.dumps(value).decode()
