"""``sl.start``: wires the parts for one process and gives the training loop a :class:`Run`."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sightline.aliases import Aliases
from sightline.committing.stats_logger import FAILED_TIMEOUT_S, Stats, StatsLogger
from sightline.config import NamingMode, PerfTracerConfig, StatsLoggerConfig
from sightline.errors import ConfigurationError
from sightline.files.process_files import Place, ProcessFiles
from sightline.hosts import HostMonitor, monitor_hosts
from sightline.hosts.monitoring import check_installed, is_monitoring
from sightline.posting.clock_sync import ClockSync
from sightline.recording.step import step as active
from sightline.runs.run_directory import Resume
from sightline.sinks.base import Sink
from sightline.support.clock import Sync
from sightline.support.redaction import redacted
from sightline.support.termination import TerminationHandler
from sightline.support.turns import Turn, Turns
from sightline.text_logging.config import TextLoggingConfig
from sightline.text_logging.entries import message_of
from sightline.text_logging.process_logging import TextLogging
from sightline.tracing.perf_tracer import TRACER
from sightline.tracing.profiling import Profiling
from sightline.tracing.session_tracer import SESSIONS
from sightline.tracing.session_writer import SessionWriter
from sightline.tracing.trace_writer import TraceWriter
from sightline.tracking.trackers import tracker
from sightline.transports import Transport

if TYPE_CHECKING:
    from sightline.files.uploading import Uploader

log = logging.getLogger("sightline")

_showing = threading.local()
_SPANS, _SESSIONS = Turns(), Turns()
_open: list[Run] = []  # of this process, the oldest first
_has_said_so = False
os.register_at_fork(after_in_child=_open.clear)
_PROFILE_S = 300.0  # to write a profile that is under way
_UPLOAD_S = 60.0  # to upload what is left of the files
_FILES_S = 10.0  # to write what is left of the traces and logs


class Run:
    """A run, on one process: the loop's steps, commits, and the end. Made by :func:`start`.

    A context manager: leaving it finishes the run, on an exception too, which then goes on its way without
    waiting long for other processes.

    Attributes:
        logger: the :class:`StatsLogger` underneath.
        files: the files that this process writes for itself.
        text: the text logging of this process; None where it is switched off.
    """

    def __init__(self, logger: StatsLogger, undoing: ExitStack, role: str = "") -> None:
        if logger.enabled and logger.config.upload_to:
            from sightline.files.file_places import open_place

            open_place(logger.config.upload_to)  # what cannot work fails before anything has begun
        self.logger = logger
        if logger.config.monitor_hosts and logger.enabled:
            check_installed()
        self._trace: TraceWriter | None = None
        self._sessions: SessionWriter | None = None
        self._turns: list[tuple[Turn, Callable[[], None]]] = []
        self.text: TextLogging | None = None
        self._hosts: HostMonitor | None = None
        self._uploader: Uploader | None = None
        self._clock_sync: ClockSync | None = None
        self._handler: TerminationHandler | None = None
        texts, tracing = logger.config.logging, logger.config.tracing
        self.files = ProcessFiles(
            self._place, process=logger.process, processes=logger.processes, role=role or texts.role
        )
        self._profiling = Profiling(
            self.files, tracing.profile_steps, tracing.profile_processes, tracing.profile_host_level
        )
        undoing.callback(self._end, lambda: True, upload_s=0.0)
        if logger.enabled and texts.enabled:
            if texts.capture_output and any(each.captures_output for each in _open):
                texts = dataclasses.replace(texts, capture_output=False)
                log.warning("sightline: another run of this process captures its output; this one does not")
            self.text = TextLogging(
                self.files, texts, early=Path(logger.config.log_dir),
                current_span=TRACER.current_span, on_warning=self._onto_the_trace,
            )  # fmt: skip
        if not (tracing.enabled and logger.enabled):
            TRACER._turn(False)
        elif TRACER.enabled:
            self._turns.append((_SPANS.ask(self._begin_spans), self._end_spans))
        if not (tracing.session_tracer.enabled and logger.enabled):
            SESSIONS._turn(False)
        elif SESSIONS.enabled:
            self._turns.append((_SESSIONS.ask(self._begin_sessions), self._end_sessions))
        if not all(turn.has_it for turn, _ in self._turns):
            _say_that_others_are_open()
        if logger.config.monitor_hosts and logger.enabled and not is_monitoring():
            self._hosts = monitor_hosts(logger.tracker, log_dir=logger.config.log_dir)
        if logger.enabled and logger.config.upload_to:
            from sightline.files.uploading import Uploader

            self._uploader = Uploader(
                self.files, logger.config.upload_to, lambda: logger.note("upload_failures")
            )
        if self._turns or self.text is not None:
            self._clock_sync = ClockSync(logger.transport, self._channel, self._note_sync)
        if logger.enabled:
            self._handler = TerminationHandler(self._write_under_way)
        atexit.register(self._finish_at_exit)
        _open.append(self)

    @property
    def dir(self) -> Path | None:
        """The run directory on this process's disk; None off the root until the root has named it."""
        return self.logger.dir

    def wait_dir(self, timeout: float = 60.0) -> Path:
        """The run directory, waiting off the root until the root has named it.

        Raises:
            TransportError: the root has not named it within ``timeout`` seconds.
        """
        return self.logger.wait_dir(timeout)

    @property
    def run_id(self) -> str | None:
        """The run's identity over all attempts; None off the root until the root has said it."""
        return self.logger.run_id

    @property
    def is_root(self) -> bool:
        """Whether this process writes."""
        return self.logger.is_root

    @property
    def process(self) -> int:
        """This process's index."""
        return self.logger.process

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return self.logger.processes

    @property
    def next_step(self) -> int:
        """Where a resumed run goes on: the step after the checkpoint's, or the journal's, last; else 0."""
        return self.logger.next_step

    def steps(self, total: int, *, start: int | None = None) -> Iterator[int]:
        """The steps of a loop, ``start`` to ``total − 1``: makes each the active step, and shows progress.

        Does not commit; call :meth:`commit` in the loop.

        Args:
            total: the step that the loop ends before, as in ``range(start, total)``.
            start: the first step; None: :attr:`next_step`, which is 0 in a fresh run.

        Example:
            >>> import sightline as sl, tempfile
            >>> with tempfile.TemporaryDirectory() as folder, sl.start(folder, sinks=[]) as run:
            ...     for step in run.steps(3):
            ...         sl.scalar(loss=1.0 / (step + 1))
            ...         run.commit(step)
        """
        first = self.next_step if start is None else start
        self.logger.event("steps", start=first, total=total)
        for number in range(first, total):
            with (
                active(number),
                self._profiling.step(number),
                TRACER.trace_scope("step", category="step"),
            ):
                yield number

    def commit(self, step: int, stats: Stats | Sequence[Stats] | None = None) -> None:
        """Commits what was recorded since the last commit, at once. See :meth:`StatsLogger.commit`."""
        self.logger.commit(step, stats)

    def flush(self, timeout: float = 60.0) -> bool:
        """Waits until this process's commits, and its own files, are safe. See :meth:`StatsLogger.flush`."""
        deadline = time.monotonic() + timeout
        flushed = self.logger.flush(timeout)
        return self._flush_files(max(1.0, deadline - time.monotonic())) and flushed

    def finish(self, timeout: float | None = None) -> bool:
        """Ends the run on this process. See :meth:`StatsLogger.finish`."""
        return self._end(lambda: self.logger.finish(timeout), upload_s=_UPLOAD_S)

    def _end(self, end_commits: Callable[[], bool], *, upload_s: float) -> bool:
        """Ends the parts in their order, those that have begun; returns whether all of them are done."""
        if self._handler is not None:
            self._handler.restore()
        atexit.unregister(self._finish_at_exit)
        for turn, _ in self._turns:
            turn.give_up()
        if self._hosts is not None:
            self._hosts.stop()
        if self._clock_sync is not None:
            self._clock_sync.end()  # before the last post, after which the root may end at any moment
        try:
            done = end_commits()
        finally:
            if self._clock_sync is not None:
                self._clock_sync.close()
        done = self._profiling.close(_PROFILE_S) and done
        for turn, close in self._turns:
            turn.end(close)
        if self.text is not None:  # last: the others have things to say
            done = self.text.close(_FILES_S) and done
        if self in _open:
            _open.remove(self)
        done = self.files.close(_FILES_S) and done
        if self._uploader is not None:
            done = self._uploader.close(upload_s) and done
        return done

    # What a process has once: that of the first run that is open, and then of the next one.

    def _begin_spans(self) -> None:
        tracing = self.logger.config.tracing
        TRACER._turn(True)
        self._trace = TraceWriter(
            TRACER,
            self.files,
            segment_bytes=int(tracing.segment_mb * 2**20),
            keep_bytes=int(tracing.keep_mb * 2**20),
        )

    def _end_spans(self) -> None:
        assert self._trace is not None
        self._trace.close(_FILES_S)

    def _begin_sessions(self) -> None:
        settings = self.logger.config.tracing.session_tracer
        SESSIONS._turn(True)
        self._sessions = SessionWriter(
            SESSIONS,
            self.files,
            flush_threshold=settings.flush_threshold,
            is_ours=lambda recorder: recorder is tracker(),
            segment_bytes=int(settings.segment_mb * 2**20),
            keep_bytes=int(settings.keep_mb * 2**20),
        )

    def _end_sessions(self) -> None:
        assert self._sessions is not None
        self._sessions.close(_FILES_S)

    def _onto_the_trace(self, record: logging.LogRecord) -> None:
        if self._trace is not None and self._turns[0][0].has_it:  # once, however many runs log it
            _onto_the_trace(record)

    @property
    def captures_output(self) -> bool:
        """Whether what this process prints goes into the files of this run."""
        return self.text is not None and self.text.config.capture_output

    def _finish_at_exit(self) -> None:
        # After an unhandled exception the others will not end in time either: they wait for this process.
        self.finish(FAILED_TIMEOUT_S if getattr(sys, "last_value", None) is not None else None)

    def _note_sync(self, sync: Sync) -> None:
        for writer in (self._trace, self.text):
            if writer is not None:
                writer.note_sync(sync)

    def _place(self) -> Place | None:
        place = self.logger.place
        return None if place is None else Place(*place)

    def _channel(self) -> str | None:
        place = self.logger.place
        return None if place is None else f"{place[1]}.{place[2]}"

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, for ``sl.start(…, state_dict=…)``. See :meth:`StatsLogger.state_dict`."""
        return self.logger.state_dict()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not (isinstance(error, SystemExit) and not error.code):
            what = redacted(f"{type(error).__name__}: {error}")
            log.error("sightline: the run ends by %s", what)
            self.logger.event("failed", error=what[:2000])
            if self.text is not None:
                self.text.keep_uncaught(error)
            self.finish(FAILED_TIMEOUT_S)
        else:
            self.finish()

    def _write_under_way(self) -> None:
        """On SIGTERM: within the grace period."""
        logger = self.logger
        begin = time.monotonic()

        def left_s() -> float:
            return max(1.0, logger.config.grace_s - (time.monotonic() - begin))

        logger.event("sigterm")
        done = logger.flush(logger.config.grace_s, force=True)
        for writer in (self._trace, self._sessions):
            if writer is not None:
                writer.show_open()
        done = self.files.flush(left_s()) and done
        log.warning(
            "sightline: SIGTERM: %s in %.1f s",
            "all is written" if done else "not all is written",
            time.monotonic() - begin,
        )
        self._flush_files(2.0)
        if self._uploader is not None:
            self._uploader.put_rest(left_s())

    def _flush_files(self, timeout: float) -> bool:
        return self.files.flush(timeout) if self.text is None else self.text.flush(timeout)


def _part(name: str, given: Any, before: Any) -> Any:
    """The settings of one part, from what ``start`` takes for it."""
    if isinstance(given, bool):
        return dataclasses.replace(before, enabled=given)
    if isinstance(given, Mapping):
        return getattr(StatsLoggerConfig.from_dict({name: given}), name)
    if given is not None and not isinstance(given, type(before)):
        raise ConfigurationError(
            f"{name}={given!r}: expected True, False, a mapping of settings, as in {{'enabled': False}}, or "
            f"a {type(before).__name__}"
        )
    return given


def start(
    log_dir: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    config: Any = None,
    sinks: Sequence[str | Sink] | None = None,
    aliases: Aliases | None = None,
    naming: NamingMode | None = None,
    namespaces: Sequence[str] | None = None,
    console_format: str | None = None,
    logging: TextLoggingConfig | Mapping[str, Any] | bool | None = None,
    resume: Resume | None = None,
    state_dict: Mapping[str, Any] | None = None,
    role: str = "",
    tracing: PerfTracerConfig | Mapping[str, Any] | bool | None = None,
    monitor_hosts: bool | None = None,
    upload_to: str | None = None,
    logger: StatsLoggerConfig | None = None,
    transport: Transport | None = None,
) -> Run:
    """Starts a run on this process; call it on every process, after ``jax.distributed.initialize``.

    Makes ``log_dir/<name>/`` with the journal ``metrics.jsonl``. The root (process 0) chooses the name, and
    the others adopt it in the background; they need not see the root's disk. With ``resume`` other than
    ``"never"`` they wait here for the root to say where the run goes on.

    On SIGTERM (preemption) what is under way is written, within ``grace_s``; then the signal goes to whoever
    handled it before. Python looks at signals between two bytecodes of the main thread: while that is inside
    a long jitted step or a collective, the writing goes on as always, and this begins after it.

    Args:
        log_dir: where run directories lie (default ``"runs"``).
        name: the run's name; None: from date and time, or with ``resume`` the latest run.
        config: the run's own configuration, for ``run.json``: a dataclass, mapping, pydantic model or
            namespace. Credentials are taken out.
        sinks: names, or sinks of your own (default: the console).
        aliases: other names for keys, ``{"train/reward/": "train-reward/", "train/loss": ["loss"]}``; names
            of ready tables (``"verl"``, ``"trl"``, …), tables of your own, or several of them in a list.
        naming: what a key outside of the conventions (docs/naming.md) does: ``"warn"`` (default) logs it
            once, ``"strict"`` makes the commit raise, ``"off"`` does nothing.
        namespaces: first parts of keys that are welcome too, as in ``("actor", "critic")``.
        console_format: one line a commit, as in ``"step={step} loss={train/loss:.4f}"``.
        logging: what is logged as text, and where to (docs/logging.md): settings, also as a mapping; False:
            no files and no console.
        resume: ``"never"`` (default), ``"allow"`` or ``"must"``.
        state_dict: :meth:`Run.state_dict` from the checkpoint that this run goes on from.
        role: what this process does, as in ``"rollout"``; shown in its trace and its logs.
        tracing: what is traced (docs/timeline.md), rollout sessions included: settings, also as a mapping;
            False: no spans.
        monitor_hosts: whether each commit says what processes and machines use (docs/hosts.md).
        upload_to: a folder or URL where each process puts its files (docs/collecting.md).
        logger: all other settings in one object; the arguments above override it.
        transport: how the processes are connected; None: as ``logger`` says.

    Raises:
        ConfigurationError: several processes without a transport, an unknown sink, a wrong setting.
        RunDirectoryError: the directory is taken, missing, or held by a live run.
        JournalError: its journal is none, or a newer version's.
        TransportError: the other processes cannot be told that the run begins.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", config={"lr": 1e-3}, sinks=[]) as run:
        ...         for step in run.steps(3):
        ...             sl.scalar("train/loss", 1.0 / (step + 1))
        ...             run.commit(step)
        ...     [line["values"] for line in sl.read_journal(run.dir) if line["type"] == "commit"][:2]
        [{'train/loss': 1.0}, {'train/loss': 0.5}]
    """
    settings = logger or StatsLoggerConfig()
    given: dict[str, Any] = {
        "log_dir": None if log_dir is None else Path(log_dir),
        "name": name,
        "sinks": None if sinks is None else (sinks if isinstance(sinks, str) else tuple(sinks)),
        "aliases": aliases,
        "naming": naming,
        "namespaces": namespaces,
        "resume": resume,
        "monitor_hosts": monitor_hosts,
        "upload_to": upload_to,
    }
    if console_format is not None:
        given["console"] = dataclasses.replace(settings.console, format=console_format)
    for part, value in (("logging", logging), ("tracing", tracing)):
        given[part] = _part(part, value, getattr(settings, part))
    settings = dataclasses.replace(
        settings, **{key: value for key, value in given.items() if value is not None}
    )
    made = StatsLogger(
        settings, transport=transport, run_config=config, state_dict=state_dict, announce=False
    )
    with made.announcing() as undoing:
        return Run(made, undoing, role)


def _say_that_others_are_open() -> None:
    global _has_said_so
    if not _has_said_so:
        _has_said_so = True
        log.warning(
            "sightline: run %s of this process is open, and has the spans and sessions of the whole process; "
            "others have them once it ends. If it is over, call its finish() (said once)",
            _open[0].dir if _open else None,
        )


def _onto_the_trace(record: logging.LogRecord) -> None:
    if getattr(_showing, "is_on", False):  # an argument whose text logs
        return
    _showing.is_on = True
    try:
        _as_instant(record)
    finally:
        _showing.is_on = False


def _as_instant(record: logging.LogRecord) -> None:
    message = message_of(record.msg, record.args)[:1000]
    TRACER.instant(record.levelname, category="log", logger=record.name, message=message)
