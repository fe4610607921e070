"""What a logging call leaves behind: everything that may have changed by the time it is written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from sightline.text_logging.loggers import add_field
from sightline.tracing.event_values import plain, text

CHARACTERS = 100_000  #: of a message, a traceback or a stack
_PLAIN = frozenset((str, int, float, bool, type(None)))
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "fields"}
OWN_COUNT = len(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
_LONG = 10_000  # characters
_SMALL = 16  # elements of an array that are shown
_LOOKED_AT = 1000  # of a container's items


class Entry(NamedTuple):
    """One call, without its ``LogRecord``: a tuple of plain values is nothing to the garbage collector.

    Attributes:
        created: seconds since the epoch.
        level: its number.
        message, args: the format and its plain arguments; or the message as it was made at once, and None.
        fields: what came by keyword and with ``extra``: plain values, or made plain at once.
        error: the exception as it was (``traceback.TracebackException``).
        step, span: the active ones.
        is_for_files: it is not shown on the console, where somebody else shows it.
    """

    created: float
    level: int
    level_name: str
    logger: str
    message: str
    args: Any
    fields: dict[str, Any] | None
    error: Any
    stack: str | None
    thread: str | None
    path: str
    line: int
    step: int | None
    span: str | None
    is_for_files: bool


def can_wait(message: Any, args: Any) -> bool:
    """Whether message and arguments are such as cannot change."""
    if message.__class__ is not str or len(message) > CHARACTERS:
        return False
    if args.__class__ is tuple:
        return _can_all_wait(args)
    return not args or (args.__class__ is dict and _can_all_wait(args.values()))


def _can_all_wait(values: Iterable[Any]) -> bool:
    """Whether they are plain, and short, so that what waits is bounded."""
    for value in values:
        kind = value.__class__
        if kind not in _PLAIN or (kind is str and len(value) > _LONG):
            return False
    return True


def message_of(format: Any, args: Any) -> str:
    """The message with its arguments in place, whatever they are; never raises."""
    try:
        message = str.__str__(format if isinstance(format, str) else str(_settled(format)))
    except Exception as error:  # noqa: BLE001 - a user's object may do anything
        message = f"<{type(format).__name__}: {type(error).__name__}>"
    if not args:
        return text(message, CHARACTERS)
    try:
        if isinstance(args, Mapping):
            return text(message % {name: _settled(value) for name, value in args.items()}, CHARACTERS)
        return text(message % tuple(_settled(value) for value in args), CHARACTERS)
    except Exception as error:  # noqa: BLE001 - as above, or a format that does not fit
        given = [plain(value) for value in (args.values() if isinstance(args, Mapping) else args)]
        return text(f"{message} {given} ({type(error).__name__}: {_string(error)})", CHARACTERS)


def fields_of(record: logging.LogRecord) -> dict[str, Any] | None:
    """The fields of a call as plain data; None if it has none."""
    attributes = record.__dict__
    if len(attributes) <= OWN_COUNT:
        return None
    given = attributes.get("fields")
    if given.__class__ is dict and len(attributes) == OWN_COUNT + 1:
        fields = given  # the usual case
    else:
        fields = {name: value for name, value in attributes.items() if name not in _OWN}
        if isinstance(given, Mapping):
            for name, value in given.items():
                add_field(fields, name, value)
        elif given is not None:
            add_field(fields, "fields", given)
    if not fields or _can_all_wait(fields.values()):
        return fields or None
    found = plain(fields)
    return found if isinstance(found, dict) else None


def error_of(record: logging.LogRecord) -> Any:
    """The exception of a call without its frames, which would keep arrays alive; None if it has none.

    The lines of code are not read yet: that touches the disk.
    """
    exc_info = record.exc_info
    if not exc_info or not isinstance(exc_info, tuple) or exc_info[1] is None:
        return None
    import traceback

    try:
        return traceback.TracebackException(*exc_info, lookup_lines=False, compact=True)
    except Exception:  # noqa: BLE001 - a user's exception may do anything
        return f"{exc_info[1].__class__.__name__}"


def traceback_of(error: Any) -> str:
    """The traceback of :func:`error_of`'s exception."""
    if not isinstance(error, str):
        try:
            error = "".join(error.format())
        except Exception as problem:  # noqa: BLE001 - as above
            error = f"<a traceback that cannot be shown: {type(problem).__name__}>"
    return text(error.rstrip("\n"), CHARACTERS)


class _Shown:
    """Stands for a value that is not read."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


def _settled(value: Any) -> Any:
    """A value that can be made a string of without waiting for a device."""
    if value.__class__ in _PLAIN:
        return value
    if _is_on_device(value):
        return value if _is_at_hand(value) else _Shown(str(plain(value)))
    if _holds_device_values(value, [_LOOKED_AT]):
        return _Shown(str(plain(value)))
    return value


def _is_on_device(value: Any) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return False
    try:
        return hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "device")
    except Exception:  # noqa: BLE001 - an array that has been deleted
        return True


def _is_at_hand(value: Any) -> bool:
    """Whether it is small and needs no waiting."""
    try:
        if hasattr(value, "is_cuda"):
            return not value.is_cuda
        if value.is_deleted() or not value.is_fully_addressable or value.size > _SMALL:
            return False
        return bool(value.is_ready())
    except Exception:  # noqa: BLE001 - a kind of array that we do not know
        return False


def _holds_device_values(value: Any, left: list[int], depth: int = 6) -> bool:
    """Whether there is one among the first items of a container."""
    if _is_on_device(value):
        return True
    if isinstance(value, (str, bytes)) or not isinstance(value, (Mapping, Sequence, Set)) or not depth:
        return False
    for each in value.values() if isinstance(value, Mapping) else value:
        left[0] -= 1
        if left[0] < 0 or _holds_device_values(each, left, depth - 1):
            return left[0] >= 0
    return False


def _string(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}>"
