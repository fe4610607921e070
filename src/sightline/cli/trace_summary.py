"""`sightline trace summary` and `diff`: where the time of a run goes, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sightline.analysis.critical_path import Segment, main_parts
from sightline.analysis.stage_kinds import of_no_kind
from sightline.cli.cells import Cell, Heading, print_lines, show
from sightline.cli.cut_journals import is_written
from sightline.cli.frame import end, say_missing, say_next, say_notes, say_problems
from sightline.cli.next_steps import bringing, next_steps, possible
from sightline.cli.progress import progress
from sightline.cli.trace_sessions import sessions_as_data, show_sessions
from sightline.errors import RunDirectoryError
from sightline.support.foreign_text import one_line, quoted, quoted_all
from sightline.support.wording import change, counted, duration

if TYPE_CHECKING:
    from sightline.analysis.run_analysis import Analysis, ProcessTime, Slow, Stage, StepTimes
    from sightline.analysis.session_analysis import SessionAnalysis
    from sightline.timeline.merging import Timeline
    from sightline.timeline.report import Report

_ROWS = 15
_MATTERS = 0.01  # of a step: less is not worth a line
_SMALL = 0.0005  # a share that would be shown as nothing
_UNLIKE = 0.2  # shares of two processes that are so far apart are those of two roles
_NAMING = 'name them by what they do, as in `train_…`, or give `trace_scope` a `category="training"`'
_NO_STEPS = (
    "there are no steps in it: loop over `for step in run.steps(n):`, and put the parts of a step into "
    "`with sl.trace_scope(name):` or `with sl.record_timing(name):`"
)


@click.command(short_help="Where did the time go, and who is slow?")
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

    Exit code 0: all was read; 1: something was damaged, or there are no steps; 2: nothing was read; 3: with
    --json, files of some processes are not here, which `missing` names.
    """
    from sightline.analysis.run_analysis import analyse

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
    say_notes([*report.notes, *([] if is_written(run_dirs) else report.cut)])
    if not found.steps and report.processes and (steps is not None or _is_bare(report, sessions)):
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
        _show(found)
        if sessions is not None:
            show_sessions(sessions)
    say_problems(report.problems)
    say_missing(report.missing)
    if not as_json:
        view = possible([f"sightline trace view {quoted_all(run_dirs)}"], run_dirs, most=1)
        after = view if report.processes else []
        say_next(
            *bringing(run_dirs[0], report.missing), *(after or [f"sightline doctor {quoted(run_dirs[0])}"])
        )
    end(report.problems, report.missing, as_json=as_json)


