"""Text logging of one process: wires loggers, files, console and hooks, and takes all of it away again."""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sightline.files.process_files import Place, ProcessFiles
from sightline.jax.distributed import distributed
from sightline.support.clock import Sync, anchor
from sightline.text_logging.capture import Hooks
from sightline.text_logging.config import TextLoggingConfig
from sightline.text_logging.console import LogConsole
from sightline.text_logging.entries import Entry
from sightline.text_logging.handler import EntryHandler
from sightline.text_logging.lines import FORMAT, Line, Renderer
from sightline.text_logging.loggers import PARENT
from sightline.transports import number_by_launcher, several_processes

if TYPE_CHECKING:
    from sightline.text_logging.output import OutputCapture

_BATCH = 2000  # entries between two looks at everything else
_LAST_WORDS_S = 0.05  # that a caller waits at CRITICAL, since the process may end at the next line
_ANCHOR_EVERY_S = 30.0  # while there are lines; in between the time of day runs as the clock does
_is_apart = False  # whether it is we who have stopped the propagation to the root
_on: list[TextLogging] = []  # the newest one has the console, and says the levels
_lock = threading.RLock()
_levels_before: dict[
    str, tuple[int, int]
] = {}  # of loggers that we have changed: what they had, what they got


class TextLogging:
    """Everything that is logged under ``sightline``, into this process's files and on its console.

    Args:
        files: those of the process.
        config: see :class:`TextLoggingConfig`.
        path: of the files in the run directory, without suffix.
        early: a folder on the same disk, for captured output until the run directory is known.
        current_span: the name of the active span, or None.
        on_warning: called for each record from WARNING up, on the caller's thread.

    Raises:
        ConfigurationError: a setting that cannot work.
    """

    def __init__(
        self,
        files: ProcessFiles,
        config: TextLoggingConfig | None = None,
        *,
        path: str = "logs/{name}",
        early: Path = Path(),
        current_span: Callable[[], str | None] | None = None,
        on_warning: Callable[[logging.LogRecord], None] | None = None,
    ) -> None:
        self.config = config or TextLoggingConfig()
        self._files = files
        self._path = path
        self._early = early
        self._on_warning = on_warning
        self._is_closed = False
        self._syncs: deque[Sync] = deque()
        self._anchored = time.monotonic()  # the header has the first one
        self._levels = self.config.by_component()
        limits = {"segment_bytes": self.config.segment_bytes, "keep_bytes": self.config.keep_bytes}
        self._structured = files.open(f"{path}.jsonl", _structured_header, **limits)
        self._plain = files.open(f"{path}.log", _plain_header, **limits)
        role = self.config.role or files.role
        self._renderer = Renderer(
            {"process": files.process, "host": os.uname().nodename, **({"role": role} if role else {})}
        )
        self._handler = EntryHandler(self._hurry, current_span)
        self._hooks = Hooks(self._keep, self.flush)
        self._output: OutputCapture | None = None
        self._stderr: io.TextIOWrapper | None = None  # where stderr led before it was captured
        if self.config.capture_output:
            self._capture_output()
        self._console: LogConsole | None = None
        if self.config.shows_console(files.process):
            shown = None if self.config.console_processes == "root" else files.process
            self._console = LogConsole(self._stderr or sys.stderr, shown)
        self._loggers = [logging.getLogger(name) for name in (PARENT, *self.config.loggers)]
        with _lock:
            _on.append(self)
            _set_levels()
            _enable()
            _keep_apart()
        for logger in self._loggers:
            logger.addHandler(self._handler)
        if self.config.capture_exceptions:
            self._hooks.hear_exceptions()
        if self.config.capture_warnings:
            self._hooks.hear_warnings()
        files.add_source(self._write)

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until what was logged before is in the files and on the console; returns whether it is."""
        if self._is_closed:
            return True
        end = time.monotonic() + timeout
        done = self._files.flush(timeout)
        if self._console is not None:
            done = self._console.flush(max(0.1, end - time.monotonic())) and done
        return done

    def note_sync(self, sync: Sync) -> None:
        """Writes where this process's clock stands against the root's. From any thread."""
        self._syncs.append(sync)

    def keep_uncaught(self, error: BaseException) -> None:
        """Writes an exception down as uncaught, for one that ends the run, and with it the hooks, first."""
        if not self._is_closed and self.config.capture_exceptions:
            self._hooks.keep_exception(error)

    def close(self, timeout: float = 10.0) -> bool:
        """Takes everything away again, and writes what waits; returns whether all is written."""
        with _lock:
            if self not in _on:
                return True
        self._hooks.restore()
        if self._output is not None:
            self._output.restore()
        for logger in self._loggers:
            logger.removeHandler(self._handler)
        done = self.flush(timeout)
        self._files.remove_source(self._write)
        if done and self.config.files:
            self._structured.put(_of_kind("end", time=round(time.time(), 6)), 0)
            done = self._files.flush(timeout)
        self._is_closed = True
        with _lock:
            _on.remove(self)
            _set_levels()
            _keep_apart()
        if self._console is not None:
            self._console.close(1.0)
        if self._stderr is not None:
            self._stderr.close()
        return done

    # --- the caller's side ---------------------------------------------------------------------------------

    def _hurry(self, record: logging.LogRecord) -> None:
        self._files.hurry()
        if self._on_warning is not None:
            self._on_warning(record)
        if record.levelno >= logging.CRITICAL:
            self._files.settle(_LAST_WORDS_S)

    def _keep(self, record: logging.LogRecord) -> None:
        self._handler.keep(record, is_for_files=True)

    # --- in the background ---------------------------------------------------------------------------------

    def _write(self) -> bool:
        """Puts what was logged into the files and on the console; returns whether there is more."""
        if not (self._structured.has_many_waiting or self._plain.has_many_waiting):
            entries = self._handler.take(_BATCH)
            lines = [self._renderer.line(entry) for entry in entries]
            if self.config.files:
                lost = self._handler.take_lost()
                self._tell_lost(lost)
                self._tell_clock(bool(lines))
                if lines:
                    self._structured.put(b"".join([line.structured for line in lines]), len(lines))
                    self._plain.put(b"".join([line.plain for line in lines]), len(lines))
            self._show(entries, lines)
            _keep_apart()  # of what has come meanwhile
        return bool(self._handler.waiting)

    def _tell_lost(self, lost: int) -> None:
        for at, file in enumerate((self._structured, self._plain)):
            if missing := lost + file.take_dropped():
                file.put(self._renderer.notice(missing)[at], missing)

    def _tell_clock(self, has_lines: bool) -> None:
        while self._syncs:
            self._structured.put(_of_kind("clock", **self._syncs.popleft()._asdict()), 0)
        if has_lines and time.monotonic() - self._anchored > _ANCHOR_EVERY_S:
            self._anchored = time.monotonic()
            self._structured.put(_of_kind("clock", **anchor()._asdict()), 0)

    def _show(self, entries: list[Entry], lines: list[Line]) -> None:
        if self._console is None or not lines or _on[-1:] != [self]:
            return
        self._console.show(
            [
                line
                for entry, line in zip(entries, lines, strict=True)
                if not entry.is_for_files and not _is_shown_by_others(entry, self._handler)
            ]
        )

    def _capture_output(self) -> None:
        from sightline.text_logging.output import OutputCapture

        before = os.dup(2)
        try:
            self._output = OutputCapture(
                self._output_path, self._early_path, self._keep, keep_bytes=self.config.keep_bytes
            )
        except BaseException:
            os.close(before)
            raise
        self._stderr = os.fdopen(before, "w", encoding=getattr(sys.stderr, "encoding", None) or "utf-8")

    def _output_path(self, stream: str) -> Path | None:
        place = self._files.place
        if place is None:
            return None
        name = f"p{self._files.process:05d}.a{place.attempt:02d}"
        return place.dir / f"{self._path.format(name=name)}.{stream}"

    def _early_path(self, stream: str) -> Path:
        return self._early / f".{os.uname().nodename}.{os.getpid()}.{stream}"

    def _leave_to_parent(self) -> None:
        """In a forked child: nothing of it is written here."""
        self._is_closed = True
        self._hooks.restore()
        self._handler.waiting.clear()
        for logger in self._loggers:
            logger.removeHandler(self._handler)


def setup_file_logging(
    log_dir: str | os.PathLike[str],
    filename: str | None = None,
    *,
    config: TextLoggingConfig | None = None,
    process: int | None = None,
) -> TextLogging:
    """Logs into files of a directory without a run; ``sl.start`` does it for its run directory by itself.

    Args:
        log_dir: is made if need be.
        filename: of the plain file, as in ``"trainer.log"``; the structured one lies beside it, as
            ``trainer.jsonl``. Of several processes each has its own: ``trainer.p00003.log``. None: by
            process, as in ``p00003.a01.log``. What stands there is kept.
        config: see :class:`TextLoggingConfig`.
        process: this process's index, where there are several; None: that of JAX's distributed runtime, or
            what the launcher says (``JAX_PROCESS_ID``, ``SLURM_PROCID``, ``RANK`` …), else 0.

    Returns:
        What :meth:`~TextLogging.flush` and :meth:`~TextLogging.close` are called on; it is closed at exit.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config = TextLoggingConfig(console_processes="1")  # not this one
        ...     logs = setup_file_logging(folder, "trainer.log", config=config)
        ...     logging.getLogger("sightline.trainer").info("ready")
        ...     _ = logs.close()
        ...     print(Path(folder, "trainer.log").read_text().splitlines()[1].partition(" ")[2])
        p00000 INFO trainer: ready
    """
    number, processes = _place_in_job()
    if process is not None:
        number, processes = process, max(processes, process + 1)
    run_id = os.urandom(8).hex()
    place = Place(Path(log_dir), run_id, 1)
    files = ProcessFiles(lambda: place, process=number or 0, processes=processes)
    path = "{name}"
    if filename is not None:
        path = filename.removesuffix(".log").replace("{", "{{").replace("}", "}}")
        if number is None:
            path += f".{os.uname().nodename}.{os.getpid()}"
        elif processes > 1 or process is not None:
            path += f".p{number:05d}"
    if os.environ.get("SIGHTLINE_DISABLED") == "1":
        config = TextLoggingConfig(enabled=False)
    return _OfNoRun(files, config, path=path)


def _place_in_job() -> tuple[int | None, int]:
    """This process's index, None if nothing says it, and how many there are at least."""
    found = distributed()
    if found is not None:
        return found.process, found.processes
    if not several_processes():
        return 0, 1
    number = number_by_launcher()
    return number, 2 if number is None else max(2, number + 1)


