"""`sightline trace summary` and `diff`: where the time of a run goes, as tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sightline.cli.frame import say_next

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sightline.analysis import Analysis, Slow, Stage, StepTimes

_ROWS = 15
_MATTERS = 0.01  # of a step: less is not worth a line


@click.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("--steps", "first_last", metavar="FIRST-LAST", help="Only these steps, as in 10-50.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for other programs.")
def summary(run_dirs: tuple[Path, ...], first_last: str | None, as_json: bool) -> None:
    """Show where the time of a run went: stages, waiting, slow processes, and what each step waited for.

    Shares are of the steps' wall time, and add up to 100 % with `other`. A stage's own time is its time
    without the stages in it. Give the directories of all hosts where there is no shared disk.

    \b
      sightline trace summary runs/latest
      sightline trace summary runs/latest --steps 10-50 --json

    Exit code 0: all was read; 1: something was damaged or missing; 2: nothing was read.
    """
    found, problems = analysed(run_dirs, _range(first_last))
    if as_json:
        click.echo(orjson.dumps(_plain(found), option=orjson.OPT_INDENT_2))
    else:
        _show(found)
        say_next(f"sightline trace view {run_dirs[0]}")
    for line in problems:
        click.echo(f"problem: {line}", err=True)
    sys.exit(1 if problems else 0)


@click.command()
@click.argument("before", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("after", metavar="RUN_B", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, for other programs.")
def diff(before: Path, after: Path, as_json: bool) -> None:
    """Compare where the time of two runs went, a step of each.

    \b
      sightline trace diff runs/before runs/after

    Exit codes as of `summary`.
    """
    from rich.table import Table

    from sightline.analysis import differences

    (first, some), (second, more) = analysed((before,)), analysed((after,))
    found = differences(first, second)
    if as_json:
        rows = [{**each._asdict(), "change_s": each.change_s} for each in found]
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    else:
        table = Table("stage", title=f"own time a step: {before} → {after}")
        for heading in ("before", "after", "change"):
            table.add_column(heading, justify="right")
        for each in found:
            change = f"{each.change_s * 1e3:+.1f} ms"
            table.add_row(each.name, _seconds(each.before_s), _seconds(each.after_s), change)
        _console().print(table)
    for line in [*some, *more]:
        click.echo(f"problem: {line}", err=True)
    sys.exit(1 if some or more else 0)


def analysed(run_dirs: Sequence[Path], steps: tuple[int, int] | None = None) -> tuple[Analysis, list[str]]:
    """The analysis of a run, and what could not be read."""
    from sightline.analysis import analyse
    from sightline.timeline.stages import stage_spans

    spans, report = stage_spans(run_dirs)
    if steps is not None:
        first, last = steps
        spans = [span for span in spans if span.step is not None and first <= span.step <= last]
    found = analyse(spans)
    for line in report.notes:
        click.echo(f"note: {line}", err=True)
    problems = list(report.problems)
    if not found.steps:
        problems.append("there are no steps in it: loop over `run.steps(…)`, or choose others")
    return found, problems


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


def _show(found: Analysis) -> None:
    console = _console()
    if found.steps:
        walls = sorted(step.wall_s for step in found.steps)
        console.print(
            f"{len(found.steps)} steps on {_count(len(found.processes), 'process', 'processes')}: "
            f"{found.wall_s:.3g} s, {_seconds(walls[len(walls) // 2])} a step; goodput {found.goodput:.0%}"
        )
        console.print(", ".join(f"{kind} {share:.1%}" for kind, share in found.kinds.items()))
        console.print(_stages(found.stages))
        step_s = sum(walls) / len(walls)
        blamed = [(stage, slow) for stage in found.stages if (slow := stage.slow) is not None]
        for stage, slow in sorted(blamed, key=lambda each: -each[1].excess_s * each[1].steps):
            if slow.excess_s * slow.steps > _MATTERS * step_s * slow.of_steps:
                console.print(_blame(stage, slow))
        longest = max(found.steps, key=lambda step: step.wall_s)
        console.print(
            f"the longest step, {longest.step} ({_seconds(longest.wall_s)}), waited for: {_path(longest)}"
        )
    if found.beside:
        rows = ", ".join(f"{name} {total:.3g} s ({spans})" for name, spans, total in found.beside[:_ROWS])
        console.print(f"beside the loop: {rows}")


def _path(step: StepTimes) -> str:
    parts = [part for part in step.critical if part.took_s > _MATTERS * step.wall_s]
    rest = sum(part.took_s for part in step.critical) - sum(part.took_s for part in parts)
    shown = [f"{part.stage} {_seconds(part.took_s)} (process {part.process})" for part in parts]
    return " → ".join(shown) + (f"; all else {_seconds(rest)}" if rest > 0 else "")


def _stages(stages: Sequence[Stage]) -> Table:
    from rich.table import Table

    table = Table("stage", "kind")
    for heading in ("share", "own time", "total", "spans", "mean", "p50", "p95"):
        table.add_column(heading, justify="right")
    for stage in stages[:_ROWS]:
        table.add_row(
            stage.name,
            stage.kind,
            f"{stage.share:.1%}",
            _seconds(stage.exclusive_s),
            _seconds(stage.total_s),
            str(stage.spans),
            _seconds(stage.mean_s),
            _seconds(stage.p50_s),
            _seconds(stage.p95_s),
        )
    if len(stages) > _ROWS:
        rest = stages[_ROWS:]
        own = sum(stage.exclusive_s for stage in rest)
        share = sum(stage.share for stage in rest)
        table.add_row(f"{len(rest)} more", "", f"{share:.1%}", _seconds(own), *[""] * 5)
    return table


def _blame(stage: Stage, slow: Slow) -> str:
    often = "in most steps" if slow.is_chronic else "now and then"
    return (
        f"slow in {stage.name}: process {slow.process}, {often} ({slow.steps} of {slow.of_steps}), by "
        f"{_seconds(slow.excess_s)}; worst in step {slow.worst_step}"
    )


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120, soft_wrap=True)


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
