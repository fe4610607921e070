"""`sightline report`: one page about a run, as a file or served while it goes on."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sightline.cli.cut_journals import cut_journals, cut_notes
from sightline.cli.frame import end, refuse, say_missing, say_next, say_notes, say_problems, say_served
from sightline.cli.next_steps import bringing, next_steps
from sightline.cli.output_place import check_place
from sightline.errors import RunDirectoryError
from sightline.support.foreign_text import one_line, quoted_all
from sightline.support.wording import counted, size

if TYPE_CHECKING:
    from sightline.report import Runs


@click.command(short_help="Everything about a run, or several, as one page.")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write; default: "
              "report.html in the first RUN_DIR.")  # fmt: skip
@click.option("--serve", is_flag=True, help="Serve it on this machine instead, and follow the run.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=0,
    help="With --serve: the port; default: any that is free.",
)
@click.option("--open/--no-open", "opens", default=None, help="Open it in a browser; default: with --serve, "
              "on a terminal.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file, even if it is no report.")
@click.option("--json", "as_json", is_flag=True, help="The headline figures, for other programs.")
def report(
    run_dirs: tuple[Path, ...],
    output: Path | None,
    serve: bool,
    port: int,
    opens: bool | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make one page about a run, or several side by side: is it learning, where does its time go, which host
    is slow, what went wrong and when, what do the completions look like.

    The page is one file and needs no network. Give the directories of all hosts of a run where there is no
    shared disk.

    \b
      sightline report runs/latest
      sightline report runs/before runs/after -o comparison.html
      sightline report runs/latest --serve

    Exit code 0: all was read; 1: something was damaged; with --json 3: files of some processes are not here.
    """
    if serve:
        why = "--serve writes no file and follows the run until Ctrl-C: leave it out, or --serve"
        refuse(why, "output", "force", "as_json")
    else:
        refuse("it is that of --serve, which is not given: leave it out, or add --serve", "port")
    from sightline.report import Runs, page, require_library
    from sightline.report.packing import as_json as packed_json

    runs = Runs(run_dirs)
    require_library()
    if serve:
        _serve(runs, run_dirs, port, opens)
        return
    path = output if output is not None else run_dirs[0] / "report.html"
    if not os.access(path.parent, os.W_OK | os.X_OK) or path.is_dir():
        raise RunDirectoryError(f"{path} cannot be written: expected a file in a directory of yours after -o")
    check_place(path, run_dirs, is_ours=lambda there: output is None or _is_page(there), force=force)
    found = runs.gather(once=True)
    whole = page(found.names, found.data)
    _write(path, whole)
    say_problems(found.damaged)
    say_missing(found.absent)
    say_notes(cut_notes(cut_journals(runs.dirs)))
    if as_json:
        figures = [
            {"name": name, "run_dir": str(run_dir), **each}
            for name, run_dir, each in zip(found.names, runs.dirs, found.headlines, strict=True)
        ]
        answer = {"report": str(path), "runs": figures, "damaged": found.damaged, "missing": found.absent}
        click.echo(packed_json(answer))
    else:
        click.echo(f"{one_line(path, 4096)}: {size(len(whole))}, {counted(len(found.names), 'run')}")
        following = f"sightline report {quoted_all(run_dirs)} --serve  # follows the run"
        say_next(
            *([following] if found.is_live else []), *bringing(run_dirs[0], found.absent),
            *next_steps(run_dirs[0], but="report"),
        )  # fmt: skip
    if opens:
        webbrowser.open(path.resolve().as_uri())
    end(found.damaged, found.absent, as_json=as_json)


def _serve(runs: Runs, run_dirs: tuple[Path, ...], port: int, opens: bool | None) -> None:
    from sightline.report import ReportServer

    server = ReportServer(runs, port=port)
    try:
        say_problems(server.found.damaged)
        say_missing(server.found.absent)
        say_notes(cut_notes(cut_journals(runs.dirs)))
        click.echo(server.url)
        say_served(server.port)
        say_next(f"sightline report {quoted_all(run_dirs)}  # the same as a file")
        if opens or (opens is None and sys.stdout.isatty()):
            webbrowser.open(server.url)
        server.wait()
    finally:
        server.close()


def _is_page(path: Path) -> bool:
    """Whether a file is a page that this command has made."""
    with open(path, "rb") as file:
        return " – sightline</title>".encode() in file.read(1 << 16)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: whoever has the page open may load it again at any moment."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".report-", delete=False) as file:
        try:
            file.write(data)
            file.close()
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(file.name, 0o666 & ~mask)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