class _OfNoRun(TextLogging):
    """Text logging that has its files for itself."""

    def __init__(self, files: ProcessFiles, config: TextLoggingConfig | None, *, path: str) -> None:
        self._is_on = config is None or config.enabled
        if self._is_on:
            super().__init__(files, config, path=path)
            atexit.register(self.close)

    def flush(self, timeout: float = 10.0) -> bool:
        return not self._is_on or super().flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        if not self._is_on:
            return True
        atexit.unregister(self.close)
        done = super().close(timeout)
        return self._files.close(timeout) and done


def _structured_header(facts: dict[str, Any]) -> bytes:
    return _of_kind("header", kind="log", format=FORMAT, **facts)


def _of_kind(kind: str, /, **fields: Any) -> bytes:
    """A line that is no entry; those of entries have no type."""
    return orjson.dumps({"type": kind, **fields}, option=orjson.OPT_APPEND_NEWLINE)


def _plain_header(facts: dict[str, Any]) -> bytes:
    shown = " ".join(f"{name}={value}" for name, value in facts.items() if not name.endswith("_ns"))
    return f"# {shown}\n".encode("utf-8", "backslashreplace")


def _is_shown_by_others(entry: Entry, ours: logging.Handler) -> bool:
    """Whether a handler of the program's has printed this to stdout or stderr already."""
    logger: logging.Logger | None = logging.getLogger(entry.logger)
    while logger is not None:
        for handler in logger.handlers:
            if (
                handler is not ours
                and entry.level >= handler.level
                and _prints(handler)
                and _passes(handler, entry)
            ):
                return True
        logger = logger.parent if logger.propagate else None
    return False


