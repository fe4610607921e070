"""`sightline selftest`: try all that sightline relies on, on every process of a job."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from sightline.cli.frame import FOUND_WRONG, say_next

if TYPE_CHECKING:
    from sightline.selftest.result import Result
    from sightline.selftest.supervisor import Outcome

_CHECKS = ("connect", "transport", "files", "clocks", "exactness", "device", "stall")
_MARKS = {status: (status, status) for status in ("PASS", "FAIL", "SKIP")}
_LEVELS = {"PASS": "ok", "FAIL": "wrong", "SKIP": "skipped"}


@click.command(short_help="Does all that sightline relies on work, on every process?")
@click.option(
    "--seconds",
    type=click.FloatRange(5, 3600),
    default=60,
    show_default=True,
    help="How long it may take; the others have half of it to come.",
)
@click.option(
    "--log-dir",
    type=click.Path(path_type=Path),
    default="runs",
    show_default=True,
    help="Where runs would be written; what is written there is removed.",
)
@click.option("--coordinator", metavar="HOST:PORT", help="Of process 0.  [default: as JAX finds it]")
@click.option("--num-processes", type=click.IntRange(1), metavar="N", help="[default: as JAX finds it]")
@click.option("--process-id", type=click.IntRange(0), metavar="I", help="[default: as JAX finds it]")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def selftest(
    seconds: float,
    log_dir: Path,
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    as_json: bool,
) -> None:
    """Try all that sightline relies on, on every process of a job, without training.

    Run it as the job is run, on every worker, with the job's own launcher:

    \b
      sightline selftest
      sightline launch -n 4 -- sightline selftest
      srun --ntasks-per-node=1 sightline selftest
      sightline selftest --coordinator 10.0.0.1:8476 --num-processes 16 --process-id $RANK

    Tried are the way to process 0 and back, the disk under the log directory, the clocks, the exactness of
    what is committed (against a reference that JAX gathers), device values that are given away at once, and a
    process that holds back for some seconds, for which nobody may wait. Process 0 prints a line for each;
    the others print, with their number, what fails on them. A process that never comes is named.

    Exit code 0: all is well, on all processes; 1: something failed.
    """
    from sightline.selftest.supervisor import supervise

    if process_id is not None and num_processes is not None and process_id >= num_processes:
        raise click.UsageError(
            f"--process-id {process_id}: expected 0 to {num_processes - 1}, by --num-processes"
        )
    signal.signal(signal.SIGTERM, _stop)
    shown = _Shown(as_json)
    outcome = supervise(
        {
            "seconds": seconds,
            "deadline_s": max(1.0, min(5.0, seconds / 15)),
            "log_dir": str(log_dir),
            "coordinator": coordinator,
            "num_processes": num_processes,
            "process_id": process_id,
        },
        shown.show,
        shows_output=bool(click.get_current_context().meta.get("sightline.debug")),
    )
    shown.end(outcome)
    sys.exit(0 if outcome.passed else FOUND_WRONG)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """A launcher stops all when one has failed: what was shown so far stands."""
    click.echo(
        "sightline selftest: stopped by SIGTERM: another process failed first, or the job ends", err=True
    )
    sys.exit(FOUND_WRONG)


class _Shown:
    """Prints results as they come, or all at the end as JSON."""

    def __init__(self, as_json: bool) -> None:
        from sightline.cli.checks import Sheet

        self._as_json = as_json
        self._sheet = Sheet(max(map(len, _CHECKS)), _MARKS, {s: _LEVELS[s] for s in _MARKS})

    def show(self, result: Result) -> None:
        if self._as_json:
            return
        if result.process == 0:
            self._sheet.line(result.status, result.check, result.what, result.why, result.fix)
        else:
            who = f"process {result.process}" if result.process > 0 else "this process"
            self._sheet.line(result.status, result.check, f"{who}: {result.what}", result.why, result.fix)

    def end(self, outcome: Outcome) -> None:
        counts = Counter(result.status for result in outcome.results)
        if self._as_json:
            if outcome.process == 0 or counts["FAIL"]:
                said = {
                    "passed": outcome.passed,
                    "process": outcome.process,
                    "processes": outcome.processes,
                    "seconds": round(outcome.seconds, 3),
                    "checks": [result.plain() for result in outcome.results],
                }
                click.echo(json.dumps(said))
        elif outcome.process == 0:
            word = "all is well" if outcome.passed else f"{counts['FAIL']} failed"
            self._sheet.say(
                f"{word}: {counts['PASS']} passed, {counts['SKIP']} skipped, {outcome.seconds:.0f} s"
            )
        elif not outcome.passed and not counts["FAIL"]:
            click.echo(
                f"sightline selftest: nothing failed on process {outcome.process}; process 0 says what did",
                err=True,
            )
        if outcome.process == 0:
            say_next(
                "sightline doctor runs/latest  # once a run is there"
                if outcome.passed
                else "sightline doctor"
            )
