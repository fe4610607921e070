"""Runs the self-test of one process apart, so that neither an abort of JAX nor a hang is its own."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from sightline.selftest.result import Result

_SPARE_S = 5.0  # beyond the test's own time, until it is killed
_LAST_BYTES = 1 << 16
_MOST_CAUSE = 400


@dataclass
class Outcome:
    """How the test of this process went.

    Attributes:
        process, processes: its place; None where it was never known.
        results: on process 0 of all processes, elsewhere what failed here.
        passed: whether all is well, on all processes as far as process 0 knows.
        seconds: that it took.
    """

    process: int | None = None
    processes: int | None = None
    results: list[Result] = field(default_factory=list)
    passed: bool = False
    seconds: float = 0.0


def supervise(
    options: Mapping[str, Any], show: Callable[[Result], None], *, shows_output: bool = False
) -> Outcome:
    """Runs the test of this process, for ``options["seconds"]`` and a few more at most.

    Args:
        options: ``seconds``, ``deadline_s``, ``log_dir``, ``coordinator``, ``num_processes``, ``process_id``.
        show: told of each result as it comes.
        shows_output: whether what JAX and others print goes to stderr; else a crash's cause is shown.
    """
    began = time.monotonic()
    outcome = Outcome(process=options["process_id"], processes=options["num_processes"])
    under_way, folder, has_ended = "connect", "", False
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as kept:
        printed = sys.stderr.fileno() if shows_output else kept.fileno()
        child = subprocess.Popen(
            [sys.executable, "-m", "sightline.selftest.worker", str(writing), json.dumps(dict(options))],
            stdin=subprocess.PIPE, stdout=printed, stderr=printed, pass_fds=[writing],
            env={"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ},  # others may have the devices too
        )  # fmt: skip
        os.close(writing)
        try:
            lines = _lines(reading)
            end = began + options["seconds"] + _SPARE_S
            while (line := _next(lines, end)) is not None:
                event = line.pop("event")
                if event == "begin":
                    under_way = line["check"]
                elif event == "placed":
                    outcome.process, outcome.processes = line["process"], line["processes"]
                elif event == "folder":
                    folder = line["path"]
                elif event == "result":
                    if outcome.process is not None:
                        line["process"] = outcome.process
                    result = Result(**line)
                    outcome.results.append(result)
                    show(result)
                elif event == "end":
                    outcome.passed, has_ended = bool(line["passed"]), True
                    _acknowledge(child)
            code = _end(child, max(1.0, end - time.monotonic()))
            failed = any(each.status == "FAIL" for each in outcome.results)
            if code != 0 and not (has_ended and (failed or outcome.process != 0)):
                result = _cut_off(under_way, code, kept, outcome, options)
                outcome.results.append(result)
                show(result)
            outcome.passed = outcome.passed and code == 0 and has_ended
        finally:
            _end(child, 0.0)
            if folder:  # it may have ended without removing it
                shutil.rmtree(folder, ignore_errors=True)
    outcome.seconds = time.monotonic() - began
    return outcome


def _lines(pipe: int) -> queue.SimpleQueue[dict[str, Any] | None]:
    """What the child says; None when it has ended."""
    found: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def read() -> None:
        with os.fdopen(pipe, "r", errors="replace") as lines:
            for line in lines:
                try:
                    found.put(json.loads(line))
                except ValueError:
                    continue  # cut by its death
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    return found


def _next(lines: queue.SimpleQueue[dict[str, Any] | None], end: float) -> dict[str, Any] | None:
    try:
        return lines.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
        return None


def _acknowledge(child: subprocess.Popen[bytes]) -> None:
    try:
        assert child.stdin is not None
        child.stdin.write(b"shown\n")
        child.stdin.flush()
    except OSError:
        pass  # it has ended


def _end(child: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Waits for the child's end, and kills it after that; returns its exit code, None if it was killed."""
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return None


def _cut_off(
    check: str, code: int | None, kept: IO[bytes], outcome: Outcome, options: Mapping[str, Any]
) -> Result:
    """What is said of a test that did not come to its end."""
    process = outcome.process if outcome.process is not None else -1
    if code is None:
        return Result(
            check, "FAIL", f"not done within {options['seconds'] + _SPARE_S:.0f} s",
            "it waits in JAX for a process that is gone, or the hosts are overloaded",
            "look at what the other processes say; then --seconds 180", process,
        )  # fmt: skip
    cause = _cause(kept)
    if code == -signal.SIGABRT and check != "connect":
        why = "process 0, the coordinator, is gone" if process != 0 else "another process is gone"
        return Result(check, "FAIL", f"JAX has ended this process (abort): {cause}", why,
                      "look at the output of the others", process)  # fmt: skip
    if code == -signal.SIGABRT:
        return Result(check, "FAIL", f"JAX has ended this process (abort): {cause}",
                      "a process has gone between saying hello and JAX's own connecting",
                      "look at the output of the others", process)  # fmt: skip
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    return Result(check, "FAIL", f"it ended {how}: {cause}", "", "--debug shows what it printed", process)


def _cause(kept: IO[bytes]) -> str:
    """What a crash has printed, in a line."""
    kept.seek(0, os.SEEK_END)
    kept.seek(max(0, kept.tell() - _LAST_BYTES))
    text = kept.read().decode(errors="replace")
    if "absl::Status:" in text:
        return text.rpartition("absl::Status:")[2].splitlines()[0].strip()[:_MOST_CAUSE]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("    @")]
    return lines[-1][:_MOST_CAUSE] if lines else "it printed nothing"