def _passes(handler: logging.Handler, entry: Entry) -> bool:
    """Whether a handler's filters have let this pass: asked again, with a copy, as it leaves no trace."""
    if not handler.filters:
        return True
    copy = logging.LogRecord(
        entry.logger, entry.level, entry.path, entry.line, entry.message, entry.args or (), None
    )
    copy.created, copy.threadName = entry.created, entry.thread
    copy.__dict__.update({**(entry.fields or {}), **copy.__dict__})
    if entry.fields:
        copy.fields = entry.fields
    try:
        return bool(handler.filter(copy))
    except Exception:  # noqa: BLE001 - rather shown twice than not at all
        return False


def _prints(handler: logging.Handler) -> bool:
    handler = getattr(handler, "python_handler", handler)  # absl's has its own inside
    stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    if stream is None or isinstance(handler, EntryHandler):
        return False
    return any(stream is each for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__))


def _keep_apart() -> None:
    """Keeps our lines from a handler on the root that nobody has asked for, as long as it is alone there.

    ``logging.basicConfig()`` in passing makes one; absl does that at its first line, which Orbax logs while
    it is imported. Every line would be printed by every process, and in its format instead of ours.
    """
    global _is_apart
    logger, handlers = logging.getLogger(PARENT), logging.root.handlers
    wanted = bool(_on) and bool(handlers) and all(map(_is_in_passing, handlers))
    if wanted and logger.propagate:
        logger.propagate, _is_apart = False, True
    elif _is_apart and not wanted:
        logger.propagate, _is_apart = True, False


