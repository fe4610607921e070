"""The loggers: the standard library's, with fields, and calls that say a thing now and then."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING
from numbers import Real
from operator import index
from types import FrameType
from typing import Any, cast

from sightline.errors import RecordError

#: The parent of all loggers made here, and the logger of the package's own messages.
PARENT = "sightline"

#: What formatters put on a record, and ``fields``, where those of our calls are.
_MADE_LATER = frozenset(("message", "asctime", "fields"))

_BY_KEYWORD: Any = object()  # the message, unless it is given first

_Site = tuple[str, int, int]
_MOST_SITES = 10_000

_counts: dict[_Site, Iterator[int]] = {}
_next_times: dict[_Site, float] = {}
_times_lock = threading.RLock()  # a signal handler may log in the middle
_INTERNAL = {logging._srcfile, (lambda: None).__code__.co_filename}


class Logger(logging.Logger):
    """A logger whose calls take fields by keyword. Made by :func:`get_logger`.

    All the rest is the standard library's: levels, filters, handlers, ``exc_info``, ``extra``. That may have
    any name: where a field or the record has it already, as with ``message``, the value is a field.
    """

    _cache: dict[int, bool]  # of the standard library's

    # The message is positional, so that every name is free for a field; `msg=` alone is the message, as in
    # the standard library. The first two look into the cache of levels themselves: a call that logs nothing
    # costs no more than there, also where the program's loggers and ours take turns.

    def debug(self, msg: object = _BY_KEYWORD, /, *args: object, **fields: Any) -> None:
        """Logs at the level DEBUG."""
        try:
            is_on = self._cache[DEBUG]
        except KeyError:
            is_on = self.isEnabledFor(DEBUG)
        if is_on and not self.disabled:
            self._log(DEBUG, msg, args, **fields)

    def info(self, msg: object = _BY_KEYWORD, /, *args: object, **fields: Any) -> None:
        """Logs at the level INFO."""
        try:
            is_on = self._cache[INFO]
        except KeyError:
            is_on = self.isEnabledFor(INFO)
        if is_on and not self.disabled:
            self._log(INFO, msg, args, **fields)

    def warning(self, msg: object = _BY_KEYWORD, /, *args: object, **fields: Any) -> None:
        """Logs at the level WARNING."""
        if self.isEnabledFor(WARNING):
            self._log(WARNING, msg, args, **fields)

    def error(self, msg: object = _BY_KEYWORD, /, *args: object, **fields: Any) -> None:
        """Logs at the level ERROR."""
        if self.isEnabledFor(ERROR):
            self._log(ERROR, msg, args, **fields)

    def exception(self, msg: object = _BY_KEYWORD, /, *args: object, **fields: Any) -> None:
        """Logs at the level ERROR, with the exception that is handled."""
        if self.isEnabledFor(ERROR):
            self._log(ERROR, msg, args, **{"exc_info": True, **fields})

    def critical(self, msg: object = _BY_KEYWORD, /, *args: object, **fields: Any) -> None:
        """Logs at the level CRITICAL."""
        if self.isEnabledFor(CRITICAL):
            self._log(CRITICAL, msg, args, **fields)

    fatal = critical

    def log(  # type: ignore[override]
        self, level: int | str, msg: object = _BY_KEYWORD, /, *args: object, **fields: Any
    ) -> None:
        """Logs at a level, by its number or its name.

        Raises:
            RecordError: there is no such level.
        """
        if self.isEnabledFor(level := _number(level)):
            self._log(level, msg, args, **fields)

    def log_every_n(
        self,
        level: int | str,
        message: object = _BY_KEYWORD,
        n: int | None = None,
        /,
        *args: object,
        **fields: Any,
    ) -> None:
        """Logs the first and then every ``n``-th call of this line of code.

        Raises:
            RecordError: ``n`` is no positive int, or there is no such level.
        """
        n = fields.pop("n", None) if n is None else n
        if self.isEnabledFor(level := _number(level)) and not _count(_caller()) % _checked(n):
            self._log(level, message, args, **fields)

    def log_first_n(
        self,
        level: int | str,
        message: object = _BY_KEYWORD,
        n: int | None = None,
        /,
        *args: object,
        **fields: Any,
    ) -> None:
        """Logs the first ``n`` calls of this line of code.

        Raises:
            RecordError: ``n`` is no positive int, or there is no such level.
        """
        n = fields.pop("n", None) if n is None else n
        if self.isEnabledFor(level := _number(level)) and _count(_caller()) < _checked(n):
            self._log(level, message, args, **fields)

    def log_every_seconds(
        self,
        level: int | str,
        message: object = _BY_KEYWORD,
        seconds: float | None = None,
        /,
        *args: object,
        **fields: Any,
    ) -> None:
        """Logs the first call of this line of code, and the first one after each such time.

        Raises:
            RecordError: ``seconds`` is no positive number, or there is no such level.
        """
        seconds = fields.pop("seconds", None) if seconds is None else seconds
        if self.isEnabledFor(level := _number(level)) and _is_due(_caller(), seconds):
            self._log(level, message, args, **fields)

    def once(self, level: int | str, message: object = _BY_KEYWORD, /, *args: object, **fields: Any) -> None:
        """Logs the first call of this line of code.

        Raises:
            RecordError: there is no such level.
        """
        if self.isEnabledFor(level := _number(level)) and not _count(_caller()):
            self._log(level, message, args, **fields)

    def _log(  # type: ignore[override]
        self,
        level: int,
        msg: object,
        args: Any,
        /,
        exc_info: Any = None,
        extra: Any = None,
        stack_info: Any = False,
        stacklevel: Any = 1,
        **fields: Any,
    ) -> None:
        # Takes the place of the standard library's to have fields, and to be faster at finding the caller.
        frame: FrameType | None = sys._getframe(1)
        try:
            while frame is not None:
                if frame.f_code.co_filename not in _INTERNAL:
                    stacklevel -= 1
                    if stacklevel <= 0 or frame.f_back is None:
                        break
                frame = frame.f_back
        except Exception:  # noqa: BLE001 - no number: the frame is the caller's own
            if stacklevel is not None:
                fields["stacklevel"] = stacklevel
        if msg is _BY_KEYWORD:
            msg = fields.pop("msg" if "msg" in fields else "message", "")
        if exc_info:
            if isinstance(exc_info, BaseException):
                exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
            elif not isinstance(exc_info, tuple):
                exc_info = sys.exc_info()
        else:
            exc_info = None
        path, line, function = ("(unknown file)", 0, "(unknown function)")
        if frame is not None:
            path, line, function = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        stack = _stack(frame) if stack_info else None
        record = logging.getLogRecordFactory()(
            self.name, level, path, line, msg, args, exc_info, function, stack
        )
        if isinstance(extra, Mapping):
            # What would replace something of the record is a field, where the standard library would raise.
            own = record.__dict__
            for name, value in extra.items():
                if name == "fields" and isinstance(value, Mapping):
                    for inner, one in value.items():
                        add_field(fields, inner, one)
                elif name in own or name in _MADE_LATER or name in fields:
                    add_field(fields, name, value)
                else:
                    own[name] = value
        elif extra is not None:
            fields["extra"] = extra
        if fields:
            record.fields = fields
        self.handle(record)


def add_field(fields: dict[str, Any], name: object, value: Any) -> None:
    """Adds a field, under its name with ``_`` behind it if that is taken, so that none gets lost.

    Example:
        >>> fields = {"loss": 0.5}
        >>> add_field(fields, "loss", 0.25)
        >>> fields
        {'loss': 0.5, 'loss_': 0.25}
    """
    name = str(name)
    while name in fields:
        name += "_"
    fields[name] = value


def get_logger(name: str = "") -> Logger:
    """The logger of a component: ``get_logger("rollout")``, ``get_logger(__name__)``.

    It is the standard logger ``sightline.<name>``, under which ``sl.start`` finds it: records go to this
    process's files, to the console, and on to the handlers of the root logger, if the program has any.

    Args:
        name: dots make a hierarchy, as usual. Empty: the parent of all.

    Example:
        >>> log = get_logger("rollout")
        >>> log.name
        'sightline.rollout'
        >>> log.debug("%d completions", 64, policy=3)
    """
    full = name if name == PARENT or name.startswith(f"{PARENT}.") else f"{PARENT}.{name}" if name else PARENT
    manager = logging.Logger.manager
    with cast(
        Any, logging
    )._lock:  # under which the standard library makes loggers: nobody else gets this class
        before = manager.loggerClass
        manager.loggerClass = _class_over(before or logging.getLoggerClass())
        try:
            logger = logging.getLogger(full)
        finally:
            manager.loggerClass = before
    if not isinstance(logger, Logger):  # it was there before
        logger.__class__ = _class_over(type(logger))
    return cast(Logger, logger)


getLogger = get_logger  # as the standard library spells it


def component(name: str) -> str:
    """A logger's name as people know it.

    Example:
        >>> component("sightline.rollout"), component("sightline"), component("asyncio")
        ('rollout', 'sightline', 'asyncio')
    """
    return name.removeprefix(f"{PARENT}.")


_classes: dict[type, type] = {logging.Logger: Logger}


def _class_over(base: type) -> type:
    """Our class, over that of the program (``logging.setLoggerClass``)."""
    if base not in _classes:
        _classes[base] = type("Logger", (Logger, base), {})
    return _classes[base]


def _caller() -> _Site:
    frame = sys._getframe(2)
    return frame.f_code.co_filename, frame.f_lineno, frame.f_lasti


def _count(site: _Site) -> int:
    """How often a line was met before."""
    counter = _counts.get(site)
    if counter is None:
        if len(_counts) >= _MOST_SITES:  # of code that is made at run time
            _counts.clear()
        counter = _counts.setdefault(site, itertools.count())
    return next(counter)


def _is_due(site: _Site, seconds: Any) -> bool:
    if not isinstance(seconds, Real) or not float(seconds) > 0:
        raise RecordError(f"log_every_seconds: seconds={seconds!r}; expected a positive number")
    now = time.monotonic()
    with _times_lock:
        if now < _next_times.get(site, 0.0):
            return False
        if len(_next_times) >= _MOST_SITES:
            _next_times.clear()
        _next_times[site] = now + float(seconds)
    return True


def _checked(n: Any) -> int:
    try:
        number = 0 if isinstance(n, bool) else index(n)  # numpy's have one too
    except TypeError:
        number = 0
    if number < 1:
        raise RecordError(f"n={n!r}; expected a positive int: log_every_n(level, message, n, *args)")
    return number


def _number(level: Any) -> int:
    """The number of a level."""
    if isinstance(level, int):
        return level
    if isinstance(level, str) and (number := logging.getLevelNamesMapping().get(level.upper())) is not None:
        return number
    try:
        return index(level)
    except TypeError:
        names = ", ".join(logging.getLevelNamesMapping())
        raise RecordError(f"level={level!r}; expected an int as logging.INFO, or one of {names}") from None


def _stack(frame: FrameType | None) -> str:
    import traceback

    return "Stack (most recent call last):\n" + "".join(traceback.format_stack(frame)).rstrip("\n")
