"""`sightline sync`: bring a sink up to date with the journal of a run."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from sightline.cli.cut_journals import cut_journals, cut_notes
from sightline.cli.frame import end, say_missing, say_next, say_notes, say_problems
from sightline.cli.next_steps import next_steps
from sightline.config import StatsLoggerConfig
from sightline.errors import SightlineError
from sightline.runs.run_directory import JOURNAL, held
from sightline.sinks.reader import Handed
from sightline.support.foreign_text import quoted
from sightline.support.wording import counted

_TAKEN_OUT = "[redacted]"  # as sightline.support.redaction puts it


@click.command(short_help="What a sink has missed, brought up.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--to", "sinks", multiple=True, required=True, metavar="SINK", help="Which sink; repeatable.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SINK.NAME=VALUE",
    help="A setting of a sink, as in wandb.mode=online; else they are as in the run.",
)
@click.option(
    "--from-step",
    type=int,
    metavar="N",
    help="Leave out commits of lower steps; they cannot be added later.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be sent, by the sink's file or cursor, and send nothing."
)
@click.option("--json", "as_json", is_flag=True, help="What each sink was sent, for other programs.")
def sync(
    run_dir: Path,
    sinks: tuple[str, ...],
    settings: tuple[str, ...],
    from_step: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Replay the journal of a run into sinks, from where each of them was.

    For a run that has ended or crashed, or was offline; it is held meanwhile, so that nobody goes on with it.
    Nothing is sent twice: a sink that can be asked says what it has, and any other goes on at its cursor.

    \b
      sightline sync runs/latest --to tensorboard
      sightline sync runs/grpo --to wandb --set wandb.mode=online
      sightline sync runs/grpo --to wandb --dry-run

    Exit code 0: the sinks have everything; 1: one does not, or lines of the journal could not be read; 2:
    wrong usage; 3: with --json, run.json is not here, so that settings and name of the run are unknown, as
    `missing` says.
    """
    cut = cut_journals([run_dir])  # by how the run stands when this command does not hold it
    with _warnings_as_notes(), held(run_dir, writes=not dry_run):
        _sync(run_dir, sinks, settings, from_step, dry_run, as_json, cut)


def _sync(
    run_dir: Path,
    sinks: tuple[str, ...],
    settings: tuple[str, ...],
    from_step: int | None,
    dry_run: bool,
    as_json: bool,
    cut: Mapping[Path, int],
) -> None:
    from sightline.sinks import make_sinks
    from sightline.sinks.looking import LookingSink
    from sightline.sinks.syncing import Replay, facts_of

    facts = facts_of(run_dir)
    config = StatsLoggerConfig.from_dict(_sections(facts, sinks, settings))
    replays = [
        (sink.name, Replay(run_dir, sink, from_step=from_step)) for sink in make_sinks(sinks, vars(config))
    ]
    told = []
    failed = []
    damaged: list[str] = []  # what sinks have stored
    for name, replay in replays:
        error, handed = None, Handed()
        try:
            if dry_run:
                handed = replay.missing()
                damaged += [replay.damage] if replay.damage else []
            else:
                try:
                    _show(name, replay.run(), is_shown=not as_json)
                finally:
                    handed = replay.handed
        except SightlineError as trouble:
            error = str(trouble)
            failed.append(error)
        told.append({"sink": name, **handed._asdict(), "error": error})
        if as_json or error:
            continue
        if dry_run:
            by = "file" if isinstance(replay.sink, LookingSink) else "cursor"
            click.echo(f"{name}: by its {by}, {_said(handed)} would be sent")
        else:
            click.echo(f"{name}: up to date; {_said(handed)} {_were(handed)} handed over")
    read = replays[0][1]
    missing = [] if facts else ["run.json: settings and name of the run are unknown"]
    if as_json:
        answer = {
            "dry_run": dry_run,
            "sinks": told,
            **read.unreadable.plain(),
            "cut_bytes": sum(cut.values()),
            "missing": missing,
        }
        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
    said = read.unreadable.said()
    lost = [f"{run_dir / JOURNAL}: {said}"] if said else []
    say_problems([*failed, *damaged, *lost])
    say_notes(cut_notes(cut))
    say_missing(missing)
    if as_json:
        pass
    elif failed:
        say_next(f"sightline doctor {quoted(run_dir)} --online  # asks the servers")
    elif dry_run and any(each["commits"] for each in told):
        to = " ".join(f"--to {name}" for name in sinks)
        say_next(f"sightline sync {quoted(run_dir)} {to}")
    else:
        say_next(*next_steps(run_dir, but="sync"))
    end([*failed, *damaged, *lost], missing, as_json=as_json)


class _Notes(logging.Handler):
    """What sinks warn of, a line each without a traceback; what has become of them is said at the end."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().partition("\n")[0].removeprefix("sightline: ")
        if "sightline sync " not in text:  # no hint is needed to what goes on here
            say_notes([text])


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    log, notes = logging.getLogger("sightline"), _Notes(logging.WARNING)
    if click.get_current_context().meta.get("sightline.debug"):
        yield
        return
    log.addHandler(notes)
    try:
        yield
    finally:
        log.removeHandler(notes)


def _were(handed: Handed) -> str:
    return "was" if handed.commits == 1 else "were"


def _said(handed: Handed) -> str:
    first, last = handed.first_step, handed.last_step
    steps = f" (step{f' {first}' if first == last else f's {first} to {last}'})" if handed.commits else ""
    return f"{counted(handed.commits, 'commit')}{steps}"


def _show(name: str, progress: Iterable[tuple[int, int]], *, is_shown: bool) -> None:
    """A progress bar on a terminal, nothing elsewhere."""
    if not is_shown or not sys.stderr.isatty():
        for _ in progress:
            pass
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name)
        for done, total in progress:
            bar.update(task, completed=done, total=total)


def _sections(facts: dict[str, Any], sinks: Sequence[str], settings: Iterable[str]) -> dict[str, Any]:
    """The settings of the sinks as the run had them, and what was given over them."""
    had = facts.get("sightline") or {}
    ours = [name for name in sinks if name in vars(StatsLoggerConfig())]
    sections: dict[str, Any] = {name: dict(had.get(name) or {}) for name in ours}
    for each in settings:
        place, equals, value = each.partition("=")
        sink, dot, name = place.partition(".")
        if not (equals and dot and sink in sinks):
            raise SightlineError(
                f"--set {each!r}: expected SINK.NAME=VALUE, with one of the sinks given with --to"
            )
        if sink not in sections:
            raise SightlineError(
                f"--set {each!r}: sink {sink!r} is none of sightline's, and takes no settings"
            )
        try:
            sections[sink][name] = orjson.loads(value)  # a number, true, null
        except orjson.JSONDecodeError:
            sections[sink][name] = value
    for sink, section in sections.items():
        for name, value in section.items():
            if isinstance(value, str) and _TAKEN_OUT in value:
                raise SightlineError(
                    f"{sink}.{name} is {value!r} in run.json, without its credentials: "
                    f"give --set {sink}.{name}=…"
                )
    return sections
