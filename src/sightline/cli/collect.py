"""`sightline collect`: the files of other hosts, brought into one run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sightline.cli.frame import end, say_missing, say_next, say_problems
from sightline.cli.next_steps import bringing, next_steps, possible
from sightline.cli.progress import progress
from sightline.support.foreign_text import quoted, quoted_all
from sightline.support.wording import counted, files_missing, size
from sightline.support.wording import processes as named

if TYPE_CHECKING:
    from sightline.gathering import Plan, Processes


@click.command(short_help="The files of other hosts in one run directory.")
@click.argument("run_dir", type=click.Path(path_type=Path, file_okay=False))
@click.argument("sources", nargs=-1, required=True, metavar="FROM...")
@click.option("--dry-run", is_flag=True, help="Say what would be brought, and bring nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object that says what was done.")
def collect(run_dir: Path, sources: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Bring the files of a run from other hosts into RUN_DIR.

    FROM is a run directory of the same run, copied by any tool, or a folder that holds several of them, or a
    URL that fsspec knows (`pip install 'sightline[collect]'`). What is new or longer is brought, as often as
    you like, also while the run goes on; nothing becomes shorter, and nothing different is overwritten.

    \b
      sightline collect runs/grpo /mnt/host1/runs/grpo /mnt/host2/runs/grpo
      sightline collect runs/grpo copies/
      sightline collect runs/grpo gs://bucket/runs/grpo --dry-run

    Exit code 0; 1: some files are different from those that are here, or of another run; 2: nothing was
    done; 3: with --json, files of some processes are still missing, which `missing` names.
    """
    from sightline.gathering import carry_out, plan

    made = plan(run_dir, sources)
    if not dry_run:
        with progress("collecting", made.size, least=0, is_shown=not as_json) as advance:
            for done in carry_out(made, run_dir):
                advance(done)
    has_files = run_dir.is_dir() and any(not each.name.startswith(".") for each in run_dir.iterdir())
    processes = _processes_of(run_dir) if has_files else None
    missing = [] if processes is None else processes.missing
    absent = [] if processes is None else files_missing(run_dir, processes.of, missing)
    left = [f"{where} {why}; it is left as it is" for where, why in (*made.refused, *made.conflicts)]
    say_problems(left)
    if as_json:
        click.echo(orjson.dumps(_facts(made, processes, dry_run, absent)).decode())
    else:
        _say(made, processes, dry_run)
    say_missing(absent)
    if dry_run:
        again = f"sightline collect {quoted(run_dir)} {quoted_all(sources)}"
        say_next(*([again] if made.steps else next_steps(run_dir, but="collect")))
    else:
        merge = f"sightline trace merge {quoted(run_dir)}  # one timeline of all processes"
        after = possible([merge, f"sightline logs {quoted(run_dir)}"], [run_dir], most=2)
        after = after or next_steps(run_dir, but="collect")
        say_next(*bringing(run_dir, missing, missing), *after[: 1 if missing else 2])
    end(left, missing, as_json=as_json)


def _processes_of(run_dir: Path) -> Processes | None:
    """What is here of the last attempt; None where a newer version wrote the journal."""
    from sightline.gathering import processes_of
    from sightline.runs.journal import NewerJournalError

    try:
        return processes_of(run_dir)
    except NewerJournalError:
        return None


def _facts(made: Plan, processes: Processes | None, dry_run: bool, absent: Sequence[str]) -> dict[str, Any]:
    return {
        "run_id": made.run_id,
        "dry_run": dry_run,
        "new": [step.name for step in made.steps if step.target is None],
        "longer": [step.name for step in made.steps if step.target is not None],
        "renamed": made.moves,
        "bytes": made.size,
        "up_to_date": made.up_to_date,
        "refused": [{"what": what, "why": why} for what, why in made.refused],
        "moved": made.moved,
        "conflicts": [{"what": what, "why": why} for what, why in made.conflicts],
        "processes": None if processes is None else processes._asdict(),
        "missing": absent,
    }


def _say(made: Plan, processes: Processes | None, dry_run: bool) -> None:
    new = sum(step.target is None for step in made.steps)
    would = "would be " if dry_run else ""
    click.echo(
        f"run {made.run_id}: {would}brought: {counted(new, 'new file')}, "
        f"{counted(len(made.steps) - new, 'longer one')} "
        f"({size(made.size)}); {counted(made.up_to_date, 'is', 'are')} up to date"
    )
    if made.moved:
        click.echo(
            f"{counted(len(made.moved), 'file')} moved on while it was read: collect again for the rest"
        )
    if processes is None:
        return
    said = [
        f"{what}: {named(which)}"
        for what, which in (
            ("complete", processes.complete),
            ("without an end (killed, running, or copied before)", processes.unended),
            ("missing", processes.missing),
        )
        if which
    ]
    click.echo(f"processes of attempt {processes.attempt} ({processes.of}): {'; '.join(said)}")
