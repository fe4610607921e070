"""`sightline compare`: what runs differ in, and whether it is more than noise."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sightline.cli.cells import Cell, Heading, print_lines, show, show_list
from sightline.cli.cut_journals import cut_journals, cut_notes
from sightline.cli.frame import end, say_missing, say_next, say_notes, say_problems
from sightline.cli.next_steps import has_steps, next_steps, possible
from sightline.cli.progress import progress
from sightline.runs.run_directory import JOURNAL
from sightline.support.foreign_text import one_line, quoted_all
from sightline.support.wording import change, duration, number

if TYPE_CHECKING:
    from sightline.comparison.levels import Difference
    from sightline.comparison.runs import Comparison, Row, Setting
    from sightline.views.history import History

_CLEAR_ROWS = 40
_OTHER_ROWS = 10
_KEYS = 12
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_MARKS = {True: ("*", "bold yellow"), None: ("?", ""), False: (" ", "")}


@click.command(short_help="What do runs differ in beyond their noise?")
@click.argument(
    "run_dirs", nargs=-1, required=True, metavar="RUN_A RUN_B...", type=click.Path(path_type=Path)
)
@click.option("-m", "--metric", "metrics", multiple=True, metavar="GLOB", help="Only these; repeatable.")
@click.option("--at-step", type=int, metavar="N", help="Compare at this step only.")
@click.option("--at-time", metavar="TIME", help="Compare after so long only, as in 90, 15m or 2h.")
@click.option("--all", "everything", is_flag=True, help="All metrics, also those that do not differ.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for other programs.")
def compare(
    run_dirs: tuple[Path, ...],
    metrics: tuple[str, ...],
    at_step: int | None,
    at_time: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Show what runs differ in: metrics at equal steps and after equal times, settings, versions, stages.

    The first run is what the others are compared with. Metrics marked * differ by more than their noise: the
    means of the last values (a quarter of 200) are over four standard errors apart. docs/runs.md says how
    that is computed.

    \b
      sightline compare runs/before runs/after
      sightline compare runs/a runs/b runs/c -m 'train/reward/*' --at-step 500
      sightline compare runs/a runs/b --at-time 2h --json

    Exit code 0: they are compared; 1: but something could not be read; 2: they could not be; 3: with --json,
    a file of theirs is not here, which `missing` names.
    """
    if len(run_dirs) < 2:
        raise click.UsageError("two runs or more are compared: give another RUN_DIR")
    resolved = [each.resolve() for each in run_dirs]
    if len(set(resolved)) < len(resolved):
        raise click.UsageError(f"{run_dirs[-1]} is given twice: a run does not differ from itself")
    if at_step is not None and at_time is not None:
        raise click.UsageError("give one of --at-step and --at-time")
    elapsed = None if at_time is None else _seconds(at_time)
    from sightline.comparison.runs import compare as compared

    histories = _read(run_dirs)
    cut = cut_journals(run_dirs)
    found = compared(histories, metrics=metrics, step=at_step, elapsed=elapsed)
    if as_json:
        click.echo(orjson.dumps(_plain(found, histories, run_dirs, cut), option=orjson.OPT_INDENT_2))
    else:
        _show(found, histories, run_dirs, everything=everything or bool(metrics))
    say_notes(found.notes)
    say_missing(_missing(found))
    damage = [(each.path, each.unreadable.said()) for each in histories]
    problems = [f"{path}: {said}" for path, said in damage if said]
    say_problems(problems)
    say_notes(cut_notes(cut))
    if not as_json:
        pair = quoted_all(run_dirs[:2])
        are_traced = all(map(has_steps, run_dirs[:2]))
        diff = f"sightline trace diff {pair}  # where the time of a step goes"
        page = f"sightline report {quoted_all(run_dirs)}  # side by side"
        can_be_shown = all(possible([page], [each], most=1) for each in run_dirs)
        after = [*([diff] if are_traced else []), *([page] if can_be_shown else [])]
        say_next(*(after or next_steps(run_dirs[0], but="compare")))
    end(problems, found.missing, as_json=as_json)


def _read(run_dirs: Sequence[Path]) -> list[History]:
    from sightline.views.history import History

    histories = [History(each) for each in run_dirs]
    with progress("reading", sum(history.unread for history in histories)) as advance:
        for history in histories:
            left = history.unread
            while history.update(limit=16 << 20):
                advance(left - history.unread)
                left = history.unread
    return histories


