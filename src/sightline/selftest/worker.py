"""Run as a program by the supervisor: the self-test itself, which JAX may abort or hang in at any moment.

Results go as lines of JSON to a pipe; standard input ends when the supervisor has gone, and so does this.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline.errors import TransportError
from sightline.selftest.result import Failed, Result


class _Report:
    """The way to the supervisor."""

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "w", buffering=1)
        self._acknowledged = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "shown":
                self._acknowledged.set()
        os._exit(1)  # the supervisor has gone

    def say(self, event: str, **fields: Any) -> None:
        self._pipe.write(json.dumps({"event": event, **fields}) + "\n")

    def result(self, result: Result) -> None:
        self.say("result", **result.plain())

    def wait_shown(self) -> None:
        """Waits until the supervisor has shown what it was told."""
        self._acknowledged.wait(5.0)


def main() -> None:
    """Connects, makes the checks, and ends without JAX's barrier."""
    pipe, options = int(sys.argv[1]), json.loads(sys.argv[2])
    report = _Report(pipe)
    began = time.monotonic()
    deadline = began + options["seconds"]
    check = "connect"

    def begin(name: str) -> None:
        nonlocal check
        check = name
        report.say("begin", check=name)

    passed = False
    try:
        begin("connect")
        passed = _test(options, report, begin, lambda: check, began, deadline)
    except Failed as failed:
        report.result(Result(check, "FAIL", failed.what, failed.why, failed.fix))
    except TransportError as error:
        report.result(
            Result(
                check, "FAIL", "process 0, which holds the store of all, is gone or cannot be reached",
                str(error).splitlines()[0][:400], "look at what process 0 says",
            )
        )  # fmt: skip
    except BaseException as error:  # noqa: BLE001 - said, and the process ends
        import traceback

        traceback.print_exc()
        report.result(
            Result(check, "FAIL", f"{type(error).__name__}: {error}"[:800], "", "--debug shows where")
        )
    report.say("end", passed=passed)
    report.wait_shown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if passed else 1)  # at its end JAX would wait for processes that are gone


def _test(
    options: dict[str, Any],
    report: _Report,
    begin: Callable[[str], None],
    check: Callable[[], str],
    began: float,
    deadline: float,
) -> bool:
    from sightline.selftest.connecting import connect
    from sightline.selftest.meeting import Meeting
    from sightline.selftest.pulse import Pulse

    def placed(process: int, processes: int) -> None:
        report.say("placed", process=process, processes=processes)

    connection = connect(options, began + options["seconds"] / 2, placed)
    transport = connection.transport
    if transport.is_root:
        report.result(Result("connect", *connection.said(time.monotonic() - began)))  # type: ignore[arg-type]

    def say(result: Result) -> None:
        if transport.is_root or result.status == "FAIL":
            report.result(result)

    from sightline.selftest.checks import Checks

    meeting = Meeting(transport, deadline)
    checks = Checks(meeting, Path(options["log_dir"]), options["deadline_s"], say)

    def lost(gone: list[int]) -> None:
        shown = f"process{'es' if len(gone) > 1 else ''} {', '.join(map(str, gone[:8]))}"
        here = f"it waits in JAX for {shown}, which {'are' if len(gone) > 1 else 'is'} gone"
        what = f"{shown} stopped answering, while all wait for it in JAX" if transport.is_root else here
        report.result(
            Result(check(), "FAIL", what, "killed, crashed, or hanging", f"look at the output of {shown}")
        )
        report.say("end", passed=False)
        report.wait_shown()
        os._exit(1)

    def begin_next(name: str) -> None:
        begin(name)
        if checks.folder is not None:
            report.say("folder", path=str(checks.folder))

    pulse = Pulse(transport, lambda: checks.is_bound, meeting.gone, lost)
    try:
        checks.run(begin_next)
    finally:
        pulse.stop()
    checks.finish()
    begin("verdict")
    passed = checks.passed
    if transport.is_root:
        report.say("end", passed=passed)
        report.wait_shown()  # before the others end: a launcher would stop this one then
        meeting.tell("verdict", {"passed": passed})
        meeting.meet("bye", {}, most=5.0)  # their store goes with this process
    else:
        passed = bool(meeting.hear("verdict", options["seconds"])["passed"]) and passed
        meeting.meet("bye", {}, most=2.0)
    checks.remove()  # only now: process 0 has read what lies there, where the disk is shared
    return passed


if __name__ == "__main__":
    main()
