"""`sightline adopt`: put thin files into a code base that exists, so that what it logs lands in a journal."""

from pathlib import Path

import click

from sightline.cli.frame import say_next
from sightline.errors import ConfigurationError
from sightline.support.foreign_text import escaped, quoted
from sightline.support.wording import counted


@click.group(short_help="Thin files that let a checkout log through sightline.")
def adopt() -> None:
    """Let a code base that exists log through sightline, without an edit of its own files."""


@adopt.command("mllm-jax", short_help="Of MLLM-JAX.")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Overwrite files that exist and hold something else.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
def mllm_jax(path: Path, replace: bool, dry_run: bool) -> None:
    """Write plugins/common/{observability/*,wandb_utils}.py into the checkout of MLLM-JAX at PATH.

    Its runners stay as they are: wandb.log calls through maybe_init_wandb or StatsLogger go to a journal in
    runs/<project>/<name>. Nothing is uploaded; sightline sync RUN_DIR --to wandb does that.

    \b
      sightline adopt mllm-jax ~/MLLM-JAX --dry-run

    Exit code 0: they are there, or would be; 2: nothing was written, as where others of these names are.
    """
    from sightline.compat.mllm_jax.checkout import (
        adoption,
        first_runner,
        imports_of_wandb,
        uses_what_is_written,
    )

    wanted = adoption(path)
    there, done = wanted.there(), wanted.done()
    again = f"sightline adopt mllm-jax {quoted(path)}{' --replace' * bool(there)}"
    if there and not replace:
        others = "is there, and holds" if len(there) == 1 else "are there, and hold"
        raise ConfigurationError(
            f"nothing was written: {', '.join(there)} {others} something else: look at that, then {again}"
        )
    past, used = dict.fromkeys(imports_of_wandb(path)), uses_what_is_written(path)
    written = [] if dry_run else wanted.write(replace=replace)
    for name in wanted.files:
        state = "exists, and is replaced" if name in there else "there already" if name in done else "new"
        click.echo(f"  {name}  ({state})")
    click.echo("Nothing was written." if dry_run else f"Wrote {counted(len(written), 'file')}.")
    if past:
        click.echo("These lines take the wandb package itself, and go past the journal:")
        for name, line in past:
            click.echo(f"  {escaped(name)}:{line}")
    if not used:
        click.echo(
            "No file of the checkout imports these: what it logs reaches no journal until one does, as in"
        )
        click.echo("  from plugins.common.wandb_utils import maybe_init_wandb")
    if not dry_run:
        click.echo("Nothing is uploaded, online or offline: what a run logs stays in runs/<project>/<name>.")
        click.echo("It goes to W&B with  sightline sync RUN_DIR --to wandb")
    runs = f"sightline ls {quoted(path / 'runs')}  # once it runs: what its runs have logged"
    if dry_run:
        say_next(again)
    elif used:
        runner = first_runner(path)
        command = f"python {quoted(runner)} --config FILE" if runner else "python -m the.runner.as.always"
        say_next(f"cd {quoted(path)} && {command}", runs)
    else:
        say_next(f"sightline lint {quoted(path)}  # what it logs by hand, and what to write instead")
