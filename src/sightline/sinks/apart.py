"""A sink's SDK in a process of its own, so that nothing of it reaches the training process.

SDKs replace ``sys.exit``, wait for the network in exit hooks, keep threads and locks that a fork breaks, and
ask for logins. In a child process none of that matters, a call that hangs can be ended, and what was handed
over is stored even if training is killed: the child's pipe ends with its parent, and then it closes the sink.

One JSON line is one call, answered by one line. The child's output goes to a log file, which it holds with a
lock as long as it, or what its SDK has started, lives: so the next attempt waits until all is stored.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from sightline.errors import ConfigurationError
from sightline.sinks.base import ApartError, Record, SinkRun, StoringSink
from sightline.sinks.extras import need
from sightline.sinks.lineage import Rewind

log = logging.getLogger("sightline")

_WRITE_S = 120.0
_FORK_WAITS_S = 5.0  # for a child that is being started, which takes milliseconds
_ENDS_S = 10.0  # after its close, for what the SDK has started
_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from sightline.sinks.apart import serve
serve()
"""


class ApartSink:
    """A sink that stores, whose work is done in a child process.

    Args:
        maker: ``"module:name"`` of what makes the :class:`sightline.StoringSink` there, of the settings.
        config: a dataclass of settings. What is called ``dir`` in it is made absolute here, since the child
            may begin in another directory.
        open_s: seconds that its ``open`` may take, without waiting for the child of an earlier attempt.
        close_s: seconds that its ``close`` may take, in this attempt or after it.
        without: environment variables that the child must not have.

    Attributes:
        settings: as plain data, for the next child.
        place: where its files are; None before it was opened.
    """

    name: str
    rewind: Rewind
    stores_at_close: bool

    def __init__(
        self,
        maker: str,
        config: Any,
        *,
        open_s: float,
        close_s: float,
        without: Sequence[str] = (),
    ) -> None:
        self.settings = asdict(config)
        if self.settings.get("dir"):
            self.settings["dir"] = os.path.abspath(self.settings["dir"])
        self.place: Path | None = None
        self._maker = maker
        self._open_s = open_s
        self._close_s = close_s
        self._without = without
        self._child: Child | None = None
        self._kept: dict[str, Any] = {}
        self._said: set[str] = set()

    def need(self, module: str, install: str, *, otherwise: str = "") -> None:
        """Raises ConfigurationError unless the child will be able to import a module."""
        need(self.name, module, install, otherwise=otherwise)
        if not sys.executable:
            raise ConfigurationError(
                f"sink {self.name!r} needs sys.executable, with which it starts a Python of its own"
            )

    def open(self, run: SinkRun) -> int | None:
        """Opens the sink in a new child; the one before is ended, whatever it was doing."""
        self._end()
        log_file = run.dir / self.name / "sightline.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self.place = Path(self.settings.get("dir") or run.dir)
        self._child = Child(self._maker, self.settings, log_file, self._close_s, self._without)
        self._kept = run.kept
        plain = {**asdict(run), "dir": str(run.dir)}
        stored = self._call("open", plain, timeout=self._open_s + self._close_s + _ENDS_S)
        return None if stored is None else int(stored)

    def write(self, records: Sequence[Record]) -> None:
        """Hands over records."""
        self._call("write", records, timeout=_WRITE_S)

    def close(self) -> None:
        """Closes the sink, and ends the child."""
        if self._child is not None:
            try:
                self._call("close", timeout=self._close_s + _ENDS_S)
            finally:
                self._end(_ENDS_S)

    def give_up(self) -> None:
        """Ends the child in the middle of ``open``, which then raises; called from another thread."""
        child = self._child
        if child is not None:
            child.kill()

    def _call(self, method: str, *arguments: Any, timeout: float) -> Any:
        if self._child is None:
            raise ConnectionError(f"{self.name} is not open")
        try:
            answer = self._child.call(method, *arguments, timeout=timeout)
            self._hear(answer)
            if "error" in answer:
                raise ApartError(f"{answer['error']} (see {self._child.log_file})")
        except (OSError, RuntimeError):  # the next thing is to open it again, in another
            self._end()
            raise
        return answer["result"]

    def _hear(self, answer: Mapping[str, Any]) -> None:
        if "kept" in answer:
            self._kept.clear()
            self._kept.update(answer["kept"])
        for level, text in answer["log"]:
            if text not in self._said:  # by a child before this one
                self._said.add(text)
                log.log(level, "%s", text)

    def _end(self, timeout: float = 0.0) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end(timeout)