def _seconds(text: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    if found is None or found[2] not in _UNITS:
        raise click.BadParameter(f"--at-time {text}: expected a time, as in 90, 15m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


# --- as data -----------------------------------------------------------------------------------------------


def _plain(
    found: Comparison, histories: Sequence[History], run_dirs: Sequence[Path], cut: Mapping[Path, int]
) -> dict[str, Any]:
    from sightline.runs.run_state import state_of

    def rows(of: Sequence[Row]) -> list[dict[str, Any]]:
        return [
            {"key": row.key, "differences": [each and _difference(each) for each in row.differences]}
            for row in of
        ]

    return {
        "runs": [
            {
                "path": str(path),
                "name": name,
                "state": state_of(path).state,
                "run_id": history.runs[-1]["run_id"] if history.runs else None,
                "attempts": len(history.runs),
                "commits": history.commits,
                "last_step": history.last_step,
                **history.unreadable.plain(),
                "cut_bytes": cut.get(path / JOURNAL, 0),
            }
            for path, name, history in zip(run_dirs, found.names, histories, strict=True)
        ],
        "at_step": None if found.step is None else {"step": found.step, "metrics": rows(found.at_step)},
        "at_time": None
        if found.elapsed is None
        else {"elapsed_s": found.elapsed, "metrics": rows(found.at_time)},
        "stages": [each._asdict() for each in found.stages],
        "settings": [each._asdict() for each in found.settings],
        "facts": [each._asdict() for each in found.facts],
        "only": dict(zip(map(str, run_dirs), found.only, strict=True)),
        "missing": _missing(found),
        "notes": found.notes,
    }


def _missing(found: Comparison) -> list[str]:
    return [f"run.json of {name}: its configuration and versions are unknown" for name in found.missing]


def _difference(each: Difference) -> dict[str, Any]:
    """JSON has no NaN: what is not finite is a text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in each._asdict().items()
        if name != "key"
    }


# --- for people --------------------------------------------------------------------------------------------


def _show(
    found: Comparison, histories: Sequence[History], run_dirs: Sequence[Path], *, everything: bool
) -> None:
    from sightline.runs.run_state import state_of

    letters = [_letter(at) for at in range(len(histories))]
    headings = [Heading(""), Heading("run", shrinks_to=12), Heading("state")]
    headings += [Heading("last step", True), Heading("attempts", True, rank=1)]
    show(
        headings,
        [
            [
                letter, one_line(path), state_of(path).state, number(history.last_step),
                str(max(1, len(history.runs))),
            ]
            for letter, path, history in zip(letters, run_dirs, histories, strict=True)
        ],
    )  # fmt: skip
    _show_settings("settings that differ", found.settings, letters)
    _show_settings("versions, code, hosts that differ", found.facts, letters)
    if found.step is not None:
        _show_rows(f"metrics at step {found.step}", found.at_step, letters, found.step, everything)
    if found.elapsed is not None:
        _show_rows(f"metrics after {duration(found.elapsed)}", found.at_time, letters, None, everything)
    if found.stages:
        _show_stages(found, letters, everything)
    for letter, keys in zip(letters, found.only, strict=True):
        if keys:
            listed = [*map(one_line, keys if everything else keys[:_KEYS])]
            if len(listed) < len(keys):
                listed.append(f"and {len(keys) - len(listed)} more with --all")
            print_lines([""])
            show_list(f"only in {letter}" if len(letters) == 2 else f"in {letter}, but not in all", listed)


def _letter(at: int) -> str:
    return chr(ord("A") + at) if at < 26 else f"R{at + 1}"


def _show_settings(title: str, settings: Sequence[Setting], letters: Sequence[str]) -> None:
    if not settings:
        return
    print_lines(["", title])
    headings = [Heading("", shrinks_to=12), *(Heading(letter, shrinks_to=8) for letter in letters)]
    rows = [[one_line(each.name), *map(_value, each.values, each.has)] for each in settings]
    show(headings, rows, indent="  ")


def _value(value: Any, has: bool) -> str:
    if not has:
        return "–"
    return one_line(value if isinstance(value, str) else orjson.dumps(value, default=str).decode(), 120)


def _show_rows(
    title: str, rows: Sequence[Row], letters: Sequence[str], step: int | None, everything: bool
) -> None:
    from sightline.comparison.levels import CLEAR
    from sightline.comparison.runs import matters

    groups = [[row for row in rows if matters(row) is verdict] for verdict in (True, None, False)]
    clear, unknown, alike = groups
    differ = "differs by more than its noise" if len(clear) == 1 else "differ by more than their noise"
    counts = f"{len(clear)} of {len(rows)} {differ}"
    print_lines(["", f"{title}: {counts}" if rows else f"{title}: there is none that the runs share"])
    if everything:
        listed = [*clear, *unknown, *alike]
    else:
        listed = [*clear[:_CLEAR_ROWS], *unknown[:_OTHER_ROWS], *alike[: 0 if clear else _OTHER_ROWS]]
    if not listed:
        return
    if len(letters) == 2:
        _show_pairs(listed, letters, step)
    else:
        _show_many(listed, letters)
    legend = []
    if clear:
        legend.append(f"* over {CLEAR:g} standard errors apart")
    if any(matters(row) is None for row in listed):
        legend.append("? too few values to tell")
    if len(rows) > len(listed):
        legend.append(f"{len(rows) - len(listed)} more with --all")
    if legend:
        print_lines([f"  {'; '.join(legend)}"])


def _show_pairs(rows: Sequence[Row], letters: Sequence[str], step: int | None) -> None:
    first, second = letters
    is_apart = step is None or any(
        each is not None and each.first_step != step for row in rows for each in row.differences
    )
    headings = [
        Heading(""),
        Heading("metric", shrinks_to=16),
        Heading(first, True),
        Heading(second, True),
        Heading(f"{second} − {first}", True, rank=2),
        Heading("relative", True),
        Heading("errors", True, rank=1),
        *([Heading("steps", True, rank=3)] if is_apart else []),
    ]
    cells: list[list[Cell]] = []
    for row in rows:
        (each,) = row.differences
        assert each is not None
        steps = str(each.first_step)
        if each.second_step != each.first_step:
            steps = f"{each.first_step}, {each.second_step}"
        cells.append(
            [
                _MARKS[each.matters],
                one_line(row.key),
                number(each.first),
                number(each.second),
                _signed(each.change),
                _relative(each.relative),
                _score(each.score),
                *([steps] if is_apart else []),
            ]
        )
    show(headings, cells, indent="  ")


def _show_many(rows: Sequence[Row], letters: Sequence[str]) -> None:
    from sightline.comparison.runs import matters

    headings = [Heading(""), Heading("metric", shrinks_to=16), Heading(letters[0], True)]
    for at, letter in enumerate(letters[1:]):
        headings += [Heading(letter, True, rank=at), Heading("", rank=at)]
    cells = []
    for row in rows:
        first = next(each for each in row.differences if each is not None)
        line: list[Cell] = [_MARKS[matters(row)], one_line(row.key), number(first.first)]
        for each in row.differences:
            if each is None:
                line += ["–", ""]
            else:
                mark = _MARKS[each.matters][0]
                line += [number(each.second), f"{_relative(each.relative)}{mark}".rstrip()]
        cells.append(line)
    show(headings, cells, indent="  ")


def _show_stages(found: Comparison, letters: Sequence[str], everything: bool) -> None:
    print_lines(["", f"time for each stage, mean of the steps up to {found.step} that all have"])
    headings = [Heading(""), Heading("stage", shrinks_to=16), *(Heading(each, True) for each in letters)]
    if len(letters) == 2:
        headings += [Heading(f"{letters[1]} − {letters[0]}", True), Heading("relative", True, rank=1)]
    cells = []
    for stage in found.stages if everything else found.stages[:_OTHER_ROWS]:
        mark = _MARKS[True if True in stage.matters else None if None in stage.matters else False]
        line: list[Cell] = [mark, one_line(stage.key[len("time/") :].removesuffix("_s"))]
        line += map(duration, stage.seconds)
        if len(letters) == 2:
            a, b = stage.seconds
            differs = None if a is None or b is None else b - a
            line += [change(differs), _relative(None if differs is None or not a else differs / a)]
        cells.append(line)
    show(headings, cells, indent="  ")


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value).replace("-", "−", 1)


def _relative(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 10:
        return f"×{1 + value:.3g}" if value > 0 else f"{value:.3g}"
    return f"{value:+.1%}".replace("-", "−")


def _score(value: float | None) -> str:
    if value is None:
        return "–"
    return "∞" if math.isinf(value) else f"{value:.1f}"
