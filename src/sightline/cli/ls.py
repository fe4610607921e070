"""`sightline ls`: the runs in a folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import orjson

from sightline.cli.cells import Cell, Heading, show
from sightline.cli.frame import end, say_missing, say_next, say_notes, say_problems
from sightline.cli.next_steps import next_steps
from sightline.runs.run_directory import JOURNAL
from sightline.support.foreign_text import one_line, quoted
from sightline.support.wording import ago, counted, duration, moment, number, size

if TYPE_CHECKING:
    from sightline.views.run_list import ListedRun

_METRICS = 3
# By docs/naming.md: what a training goes by. Of each the key that most runs have.
_USUAL = (
    ("train/loss",), ("train/reward/total/mean",),
    ("eval/pass@1", "eval/accuracy", "eval/ndcg@10", "eval/hr@10",
     "eval*/pass@1", "eval*/accuracy*", "eval*/ndcg@10", "eval*/hr@10"),
    ("eval*/reward/total/mean",), ("eval*/loss",), ("train/grad_norm",), ("*loss*",), ("*reward*",),
)  # fmt: skip
_STYLES = {
    "running": "green",
    "stalled": "bold yellow",
    "crashed": "bold red",
    "failed": "bold red",
    "unknown": "yellow",
}
_SORTS: dict[str, Callable[[ListedRun], Any]] = {
    "started": lambda run: run.begun,
    "name": lambda run: run.name,
    "state": lambda run: run.state.state,
    "step": lambda run: run.state.last_step,
    "heard": lambda run: run.heard,
    "elapsed": lambda run: run.elapsed_s,
    "size": lambda run: run.disk_bytes,
}


@click.command(short_help="Which runs are there, and how do they stand?")
@click.argument("folder", metavar="[DIR]", default="runs", type=click.Path(path_type=Path))
@click.option("-m", "--metric", "metrics", multiple=True, metavar="GLOB", help="Show these; repeatable.")
@click.option(
    "--sort", "by", default="started", metavar="BY",
    help=f"{', '.join(_SORTS)}, or a metric, as in train/loss. Default: started, the newest last.",
)  # fmt: skip
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--state", "states", metavar="STATE,…", help="Only these: running, crashed, …")
@click.option("-n", "--last", "most", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for other programs.")
def ls(
    folder: Path,
    metrics: tuple[str, ...],
    by: str,
    reverse: bool,
    states: str | None,
    most: int | None,
    as_json: bool,
) -> None:
    """List the runs in DIR (default: runs), and in folders of it: state, step, times, metrics, size.

    A run is running, stalled, finished, failed (by an exception), crashed or unknown. A terminal shows what
    fits; elsewhere each run is a whole line.

    \b
      sightline ls
      sightline ls runs --state running,crashed -n 20
      sightline ls runs -m 'eval/*' --sort eval/accuracy

    Exit code 0: they are listed; 1: but a newer sightline wrote a journal, or lines at its end could not be
    read; 2: DIR cannot be read; 3: with --json, the journal of a run is not here, as `missing` says.
    """
    wanted = _states(states)
    from sightline.views.run_list import runs_below

    now = time.time()
    found = runs_below(folder, now=now)
    runs = _sorted([run for run in found if run.state.state in wanted], by, reverse)
    runs = runs[-most:] if most else runs
    unknown = [run for run in runs if run.state.state == "unknown" and not run.state.newer]
    problems = [f"{run.name}: {run.state.reason}" for run in runs if run.state.newer]
    problems += [
        f"{run.name}: at the end of its journal {lost}" for run in runs if (lost := run.unreadable.said())
    ]
    cut = [f"{run.name}: the journal: {run.state.cut}" for run in runs if run.state.cut]
    if as_json:
        without = [str(run.path) for run in unknown if not (run.path / JOURNAL).exists()]
        said = {
            "runs": [_plain(run, metrics) for run in runs],
            "missing": [_unknown(run) for run in unknown if str(run.path) in without],
            "without_journal": without,
        }
        click.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2))
        _say_unknown(unknown)
        say_problems(problems)
        say_notes(cut)
        end(problems, without, as_json=True)
    if not found:
        say_notes([f"there is no run in {folder} yet, nor in folders two levels deep in it"])
        say_next(
            'python my_training.py  # with sl.start("runs") in it',
            "sightline ls DIR  # if runs are elsewhere",
        )
        return
    if not runs:
        say_notes([f"none of {counted(len(found), 'run')} in {folder} is {states}"])
        say_next(f"sightline ls {quoted(folder)}")
        return
    keys = _keys(runs, metrics)
    _show(runs, keys, now)
    _say_unknown(unknown)
    if metrics and not keys:
        say_notes([f"no run has a metric that fits {', '.join(metrics)} in its last commits"])
    say_problems(problems)
    say_notes(cut)
    newest = max(runs, key=lambda run: run.begun or 0.0)
    others = [run for run in runs if run is not newest]
    say_next(
        *next_steps(newest.path)[: 1 if others else 2],
        *([f"sightline compare {quoted(others[-1].path)} {quoted(newest.path)}"] if others else []),
    )
    end(problems)


def _say_unknown(runs: Sequence[ListedRun]) -> None:
    """Why of some runs nothing is known: their journals are elsewhere, or empty."""
    for run in runs:
        say = say_notes if (run.path / JOURNAL).exists() else say_missing
        say([_unknown(run)])


def _unknown(run: ListedRun) -> str:
    return f"{run.name}: {run.state.reason}"


def _states(text: str | None) -> Sequence[str]:
    from sightline.runs.run_state import State

    known = get_args(State)
    if text is None:
        return known
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    for each in wanted:
        if each not in known:
            raise click.BadParameter(f"--state {each}: expected some of {', '.join(known)}")
    return wanted


def _sorted(runs: Sequence[ListedRun], by: str, reverse: bool) -> list[ListedRun]:
    if by in _SORTS:
        of = _SORTS[by]
    else:
        if runs and not any(by in run.metrics for run in runs):
            raise click.BadParameter(
                f"--sort {by}: expected one of {', '.join(_SORTS)}, or a metric that one of the runs has"
            )

        def of(run: ListedRun) -> Any:
            return run.metrics.get(by)

    known: list[ListedRun] = []
    unknown: list[ListedRun] = []
    for run in runs:
        value = of(run)
        is_known = value is not None and not (isinstance(value, float) and math.isnan(value))
        (known if is_known else unknown).append(run)
    known.sort(key=of, reverse=reverse)
    return known + unknown if reverse else unknown + known


def _keys(runs: Sequence[ListedRun], metrics: Sequence[str]) -> list[str]:
    """Which metrics get a column."""
    from sightline.tables.table import matching

    counts: dict[str, int] = {}
    for run in runs:
        for key in run.metrics:
            counts[key] = counts.get(key, 0) + 1
    keys: dict[str, None] = {}
    for patterns in [(each,) for each in metrics] or _USUAL:
        places = {
            key: at
            for at, each in reversed([*enumerate(patterns)])
            for key in filter(matching([each]), counts)
        }
        fitting = sorted(places, key=lambda key: (-counts[key], places[key], key))
        keys.update(dict.fromkeys(fitting if metrics else fitting[:1]))
    return list(keys) if metrics else list(keys)[:_METRICS]


def _show(runs: Sequence[ListedRun], keys: Sequence[str], now: float) -> None:
    headings = [
        Heading("run", shrinks_to=16),
        Heading("state"),
        Heading("step", True),
        *(
            Heading(one_line(key), True, rank=1 + 2 * (at > 0) + at, shrinks_to=10)
            for at, key in enumerate(keys)
        ),
        Heading("heard", True, rank=2),
        Heading("elapsed", True, rank=3),
        Heading("attempt", True, rank=51),
        Heading("processes", True, rank=52),
        Heading("size", True, rank=53),
        Heading("started", rank=54),
    ]
    rows: list[list[Cell]] = []
    for run in runs:
        state = run.state
        step = number(state.last_step)
        if state.total_steps:
            step += f" of {state.total_steps - 1}"
        rows.append(
            [
                one_line(run.name),
                (run.state.state, _STYLES.get(run.state.state, "")),
                step,
                *(number(run.metrics.get(key)) for key in keys),
                ago(None if run.heard is None else now - run.heard),
                duration(run.elapsed_s),
                number(state.attempt or None),
                number(state.processes or None),
                size(run.disk_bytes),
                moment(run.begun),
            ]
        )
    show(headings, rows)


def _plain(run: ListedRun, metrics: Sequence[str]) -> dict[str, Any]:
    """JSON has no NaN: what is not finite is null, and named beside."""
    from sightline.tables.table import matching

    fits = matching(metrics)
    state = run.state
    kept = {key: value for key, value in run.metrics.items() if fits(key)}
    return {
        "path": str(run.path),
        "name": run.name,
        "run_id": state.run_id,
        "state": run.state.state,
        "reason": state.reason,
        "error": state.error,
        "attempt": state.attempt,
        "processes": state.processes,
        "first_step": state.first_step,
        "last_step": state.last_step,
        "total_steps": state.total_steps,
        "started": run.begun,
        "last_heard": run.heard,
        "elapsed_s": run.elapsed_s,
        "disk_bytes": run.disk_bytes,
        **run.unreadable.plain(),
        "cut_bytes": state.cut_bytes,
        "metrics": kept,
        "nonfinite": {key: str(value) for key, value in kept.items() if not math.isfinite(value)},
    }