def _is_in_passing(handler: logging.Handler) -> bool:
    return (
        type(handler) is logging.StreamHandler
        and handler.stream in (sys.stderr, sys.__stderr__)
        and getattr(handler.formatter, "_fmt", None) == logging.BASIC_FORMAT
        and handler.level == logging.NOTSET
        and logging.root.level == logging.WARNING  # who asks for one asks for a level, too
        and not handler.filters
    )


def _set_levels() -> None:
    """Sets the levels that the newest one wants, and puts back what is wanted no more."""
    for name, (before, given) in _levels_before.items():
        logger = logging.getLogger(name)
        if logger.level == given:  # nobody has changed it since
            logger.setLevel(before)
    _levels_before.clear()
    if not _on:
        return
    config, levels = _on[-1].config, dict(_on[-1]._levels)
    wanted = {
        f"{PARENT}.{name}" if name and name != PARENT else PARENT: level for name, level in levels.items()
    }
    if PARENT not in wanted and logging.getLogger(PARENT).level == logging.NOTSET:
        wanted[PARENT] = logging.INFO
    for name in config.quiet_names():
        if logging.getLogger(name).getEffectiveLevel() < logging.WARNING:
            wanted[name] = logging.WARNING
    for name, level in wanted.items():
        logger = logging.getLogger(name)
        _levels_before[name] = (logger.level, level)
        logger.setLevel(level)


def _enable() -> None:
    """Wakes the loggers that a `dictConfig` has put to sleep in passing, as it does with all that exist."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name == PARENT or name.startswith(f"{PARENT}.")):
            logger.disabled = False


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    for each in _on:
        each._leave_to_parent()
    _on.clear()
    _keep_apart()


os.register_at_fork(after_in_child=_after_fork_in_child)
