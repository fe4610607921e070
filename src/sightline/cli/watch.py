"""`sightline watch`: a run in the terminal, as it goes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

import click
import orjson

from sightline.cli.frame import end, refuse, say_missing, say_next, say_notes, say_problems
from sightline.cli.next_steps import next_steps
from sightline.support.wording import files_missing

if TYPE_CHECKING:
    from sightline.watching.facts import Facts
    from sightline.watching.live import Watch


@click.command(short_help="How is a run going, right now?")
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option(
    "-m",
    "--metric",
    "metrics",
    multiple=True,
    metavar="GLOB",
    help="Metrics to show, as in 'train/reward/*'; repeatable. Default: the usual ones.",
)
@click.option(
    "-n",
    "--steps",
    type=click.IntRange(2),
    default=200,
    show_default=True,
    metavar="N",
    help="How many of the last steps to look at.",
)
@click.option("--once", is_flag=True, help="Print it once, and end.")
@click.option("--stay", is_flag=True, help="Stay on a run that has ended: its next attempt may begin.")
@click.option("--json", "as_json", is_flag=True, help="All of it once, for other programs.")
def watch(run_dir: Path, metrics: tuple[str, ...], steps: int, once: bool, stay: bool, as_json: bool) -> None:
    """Show a run in the terminal, live: progress, metrics, where time goes, and what is wrong.

    Reads the end of the journal and follows it, so a run of any length opens at once; nothing of the run
    is touched. It ends when the run is finished, and goes on when another attempt begins. A run that has
    ended, or an output that is no terminal, is shown once.

    \b
      sightline watch runs/latest
      sightline watch runs/latest -m 'train/reward/*' -m 'eval/*' -n 1000
      ssh -t host sightline watch runs/latest
      sightline watch runs/latest --json

    Keys: q ends, arrows scroll the metrics, / filters them, a shows all.

    Exit code 0: it was shown; 1: but lines of the journal, or logs of a newer version, could not be read;
    2: there is nothing to show; 3: with --json, files of some processes are not here, which `missing` names.
    """  # fmt: skip
    if once or as_json:
        refuse(f"{'--once' if once else '--json'} looks once: leave out one of the two", "stay")
    from sightline.watching import live
    from sightline.watching.facts import headline

    output, keyboard = live.streams()
    is_terminal = output.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if not is_terminal:
        refuse("the output is no terminal, and so is written once: leave it out", "stay")
    watched = live.Watch(run_dir, patterns=metrics, window=steps)
    if as_json:
        facts = watched.facts()
        missing = _missing(facts)
        answer = {**facts.plain(), "missing": missing}
        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2, default=str))
        end(_said_beside(facts, missing), missing, as_json=True)
    is_left = is_terminal and not once and (watched.is_live or stay)
    is_left = is_left and not _lived(watched, output, keyboard, stay)
    facts = watched.facts()
    if is_left:
        click.echo(headline(facts))  # whoever left before the end has seen it
    else:
        output.write(live.summary(facts, output))
        output.flush()
    damage = _said_beside(facts, _missing(facts))
    say_next(*next_steps(run_dir, but="" if watched.is_live else "watch"))
    end(damage)


def _missing(facts: Facts) -> list[str]:
    """Whose files are not here, in a line, if any are not."""
    return files_missing(facts.run_dir, facts.files.expected, facts.files.missing)


def _said_beside(facts: Facts, missing: list[str]) -> list[str]:
    """Says what is damaged, cut and elsewhere; returns what is damaged."""
    damage = [each.text for each in facts.troubles if each.about in ("journal", "logs")]
    say_problems(damage)
    say_missing(missing)
    say_notes(each.text for each in facts.troubles if each.about == "cut")
    return damage


def _lived(watched: Watch, output: TextIO, keyboard: TextIO | None, stays: bool) -> bool:
    """Shows the run live; returns whether it was until the run's end."""
    from sightline.watching import live
    from sightline.watching.screen import Ended, Gone

    try:
        return live.watch(watched, output, keyboard, stays=stays)
    except Ended as ended:
        _die_by(ended.signal)
    except Gone:
        _die_by(signal.SIGHUP)
    return True


def _die_by(number: int) -> NoReturn:
    """Ends as one who never caught the signal, so that whoever sent it sees that."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(128 + number)  # where it is blocked
