"""`sightline trace summary` and `diff`: where the time of a run goes, as tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sightline.cli.frame import INCOMPLETE, say_next
from sightline.cli.showing import console, seconds, shown
from sightline.cli.trace_sessions import sessions_as_data, show_sessions
from sightline.errors import RunDirectoryError
from sightline.wording import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sightline.analysis import Analysis, Slow, Stage, StepTimes
    from sightline.session_analysis import SessionAnalysis
    from sightline.timeline.merging import Timeline
    from sightline.timeline.report import Report

_ROWS = 15
_WIDE = 100  # cells, from which on all columns of stages are shown
_MATTERS = 0.01  # of a step: less is not worth a line
_NO_STEPS = (
    "there are no steps in it: loop over `for step in run.steps(n):`, and put the parts of a step into "
    "`with sl.trace_scope(name):` or `with sl.record_timing(name):`"
)


@click.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("--steps", "first_last", metavar="FIRST-LAST", help="Only these steps, as in 10-50.")
@click.option(
    "--slowest", default=5, type=click.IntRange(0), show_default=True, metavar="N", help="Sessions to name."
)
@click.option("--json", "as_json", is_flag=True, help="Everything, for other programs.")
def summary(run_dirs: tuple[Path, ...], first_last: str | None, slowest: int, as_json: bool) -> None:
    """Show where a run's time went: stages, slow processes, what each step waited for, rollout sessions.

    Shares are of the steps' wall time, and add up to 100 % with `other`. A stage's own time is its time
    without the stages in it. Of rollout sessions the shares are those of their latency; phases may overlap,
    and `waiting` is the time in none. Give the directories of all hosts where there is no shared disk.

    \b
      sightline trace summary runs/latest
      sightline trace summary runs/latest --steps 10-50 --slowest 20 --json

    Exit code 0: all was read; 1: something was damaged or missing; 2: nothing was read; 3: with --json, files
    of some processes are not here, which `missing` names.
    """
    from sightline.analysis import analyse

    steps = _range(first_last)
    sessions: SessionAnalysis | None
    try:
        found, timeline = analysed(run_dirs, steps)
    except RunDirectoryError as error:
        alone = _sessions_alone(run_dirs, steps, slowest)
        if alone is None:
            raise
        found, (sessions, report) = analyse(()), alone
        report.problems.append(f"{error}; so only the sessions are told")
    else:
        report = timeline.report
        sessions = analysed_sessions(timeline, steps, slowest)
    if not found.steps and report.processes and (steps is not None or sessions is None):
        report.problems.append(_no_steps(steps))
    if as_json:
        data = {
            **_plain(found),
            "sessions": sessions_as_data(sessions),
            "missing": report.missing,
            "problems": report.problems,
        }
        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    else:
        out = console()
        _show(found, out)
        if sessions is not None:
            show_sessions(sessions, out)
        if report.processes:
            say_next(f"sightline trace view {run_dirs[0]}")
        else:
            say_next(f"sightline doctor {run_dirs[0]}")
    for line in report.problems:
        click.echo(f"problem: {line}", err=True)
    sys.exit(INCOMPLETE if as_json and report.missing else 1 if report.problems else 0)


@click.command()
@click.argument("before", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("after", metavar="RUN_B", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, for other programs.")
def diff(before: Path, after: Path, as_json: bool) -> None:
    """Compare where the time of two runs went, a step of each.

    \b
      sightline trace diff runs/before runs/after

    Exit codes as of `summary`. With --json, `missing` names processes of which the files are not here.
    """
    from rich.table import Table

    from sightline.analysis import differences

    (first, some), (second, more) = analysed((before,)), analysed((after,))
    for found_steps, timeline in ((first.steps, some), (second.steps, more)):
        if not found_steps:
            timeline.report.problems.append(_no_steps(None))
    found = differences(first, second)
    problems = [*some.report.problems, *more.report.problems]
    missing = [*some.report.missing, *more.report.missing]
    if as_json:
        data = {
            "stages": [{**each._asdict(), "change_s": each.change_s} for each in found],
            "missing": missing,
            "problems": problems,
        }
        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    else:
        table = Table("stage", title=f"own time a step: {before} → {after}")
        for heading in ("before", "after", "change"):
            table.add_column(heading, justify="right")
        for each in found:
            change = f"{each.change_s * 1e3:+.1f} ms"
            table.add_row(shown(each.name), seconds(each.before_s), seconds(each.after_s), change)
        console().print(table)
    for line in problems:
        click.echo(f"problem: {line}", err=True)
    sys.exit(INCOMPLETE if as_json and missing else 1 if problems else 0)


def analysed(run_dirs: Sequence[Path], steps: tuple[int, int] | None = None) -> tuple[Analysis, Timeline]:
    """The analysis of a run's loop, and the timeline, whose report says what could not be read."""
    from sightline.analysis import analyse
    from sightline.timeline.stages import one_run, stage_spans

    timeline = one_run(run_dirs)
    found = analyse(span for span in stage_spans(timeline) if _is_in(steps, span.step))
    for line in timeline.report.notes:
        click.echo(f"note: {line}", err=True)
    return found, timeline


def analysed_sessions(
    timeline: Timeline, steps: tuple[int, int] | None, slowest: int
) -> SessionAnalysis | None:
    """The analysis of a run's sessions; None if it has none."""
    from sightline.session_analysis import analyse_sessions
    from sightline.timeline.stages import sessions

    return analyse_sessions((each for each in sessions(timeline) if _is_in(steps, each.step)), slowest)


