"""`sightline report`: one page about a run, as a file or served while it goes on."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sightline.cli.frame import FOUND_WRONG, INCOMPLETE, say_next
from sightline.errors import RunDirectoryError

if TYPE_CHECKING:
    from sightline.report import Runs


@click.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write; default: "
              "report.html in the first RUN_DIR.")  # fmt: skip
@click.option("--serve", is_flag=True, help="Serve it on this machine instead, and follow the run.")
@click.option("--port", type=int, default=0, help="With --serve: the port; default: any that is free.")
@click.option("--open/--no-open", "opens", default=None, help="Open it in a browser; default: with --serve, "
              "on a terminal.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The headline figures, for other programs.")
def report(
    run_dirs: tuple[Path, ...], output: Path | None, serve: bool, port: int, opens: bool | None, as_json: bool
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
    found = runs.gather(once=True)
    whole = page(found.names, found.data)
    _write(path, whole)
    for line in found.damaged:
        click.echo(f"damaged: {_one_line(line)}", err=True)
    for line in found.absent:
        click.echo(f"not here: {_one_line(line)}", err=True)
    if as_json:
        figures = [
            {"name": name, "run_dir": str(run_dir), **each}
            for name, run_dir, each in zip(found.names, runs.dirs, found.headlines, strict=True)
        ]
        answer = {"report": str(path), "runs": figures, "damaged": found.damaged, "missing": found.absent}
        click.echo(packed_json(answer))
    else:
        click.echo(f"{path}: {_size(len(whole))}, {_count(len(found.names), 'run')}")
        shown = " ".join(str(each) for each in run_dirs)
        say_next(
            *([f"sightline report {shown} --serve  # follows the run"] if found.is_live else []),
            f"sightline trace view {run_dirs[0]}  # its timeline",
        )
    if opens:
        webbrowser.open(path.resolve().as_uri())
    if found.damaged:
        sys.exit(FOUND_WRONG)
    if found.absent and as_json:
        sys.exit(INCOMPLETE)


def _serve(runs: Runs, run_dirs: tuple[Path, ...], port: int, opens: bool | None) -> None:
    from sightline.report import ReportServer

    server = ReportServer(runs, port=port)
    try:
        for line in [*server.found.damaged, *server.found.absent]:
            click.echo(_one_line(line), err=True)
        click.echo(f"{server.url} (ctrl-c ends it)")
        say_next(f"sightline report {' '.join(map(str, run_dirs))}  # the same as a file")
        if opens or (opens is None and sys.stdout.isatty()):
            webbrowser.open(server.url)
        server.wait()
    finally:
        server.close()


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


def _one_line(text: str) -> str:
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return shown[:2000]


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
