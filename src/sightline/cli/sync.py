"""`sightline sync`: bring a sink up to date with the journal of a run."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import orjson

from sightline.config import StatsLoggerConfig
from sightline.errors import SightlineError


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--to", "sinks", multiple=True, required=True, metavar="SINK", help="Which sink; repeatable.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SINK.NAME=VALUE",
    help="A setting of a sink, as in wandb.mode=online; else they are as in the run.",
)
@click.option("--from-step", type=int, metavar="N", help="Leave out commits of lower steps.")
@click.option(
    "--dry-run", is_flag=True, help="Say what would be sent, by the sink's cursor, and send nothing."
)
def sync(
    run_dir: Path, sinks: tuple[str, ...], settings: tuple[str, ...], from_step: int | None, dry_run: bool
) -> None:
    """Replay the journal of a run into sinks, from where each of them was.

    For a run that has ended or crashed, or was offline. Nothing is sent twice: a sink that can be asked says
    what it has, and any other goes on at its cursor.

    \b
      sightline sync runs/latest --to tensorboard
      sightline sync runs/grpo --to wandb --set wandb.mode=online
      sightline sync runs/grpo --to wandb --dry-run

    Exit code 0: the sinks have everything; 1: one does not; 2: wrong usage.
    """
    from sightline.sinks import make_sinks
    from sightline.sinks.syncing import Replay, facts_of

    try:
        _check_ended(run_dir)
        config = StatsLoggerConfig.from_dict(_sections(facts_of(run_dir), sinks, settings))
        replays = [
            (sink.name, Replay(run_dir, sink, from_step=from_step))
            for sink in make_sinks(sinks, vars(config))
        ]
    except SightlineError as error:
        click.echo(f"sightline sync: {error}", err=True)
        sys.exit(2)
    failed = False
    for name, replay in replays:
        missing = replay.missing()
        what = f"{missing.commits} commits"
        if missing.commits:
            what += f" (steps {missing.first_step} to {missing.last_step})"
        if dry_run:
            click.echo(f"{name}: {what} would be sent")
            continue
        try:
            _show(name, replay.run())
        except SightlineError as error:
            click.echo(f"sightline sync: {error}", err=True)
            failed = True
        else:
            click.echo(f"{name}: up to date; {what} were missing by its cursor")
    sys.exit(1 if failed else 0)


def _show(name: str, progress: Iterable[tuple[int, int]]) -> None:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
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


def _check_ended(run_dir: Path) -> None:
    """A live run feeds its sinks itself."""
    try:
        lock = os.open(run_dir / ".lock", os.O_RDWR)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SightlineError(
            f"{run_dir} is a live run, which feeds its sinks itself: wait for its end"
        ) from None
    finally:
        os.close(lock)


def _sections(facts: dict[str, Any], sinks: Iterable[str], settings: Iterable[str]) -> dict[str, Any]:
    """The settings of the sinks as the run had them, and what was given over them."""
    had = facts.get("sightline") or {}
    ours = [name for name in sinks if name in vars(StatsLoggerConfig())]
    sections: dict[str, Any] = {name: dict(had.get(name) or {}) for name in ours}
    for each in settings:
        place, equals, value = each.partition("=")
        sink, dot, name = place.partition(".")
        if not (equals and dot and sink in sections):
            raise SightlineError(
                f"--set {each!r}: expected SINK.NAME=VALUE, with one of the sinks given with --to"
            )
        try:
            sections[sink][name] = orjson.loads(value)  # a number, true, null
        except orjson.JSONDecodeError:
            sections[sink][name] = value
    return sections