class Child:
    """The child process, as its parent sees it. Used by one thread.

    Args:
        maker, settings: as for :class:`ApartSink`.
        log_file: for whatever it prints.
        close_s: seconds that it has, when its parent is gone.
        without: environment variables that it must not have.

    Attributes:
        log_file: as given.
    """

    def __init__(
        self, maker: str, settings: Mapping[str, Any], log_file: Path, close_s: float, without: Sequence[str]
    ) -> None:
        path = orjson.dumps([entry or os.getcwd() for entry in sys.path]).decode()
        self.log_file = log_file
        with _no_fork:
            self._process = subprocess.Popen(
                [sys.executable, "-Wignore", "-c", _CODE, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={name: value for name, value in os.environ.items() if name not in without},
                start_new_session=True,  # Ctrl-C is for training
            )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._requests, self._replies = self._process.stdin, self._process.stdout
            _children.add(self)
        for pipe in (self._requests, self._replies):
            os.set_blocking(pipe.fileno(), False)
        self._unread = b""
        self._send([maker, settings, str(log_file), close_s], time.monotonic() + _WRITE_S)

    def call(self, method: str, *arguments: Any, timeout: float) -> Any:
        """Calls a method of the sink there.

        Returns:
            What it returned (``result``) or raised (``error``), what it logged (``log``), and what the sink
            keeps, if that has changed (``kept``).

        Raises:
            TimeoutError, ConnectionError: no answer; the child is of no use any more.
        """
        deadline = time.monotonic() + timeout
        try:
            self._send([method, *arguments], deadline)
            return self._answer(deadline)
        except TimeoutError:
            raise TimeoutError(
                f"{method} has not returned within {timeout:g} s (see {self.log_file})"
            ) from None
        except ConnectionError:
            raise ConnectionError(f"the process that does {method} is gone (see {self.log_file})") from None

    def end(self, timeout: float) -> None:
        """Closes its pipe, at which it ends; kills it after a timeout."""
        self._requests.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._replies.close()
        _children.discard(self)

    def kill(self) -> None:
        """Ends it at once; a call under way raises."""
        self._process.kill()

    def leave_to_parent(self) -> None:
        """In a forked child of the training process: the pipes and the process are not ours."""
        self._requests.close()
        self._replies.close()
        self._process.returncode = 0  # or Popen would warn that it still runs

    def _send(self, request: Any, deadline: float) -> None:
        rest = memoryview(orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE))
        while rest:
            _wait(self._requests.fileno(), select.POLLOUT, deadline)
            with suppress(BlockingIOError):
                rest = rest[os.write(self._requests.fileno(), rest) :]

    def _answer(self, deadline: float) -> Any:
        while b"\n" not in self._unread:
            _wait(self._replies.fileno(), select.POLLIN, deadline)
            with suppress(BlockingIOError):
                data = os.read(self._replies.fileno(), 1 << 16)
                if not data:
                    raise ConnectionResetError
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return orjson.loads(line)


_children: weakref.WeakSet[Child] = weakref.WeakSet()

# A data loader that is forked while a child is being started would keep open, as long as it lives, the pipe
# by whose end its start is known to have succeeded.
_no_fork = threading.Lock()
_forking = threading.local()


def _before_fork() -> None:
    _forking.holds = _no_fork.acquire(timeout=_FORK_WAITS_S)


def _after_fork_in_parent() -> None:
    if _forking.holds:
        _no_fork.release()


def _after_fork_in_child() -> None:
    global _no_fork
    _no_fork = threading.Lock()
    for child in list(_children):
        child.leave_to_parent()
    _children.clear()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)


def _wait(file: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(file, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1e3):
        raise TimeoutError


# --- in the child ------------------------------------------------------------------------------------------


def serve() -> None:
    """What the child runs: calls of the sink, until its parent closes the pipe or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # for training, which says when it is over
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    lines = _lines(os.dup(0), parent)
    replies = os.dup(1)
    maker, settings, log_file, close_s = orjson.loads(next(lines))
    threading.Thread(target=_end_after, args=(parent, close_s + _ENDS_S), daemon=True).start()
    _use_as_output(log_file)
    messages: list[tuple[int, str]] = []
    log.addHandler(_Collecting(messages))
    sink: StoringSink | None = None
    kept: dict[str, Any] = {}
    known = b""  # to the parent, of what is kept
    for line in lines:
        method, *arguments = orjson.loads(line)
        answer: dict[str, Any] = {}
        try:
            if sink is None:
                module, _, name = maker.partition(":")
                sink = getattr(import_module(module), name)(settings)
            if method == "open":
                run = SinkRun(**{**arguments[0], "dir": Path(arguments[0]["dir"])})
                arguments, kept = [run], run.kept
            answer["result"] = getattr(sink, method)(*arguments)
            if known != (known := orjson.dumps(kept, default=str)):
                answer["kept"] = kept
        except Exception as error:  # noqa: BLE001 - for the parent to deal with
            traceback.print_exc()
            answer["error"] = f"{type(error).__name__}: {error}"
        answer["log"] = messages[:]
        messages.clear()
        try:
            _write(replies, orjson.dumps(answer, default=str, option=orjson.OPT_APPEND_NEWLINE))
        except BrokenPipeError:
            break
        if method == "close":
            sink = None
    _end(sink)


def _end(sink: StoringSink | None) -> None:
    """Ends the process; a sink that training has not closed is closed by ``abandon``, if it has that, for it
    was cut off."""
    try:
        if sink is not None:
            getattr(sink, "abandon", sink.close)()
    except BaseException:  # noqa: BLE001 - nobody is left to hear of it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without the SDK's exit hooks


def _end_after(parent: int, seconds: float) -> None:
    """Ends the process so long after its parent, whatever call of the SDK it hangs in."""
    while os.getppid() == parent:
        time.sleep(1)
    time.sleep(seconds)
    os._exit(1)


def _lines(file: int, parent: int) -> Iterator[bytes]:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    unread = b""
    while True:
        if not poll.poll(1000):
            if os.getppid() != parent:  # somebody else still has the pipe
                return
            continue
        data = os.read(file, 1 << 20)
        if not data:
            return
        *whole, unread = (unread + data).split(b"\n")
        yield from whole


def _use_as_output(log_file: str) -> None:
    """Also what the SDK starts has this file as its output, and so shares the lock on it."""
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with suppress(OSError):  # file systems without locks
        fcntl.flock(2, fcntl.LOCK_EX)


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


class _Collecting(logging.Handler):
    """Keeps what is logged, for the parent to log."""

    def __init__(self, messages: list[tuple[int, str]]) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append((record.levelno, record.getMessage()))
