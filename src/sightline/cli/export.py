"""`sightline export`: a run as CSV or Parquet."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import orjson

from sightline.cli.cut_journals import cut_journals, cut_notes, is_written
from sightline.cli.frame import end, refuse, say_missing, say_next, say_notes, say_problems
from sightline.cli.next_steps import next_steps
from sightline.cli.output_place import check_place
from sightline.cli.progress import progress
from sightline.errors import ConfigurationError
from sightline.runs.run_directory import JOURNAL
from sightline.support.foreign_text import escaped, one_line
from sightline.support.wording import counted

if TYPE_CHECKING:
    from sightline.tables.formats import Written
    from sightline.tables.table import Steps, Table

_PIPE = Path("-")


@click.command(short_help="A run as CSV or Parquet.")
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path(path_type=Path))
@click.option("--to", "kind", type=click.Choice(["csv", "parquet"]), help="Default: as FILE ends, or csv.")
@click.option(
    "-o", "--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Default: in RUN_DIR, by what is in it, as in metrics.csv; `-` is stdout.",
)  # fmt: skip
@click.option("-m", "--metric", "metrics", multiple=True, metavar="GLOB", help="Only these; repeatable.")
@click.option("--steps", "steps_text", metavar="FIRST-LAST", help="Only these, as in 10-50, 10- or -50.")
@click.option("--long", is_flag=True, help="A row for each value, not for each step.")
@click.option("--attempts", is_flag=True, help="All attempts, with what a later one has gone over again.")
@click.option("--samples", "samples", metavar="TABLE", help="The rows of a sample table instead.")
@click.option("--process-values", is_flag=True, help="Each process's own values instead.")
@click.option(
    "--spreadsheet", is_flag=True, help="Put ' before texts that a spreadsheet would run as formulas."
)
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--json", "as_json", is_flag=True, help="What was written, for other programs.")
def export(
    run_dir: Path,
    kind: str | None,
    out: Path | None,
    metrics: tuple[str, ...],
    steps_text: str | None,
    long: bool,
    attempts: bool,
    samples: str | None,
    process_values: bool,
    spreadsheet: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write what a run has recorded as a table: CSV, or Parquet with the run's facts in it.

    One row a step with a column for each metric, or with --long one row a value. Of steps that several
    attempts have committed the latest one counts. A live run is written as far as it is. The file appears
    whole or not at all.

    \b
      sightline export runs/latest
      sightline export runs/latest --to parquet -m 'train/*' -m 'eval*' -o grpo.parquet
      sightline export runs/latest --long --attempts --steps 10-50 -o - | head
      sightline export runs/latest --samples rollouts

    Exit code 0: it is written; 1: but something could not be read; 2: nothing is; 3: with --json, files of
    some processes are not here, which `missing` names.
    """
    if samples is not None and (process_values or long or metrics):
        raise click.UsageError("--samples takes none of --long, --metric and --process-values")
    named = None if out is None else {".csv": "csv", ".parquet": "parquet"}.get(out.suffix.lower())
    if out is not None and kind and named and kind != named:
        raise click.UsageError(f"--to {kind} and the name {out.name}: leave out --to, or end it in .{kind}")
    kind = kind or named or "csv"
    if spreadsheet and kind == "parquet":
        raise click.UsageError("--spreadsheet is for csv")
    if out == _PIPE and as_json:
        raise click.UsageError("--json says on stdout what was written: give -o a file")
    if out == _PIPE:
        refuse("-o - replaces no file: leave it out", "force")
    if kind == "parquet":
        from sightline.tables.formats import need_parquet

        need_parquet()
        if out == _PIPE and sys.stdout.isatty():
            raise click.UsageError("-o -: a terminal cannot show Parquet")
    steps = _steps(steps_text)
    stem = "samples." + re.sub(r"[^\w.@-]+", "_", samples) if samples is not None else (
        ("process_values" if process_values else "metrics") + (".long" if long else "")
    )  # fmt: skip
    to = out or run_dir / f"{stem}.{kind}"
    if to != _PIPE:
        check_place(to, [run_dir], is_ours=lambda path: out is None, force=force)

    with progress("exporting", 2 * _bytes(run_dir, samples)) as advance:
        table = _table(run_dir, metrics, steps, attempts, long, samples, process_values, advance)
        if metrics or steps_text is not None:
            own = _Filters(metrics, steps, steps_text, process_values=process_values, samples=samples)
            own.check(table, run_dir, places=0 if long else (4 if process_values else 3) + attempts)
        written = _write(table, to, run_dir, kind, spreadsheet)

    notes = []
    if not written.rows and samples is None and not process_values:
        notes.append("no commit is in it yet")
    if written.formulas and not spreadsheet:
        notes.append(
            f"{counted(written.formulas, 'text begins', 'texts begin')} as formulas do: for a spreadsheet "
            f"give --spreadsheet, which puts an apostrophe before them"
        )
    lost = table.unreadable.said()
    damage = f"{run_dir / (JOURNAL if table.is_of_journal else 'samples')}: {lost}" if lost else ""
    if table.is_of_journal:
        cut = cut_journals([run_dir])
    else:
        cut = table.cut if table.cut and not is_written([run_dir]) else {}
    say_problems([damage] if damage else [])
    say_notes(cut_notes(cut))
    (say_missing if table.missing else say_notes)(table.notes)
    say_notes(notes)
    notes = [*table.notes, *notes]
    if as_json:
        said = {
            "file": str(to),
            "rows": written.rows,
            "columns": [column._asdict() for column in table.columns],
            **table.unreadable.plain(),
            "cut_bytes": sum(cut.values()),
            "missing": table.notes if table.missing else [],
            "missing_processes": table.missing,
            "notes": notes,
        }
        click.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    elif to != _PIPE:
        click.echo(one_line(to, 4096))
        click.echo(f"{counted(written.rows, 'row')}, {counted(len(table.columns), 'column')}", err=True)
        is_plain = "'" not in str(to) and str(to).isprintable()
        pandas = f"python -c \"import pandas; print(pandas.read_{kind}('{to}'))\""
        has_pandas = find_spec("pandas") is not None
        say_next(pandas if is_plain and has_pandas else next_steps(run_dir, but="export")[0])
    end(damage, table.missing, as_json=as_json)