@click.command(short_help="In which stages do two runs spend their time differently?")
@click.argument("before", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("after", metavar="RUN_B", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, for other programs.")
def diff(before: Path, after: Path, as_json: bool) -> None:
    """Compare where the time of two runs went, a step of each.

    \b
      sightline trace diff runs/before runs/after

    Exit codes as of `summary`. With --json, `missing` names processes of which the files are not here.
    """
    from sightline.analysis.run_analysis import differences

    (first, some), (second, more) = analysed((before,)), analysed((after,))
    for run_dir, found_steps, timeline in ((before, first.steps, some), (after, second.steps, more)):
        if not found_steps and not timeline.report.missing:
            timeline.report.problems.append(f"{run_dir}: {_no_steps(None)}")
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
        print_lines([f"own time a step: {one_line(before)} → {one_line(after)}"])
        headings = [Heading("stage", shrinks_to=16), Heading("before", True), Heading("after", True)]
        show(
            [*headings, Heading("change", True)],
            [
                [
                    one_line(each.name),
                    duration(each.before_s),
                    duration(each.after_s),
                    change(each.change_s),
                ]
                for each in found
            ],
            indent="  ",
        )
    for run_dir, report in ((before, some.report), (after, more.report)):
        say_notes([*report.notes, *([] if is_written([run_dir]) else report.cut)])
    say_problems(problems)
    say_missing(missing)
    if not as_json:
        metrics = f"sightline compare {quoted(before)} {quoted(after)}  # metrics and settings"
        collect = [
            *bringing(before, some.report.missing), *bringing(after, more.report.missing)
        ]  # fmt: skip
        say_next(
            *collect, *(possible([metrics], [before, after], most=1) or next_steps(before, but="trace diff"))
        )
    end(problems, missing, as_json=as_json)


def analysed(run_dirs: Sequence[Path], steps: tuple[int, int] | None = None) -> tuple[Analysis, Timeline]:
    """The analysis of a run's loop, and the timeline, whose report says what could not be read."""
    from sightline.analysis.run_analysis import analyse
    from sightline.timeline.stages import one_run, stage_spans

    size = 2 * sum(path.stat().st_size for each in run_dirs for path in each.glob("traces/*.json"))
    with progress("reading", size) as advance:
        timeline = one_run(run_dirs, advance=advance)
        spans = stage_spans(timeline, advance=advance)
    return analyse(spans, steps), timeline


def analysed_sessions(
    timeline: Timeline, steps: tuple[int, int] | None, slowest: int
) -> SessionAnalysis | None:
    """The analysis of a run's sessions; None if it has none."""
    from sightline.analysis.session_analysis import analyse_sessions
    from sightline.timeline.sessions import SessionClocks
    from sightline.timeline.stages import sessions

    chosen = (each for each in sessions(timeline) if _is_in(steps, each.step))
    return analyse_sessions(chosen, slowest, SessionClocks(timeline).written_until)


def _sessions_alone(
    run_dirs: Sequence[Path], steps: tuple[int, int] | None, slowest: int
) -> tuple[SessionAnalysis, Report] | None:
    """The sessions of a run of which there are no traces, by each process's own time of day; None if there
    are none either."""
    from sightline.analysis.session_analysis import analyse_sessions
    from sightline.timeline.report import Report
    from sightline.tracing.session_files import read_sessions

    if any(each for run_dir in run_dirs for each in run_dir.glob("traces/*.json")):
        return None
    report = Report()
    found = list(
        read_sessions(
            [path for run_dir in run_dirs for path in sorted(run_dir.glob("sessions/p*.jsonl"))],
            on_damage=report.note_sessions,
        )
    )
    headers = [each.parts[0].source.header for each in found]
    if len({header.get("run_id") for header in headers}) != 1:
        return None
    attempts = [header.get("attempt", 1) for header in headers]
    last = max(attempts)
    ours = [each for each, attempt in zip(found, attempts, strict=True) if attempt == last]
    sessions = analyse_sessions(
        (each for each in ours if _is_in(steps, each.step)),
        slowest,
        lambda source: source.time_ns(source.anchors[-1][0]),
    )
    return None if sessions is None else (sessions, report)


def _is_in(steps: tuple[int, int] | None, step: int | None) -> bool:
    return steps is None or (step is not None and steps[0] <= step <= steps[1])


def _is_bare(report: Report, sessions: SessionAnalysis | None) -> bool:
    """Whether there is nothing to tell of, and no process elsewhere that may have the steps."""
    return sessions is None and not report.missing


def _no_steps(steps: tuple[int, int] | None) -> str:
    if steps is None:
        return _NO_STEPS
    return f"there is nothing of the steps {steps[0]} to {steps[1]} in it: choose others with --steps"


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    try:
        begin, end = int(first), int(last if dash else first)
    except ValueError:
        raise click.BadParameter(f"--steps {text}: expected numbers, as in 10-50") from None
    if end < begin:
        raise click.BadParameter(f"--steps {text}: the last step is below the first; expected as in 10-50")
    return begin, end


def _plain(found: Analysis) -> dict[str, Any]:
    return {
        "processes": found.processes,
        "wall_s": found.wall_s,
        "goodput": found.goodput,
        "kinds": found.kinds,
        "waits": found.waits,
        "unknown": found.unknown,
        "by_process": {
            str(process): {"goodput": each.goodput, **each._asdict()}
            for process, each in found.by_process.items()
        },
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


def _kinds(kinds: Mapping[str, float], waits: Mapping[str, float]) -> str:
    """Shares as text; small ones are left out, and of waiting it is said what for."""
    shown = []
    for kind, share in kinds.items():
        if share < _SMALL:
            continue
        of = [f"{what} {part:.1%}" for what, part in waits.items() if what != "other"]
        shown.append(f"{kind} {share:.1%}" + (f" (for {', '.join(of)})" if kind == "waiting" and of else ""))
    return ", ".join(shown)


def _have_roles(by_process: Sequence[ProcessTime]) -> bool:
    """Whether the processes do so different things that the mean over them says little."""
    shares = [each.kinds for each in by_process]
    kinds = {kind for each in shares for kind in each}
    return any(
        max(each.get(kind, 0.0) for each in shares) - min(each.get(kind, 0.0) for each in shares) > _UNLIKE
        for kind in kinds
    )


def _process_line(process: int, spent: ProcessTime) -> str:
    without = "" if spent.has_steps else f", without steps, in {duration(spent.wall_s)}"
    return f"  process {process}{without}: {_kinds(spent.kinds, spent.waits)}"


def _show(found: Analysis) -> None:
    if found.steps:
        processes = counted(len(found.processes), "process", "processes")
        again = sum(step.occurrence > 1 for step in found.steps)
        print_lines(
            [
                f"{counted(len(found.steps), 'step')} on {processes}: "
                f"{duration(found.wall_s)}, {duration(found.wall_s / len(found.steps))} a step; "
                f"goodput of the steps {found.goodput:.0%}"
            ]
        )
        if again:
            print_lines([f"{again:,} of these have the number of a step that came before"])
        if unknown := of_no_kind({one_line(name, 40): share for name, share in found.unknown.items()}):
            print_lines([f"{unknown}, which is no goodput: {_NAMING}"])
        print_lines([_kinds(found.kinds, found.waits)])
    by_process = list(found.by_process.items())
    without = [process for process, each in by_process if not each.has_steps]
    if without or (found.steps and _have_roles([each for _, each in by_process])):
        shown = by_process[:_ROWS]
        print_lines([_process_line(process, each) for process, each in shown])
        if len(by_process) > len(shown):
            print_lines([f"  and {counted(len(by_process) - len(shown), 'process', 'processes')} more"])
    if found.steps:
        _show_stages(found.stages)
        step_s = found.wall_s / len(found.steps)
        blamed = [(stage, slow) for stage in found.stages if (slow := stage.slow) is not None]
        for stage, slow in sorted(blamed, key=lambda each: -each[1].excess_s * each[1].steps):
            if slow.excess_s * slow.steps > _MATTERS * step_s * slow.of_steps:
                print_lines([_blame(stage, slow)])
        longest = max(found.steps, key=lambda step: step.wall_s)
        which = f", occurrence {longest.occurrence}" if longest.occurrence > 1 else ""
        print_lines(
            [
                f"the longest step, {longest.step}{which} ({duration(longest.wall_s)}), "
                f"waited for: {_path(longest)}"
            ]
        )
    if found.beside:
        rows = ", ".join(
            f"{one_line(name)} {duration(total)} ({spans})" for name, spans, total in found.beside[:_ROWS]
        )
        print_lines([f"beside the loop: {rows}"])


def _path(step: StepTimes) -> str:
    path = main_parts(step.critical)
    named = (" → " if path.is_in_order else ", ").join(map(_part, path.parts)) or "nothing above 1 %"
    if not path.is_in_order:
        named = f"{counted(path.parts_in_all, 'short part')}: {named}"
    return named + (f"; all else {duration(path.rest_s)}" if path.rest_s > 0 else "")


def _part(part: Segment) -> str:
    return f"{one_line(part.stage)} {duration(part.took_s)} (process {part.process})"


def _show_stages(stages: Sequence[Stage]) -> None:
    headings = [
        Heading("stage", shrinks_to=16),
        Heading("kind", rank=4),
        Heading("share", True),
        Heading("own time", True),
        Heading("total", True, rank=2),
        Heading("spans", True, rank=3),
        Heading("mean", True, rank=2),
        Heading("p50", True, rank=1),
        Heading("p95", True, rank=1),
    ]
    rows: list[list[Cell]] = [
        [
            one_line(stage.name),
            stage.kind,
            f"{stage.share:.1%}",
            duration(stage.exclusive_s),
            duration(stage.total_s),
            f"{stage.spans:,}",
            duration(stage.mean_s),
            duration(stage.p50_s),
            duration(stage.p95_s),
        ]
        for stage in stages[:_ROWS]
    ]
    if len(stages) > _ROWS:
        rest = stages[_ROWS:]
        own, share = sum(stage.exclusive_s for stage in rest), sum(stage.share for stage in rest)
        rows.append([f"{len(rest)} more", "", f"{share:.1%}", duration(own), "", "", "", "", ""])
    show(headings, rows, indent="  ")


def _blame(stage: Stage, slow: Slow) -> str:
    often = "in most steps" if slow.is_chronic else "now and then"
    return (
        f"slow in {one_line(stage.name)}: process {slow.process}, {often} "
        f"({slow.steps} of {slow.of_steps}), by {duration(slow.excess_s)}; worst in step {slow.worst_step}"
    )
