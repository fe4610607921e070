"""`sightline logs`: the text logs of all processes of a run, as one."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import orjson

from sightline.cli.cut_journals import is_written
from sightline.cli.frame import end, say_missing, say_next, say_notes, say_problems
from sightline.cli.next_steps import bringing, next_steps
from sightline.errors import ConfigurationError, SightlineError
from sightline.support.wording import files_missing, ranges_of

if TYPE_CHECKING:
    from sightline.run_logs.choosing import Choice
    from sightline.run_logs.folding import Folder
    from sightline.run_logs.merging import LogLine, RunLogs
    from sightline.run_logs.showing import Shower


@click.command(short_help="What did all processes say, in order?")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("-f", "--follow", is_flag=True, help="Show what comes, until the run is finished.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="N", help="Begin with the last N lines.")
@click.option("--level", metavar="LEVEL", help="The least one, also of components: info,rollout=debug.")
@click.option("--process", metavar="RANGES", help="Of these processes, as in 0,3-5.")
@click.option("--attempt", metavar="RANGES", help="Of these attempts, as in 2 or 1-3.")
@click.option(
    "--since", metavar="TIME", help="A duration before now (10m), a clock time (14:30), or an ISO time."
)
@click.option("--step", "steps", metavar="RANGES", help="Of these steps, as in 40-60.")
@click.option("--grep", metavar="REGEX", help="Lines in which it is found; with fields and tracebacks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with `corrected_time`.")
@click.option("--no-fold", is_flag=True, help="Show the same line of many processes as many lines.")
def logs(
    run_dirs: tuple[Path, ...],
    follow: bool,
    tail: int | None,
    level: str | None,
    process: str | None,
    attempt: str | None,
    since: str | None,
    steps: str | None,
    grep: str | None,
    as_json: bool,
    no_fold: bool,
) -> None:
    """Show the text logs of all processes of a run, merged by corrected time.

    Clocks are aligned with process 0's. Events of the journal (stalls, failures, the end) are lines, too.
    Give the directories of all hosts where there is no shared disk. Lines that many processes say within two
    seconds are one: ×64 processes, or ×3 processes 0,4-5.

    \b
      sightline logs runs/latest
      sightline logs runs/latest --follow -n 100
      sightline logs runs/latest --level warning --process 0,3-5 --since 10m
      sightline logs host0/runs/grpo host1/runs/grpo --step 40-60 --grep 'reward|kl'
      sightline logs runs/latest --json | jq -r .message

    Exit code 0: all of it was read; 1: lines were damaged, and left out; 2: nothing could be shown; 3: with
    --json, files of some processes are not here, which `missing` of the last line names; 130: Ctrl-C.
    """
    from sightline.run_logs import choosing
    from sightline.run_logs.merging import RunLogs

    choice = choosing.Choice(
        levels=choosing.levels(level) if level else {},
        processes=choosing.Ranges.parse(process, "--process") if process else None,
        attempts=choosing.Ranges.parse(attempt, "--attempt") if attempt else None,
        steps=choosing.Ranges.parse(steps, "--step") if steps else None,
        since_ns=choosing.since(since) if since else None,
        pattern=choosing.pattern(grep) if grep else None,
    )
    found = RunLogs(run_dirs, choice)
    _check_whose(found, choice)
    printer = _Printer(found, as_json=as_json, folds=not no_fold)
    _print(found, printer, follow, tail)
    _end(found, printer, choice, run_dirs, since)


def _check_whose(found: RunLogs, choice: Choice) -> None:
    """Refuses processes and attempts that no header knows of.

    Raises:
        ConfigurationError: none of them is there.
    """
    if not found.sizes:
        return
    of, attempts = max(found.sizes.values()), sorted(found.sizes)
    if choice.processes is not None and not any(each in choice.processes for each in range(of)):
        there = f"processes 0 to {of - 1}" if of > 1 else "process 0 only"
        raise ConfigurationError(f"--process: none of these is in the run, which has {there}")
    if choice.attempts is not None and not any(each in choice.attempts for each in attempts):
        raise ConfigurationError(f"--attempt: none of these is in the run, which has {ranges_of(attempts)}")


def _has_crashed(run_dir: Path) -> str:
    """What its log cannot say itself; empty if that is not so, or unknown."""
    from sightline.runs.run_state import state_of

    try:
        state = state_of(run_dir)
    except (SightlineError, OSError):
        return ""
    return state.reason if state.state == "crashed" else ""


class _Printer:
    """Prints lines to stdout, folded for people."""

    def __init__(self, found: RunLogs, *, as_json: bool, folds: bool) -> None:
        from sightline.run_logs.folding import Folder
        from sightline.run_logs.showing import Shower

        self.count = 0
        self.as_json = as_json
        self._folder: Folder | None = Folder() if folds and not as_json else None
        self._shower: Shower = Shower(sys.stdout, lambda: found.sizes)

    def put(self, lines: Iterable[LogLine]) -> None:
        for line in lines:
            self.count += 1
            if self.as_json:
                _write(orjson.dumps({**line.record, "corrected_time": line.time_ns / 1e9}).decode() + "\n")
            elif self._folder is None:
                _write(self._shower.shown(_alone(line)))
            else:
                for folded in self._folder.put(line):
                    _write(self._shower.shown(folded))

    def flush(self) -> None:
        if self._folder is not None:
            for folded in self._folder.flush():
                _write(self._shower.shown(folded))
        sys.stdout.flush()


def _print(found: RunLogs, printer: _Printer, follow: bool, tail: int | None) -> None:
    if tail is not None:
        found.skip_to_last(tail)
    lines: Iterator[LogLine] = found.lines(is_live=follow)
    if tail is not None:
        lines = iter(deque(lines, maxlen=tail))
    printer.put(lines)
    printer.flush()
    if follow:
        from sightline.run_logs.following import Follower

        follower = Follower(found, lambda text: say_notes([text]))
        for batch in follower.batches():
            printer.put(batch)
            if batch:
                printer.flush()


def _end(
    found: RunLogs, printer: _Printer, choice: Choice, run_dirs: Sequence[Path], since: str | None
) -> NoReturn:
    """What is not here and could not be read, on stderr; and the exit code."""
    missing = found.missing()
    damaged = found.damage.said()
    say_problems(damaged)
    if not is_written(run_dirs):
        say_notes(found.damage.notes())
    absent = _absent(found, missing, run_dirs[0])
    say_missing(absent)
    if not printer.count and not found.damage:
        why = f"; --since {since} counts from now" if since and choice.since_ns is not None else ""
        what = "there is no line" if choice.takes_all else "no line fits what was asked for"
        say_notes([f"{what}{why}"])
    if crashed := _has_crashed(run_dirs[0]):
        say_notes([f"the run has crashed: {crashed}"])
    collect = bringing(run_dirs[0], missing)
    say_next(*collect, *next_steps(*run_dirs, but="logs")[: 1 if collect else 2])
    if missing and printer.as_json:
        processes = {str(each): which for each, which in missing.items()}
        last = {"type": "missing", "missing": absent, "processes": processes}
        _write(orjson.dumps(last).decode() + "\n")
    end(damaged, missing, as_json=printer.as_json)


def _absent(found: RunLogs, missing: Mapping[int, Sequence[int]], run_dir: Path) -> list[str]:
    """Whose files are not here, a line for each attempt, a few of them."""
    return [
        line
        for attempt, processes in itertools.islice(missing.items(), 5)
        for line in files_missing(
            run_dir, max(found.sizes.get(attempt, 0), max(processes) + 1), processes,
            attempt=attempt if len(found.sizes) > 1 else None,
        )
    ]  # fmt: skip


def _alone(line: LogLine) -> Any:
    from sightline.run_logs.folding import Folded

    return Folded(line, [line.process])


def _write(text: str) -> None:
    """To stdout, whatever its encoding can show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