class _Filters(NamedTuple):
    """What was asked for; a table without any of it would be no answer."""

    metrics: Sequence[str]
    steps: Steps
    steps_text: str | None
    process_values: bool
    samples: str | None

    def check(self, table: Table, run_dir: Path, *, places: int) -> None:
        """Refuses an empty table of a run that has something.

        Args:
            places: columns that say where a row is, of a table with a column for each key; else 0.

        Raises:
            ConfigurationError: nothing fits; the message has what there is.
        """
        if next(table.rows(), None) is not None and not (self.metrics and len(table.columns) <= places):
            return
        if self.samples is not None:
            raise ConfigurationError(f"no row of {self.samples!r} is of steps {self.steps_text}")
        from sightline.tables.table import matching
        from sightline.views.history import History

        history = History(run_dir)
        history.update()
        if not history.commits:
            return
        keys = history.process_keys if self.process_values else [*history.keys, *history.texts]
        if self.metrics and not any(map(matching(self.metrics), keys)):
            near = [key for each in self.metrics for key in get_close_matches(each, keys, 5, 0.4)]
            shown = list(dict.fromkeys(near or keys))[:5]
            what = "process's own values" if self.process_values else "metric"
            there = f"there are {', '.join(shown)}{', …' if len(keys) > len(shown) else ''}" if keys else (
                "there are none"
            )  # fmt: skip
            raise ConfigurationError(f"no {what} fits {', '.join(self.metrics)}: {there}")
        steps, _ = history.steps()
        if not any(map(self.steps.has, steps.tolist())):
            raise ConfigurationError(
                f"no commit is in steps {self.steps_text}: the run has steps {steps[0]} to {steps[-1]}"
            )
        raise ConfigurationError(
            f"{', '.join(self.metrics) or 'the table'}: nothing is in steps {self.steps_text or 'of the run'}"
        )


class _Shown:
    """A terminal, on which nothing that was recorded acts."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        return int(self._stream.write(escaped(data.decode(), keep="\n").encode(errors="backslashreplace")))


def _table(
    run_dir: Path,
    metrics: Sequence[str],
    steps: Steps,
    attempts: bool,
    long: bool,
    samples: str | None,
    process_values: bool,
    advance: Callable[[int], object],
) -> Table:
    if samples is not None:
        from sightline.tables.samples import sample_table

        return sample_table(run_dir, samples, steps=steps, attempts=attempts, advance=advance)
    from sightline.tables.metrics import long_table, metrics_table, process_table

    if process_values:
        return process_table(
            run_dir, metrics=metrics, steps=steps, attempts=attempts, long=long, advance=advance
        )
    if long:
        return long_table(run_dir, metrics=metrics, steps=steps, attempts=attempts, advance=advance)
    return metrics_table(run_dir, metrics=metrics, steps=steps, attempts=attempts, advance=advance)


def _write(table: Table, to: Path, run_dir: Path, kind: str, spreadsheet: bool) -> Written:
    from sightline.tables.formats import replacing, write_csv, write_parquet

    def put(file: Any) -> Written:
        if kind == "parquet":
            return write_parquet(table, file, _facts(run_dir))
        return write_csv(table, file, spreadsheet=spreadsheet)

    if to == _PIPE:
        stdout = sys.stdout.buffer
        written = put(_Shown(stdout) if sys.stdout.isatty() else stdout)
        stdout.flush()
        return written
    with replacing(to) as part, open(part, "wb", buffering=1 << 20) as file:
        return put(file)


def _facts(run_dir: Path) -> dict[str, Any]:
    """What ``run.json`` says, without sightline's own settings."""
    from sightline.sinks.syncing import facts_of

    return {name: value for name, value in facts_of(run_dir).items() if name != "sightline"}


def _bytes(run_dir: Path, samples: str | None) -> int:
    if samples is None:
        from sightline.tables.lines import size_of

        return size_of(run_dir)
    from sightline.tables.samples import sample_bytes

    return sample_bytes(run_dir, samples)


def _steps(text: str | None) -> Steps:
    from sightline.tables.table import Steps

    try:
        return Steps() if text is None else Steps.parse(text)
    except ValueError as error:
        raise click.BadParameter(f"--steps {error}") from None