def _sessions_alone(
    run_dirs: Sequence[Path], steps: tuple[int, int] | None, slowest: int
) -> tuple[SessionAnalysis, Report] | None:
    """The sessions of a run of which there are no traces, by each process's own time of day; None if there
    are none either."""
    from sightline.session_analysis import analyse_sessions
    from sightline.session_files import read_sessions
    from sightline.timeline.report import Report

    if any(each for run_dir in run_dirs for each in run_dir.glob("traces/*.json")):
        return None
    report = Report()
    found = list(
        read_sessions(
            [path for run_dir in run_dirs for path in sorted(run_dir.glob("sessions/p*.jsonl"))],
            on_damage=lambda each: report.problems.append(f"{each.path}:{each.line}: {each.reason}"),
        )
    )
    headers = [each.parts[0].source.header for each in found]
    if len({header.get("run_id") for header in headers}) != 1:
        return None
    attempts = [header.get("attempt", 1) for header in headers]
    last = max(attempts)
    ours = [each for each, attempt in zip(found, attempts, strict=True) if attempt == last]
    sessions = analyse_sessions((each for each in ours if _is_in(steps, each.step)), slowest)
    return None if sessions is None else (sessions, report)


def _is_in(steps: tuple[int, int] | None, step: int | None) -> bool:
    return steps is None or (step is not None and steps[0] <= step <= steps[1])


def _no_steps(steps: tuple[int, int] | None) -> str:
    if steps is None:
        return _NO_STEPS
    return f"there is nothing of the steps {steps[0]} to {steps[1]} in it: choose others with --steps"


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    try:
        return int(first), int(last if dash else first)
    except ValueError:
        raise click.BadParameter(f"--steps {text}: expected numbers, as in 10-50") from None


def _plain(found: Analysis) -> dict[str, Any]:
    return {
        "processes": found.processes,
        "wall_s": found.wall_s,
        "goodput": found.goodput,
        "kinds": found.kinds,
        "stages": [
            {
                **stage._asdict(),
                "slow": stage.slow and {**stage.slow._asdict(), "is_chronic": stage.slow.is_chronic},
            }
            for stage in found.stages
        ],
        "beside": [{"name": name, "spans": spans, "total_s": total} for name, spans, total in found.beside],
        "steps": [
            {**asdict(step), "critical": [part._asdict() for part in step.critical]} for step in found.steps
        ],
    }


def _show(found: Analysis, console: Console) -> None:
    if found.steps:
        walls = sorted(step.wall_s for step in found.steps)
        processes = counted(len(found.processes), "process", "processes")
        console.print(
            f"{counted(len(found.steps), 'step')} on {processes}: "
            f"{found.wall_s:.3g} s, {seconds(walls[len(walls) // 2])} a step; goodput {found.goodput:.0%}"
        )
        console.print(", ".join(f"{kind} {share:.1%}" for kind, share in found.kinds.items()))
        console.print(_stages(found.stages, console.width))
        step_s = sum(walls) / len(walls)
        blamed = [(stage, slow) for stage in found.stages if (slow := stage.slow) is not None]
        for stage, slow in sorted(blamed, key=lambda each: -each[1].excess_s * each[1].steps):
            if slow.excess_s * slow.steps > _MATTERS * step_s * slow.of_steps:
                console.print(_blame(stage, slow))
        longest = max(found.steps, key=lambda step: step.wall_s)
        console.print(
            f"the longest step, {longest.step} ({seconds(longest.wall_s)}), waited for: {_path(longest)}"
        )
    if found.beside:
        rows = ", ".join(
            f"{shown(name)} {total:.3g} s ({spans})" for name, spans, total in found.beside[:_ROWS]
        )
        console.print(f"beside the loop: {rows}")


def _path(step: StepTimes) -> str:
    parts = [part for part in step.critical if part.took_s > _MATTERS * step.wall_s]
    rest = sum(part.took_s for part in step.critical) - sum(part.took_s for part in parts)
    named = [f"{shown(part.stage)} {seconds(part.took_s)} (process {part.process})" for part in parts]
    return " → ".join(named) + (f"; all else {seconds(rest)}" if rest > 0 else "")


def _stages(stages: Sequence[Stage], width: int) -> Table:
    from rich.table import Table

    table = Table("stage", "kind")
    headings = ["share", "own time", "total", "spans", "mean", "p50", "p95"]
    if width < _WIDE:  # names matter more
        headings = ["share", "own time", "p50", "p95"]
    for heading in headings:
        table.add_column(heading, justify="right")
    for stage in stages[:_ROWS]:
        cells = {
            "share": f"{stage.share:.1%}",
            "own time": seconds(stage.exclusive_s),
            "total": seconds(stage.total_s),
            "spans": str(stage.spans),
            "mean": seconds(stage.mean_s),
            "p50": seconds(stage.p50_s),
            "p95": seconds(stage.p95_s),
        }
        table.add_row(shown(stage.name), stage.kind, *(cells[heading] for heading in headings))
    if len(stages) > _ROWS:
        rest = stages[_ROWS:]
        own = sum(stage.exclusive_s for stage in rest)
        share = sum(stage.share for stage in rest)
        table.add_row(f"{len(rest)} more", "", f"{share:.1%}", seconds(own))
    return table


def _blame(stage: Stage, slow: Slow) -> str:
    often = "in most steps" if slow.is_chronic else "now and then"
    return (
        f"slow in {shown(stage.name)}: process {slow.process}, {often} ({slow.steps} of {slow.of_steps}), by "
        f"{seconds(slow.excess_s)}; worst in step {slow.worst_step}"
    )
