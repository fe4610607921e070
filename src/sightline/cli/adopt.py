"""`sightline adopt`: put thin files into a code base that exists, so that what it logs lands in a journal."""

import shlex
from pathlib import Path

import click

from sightline.errors import ConfigurationError


@click.group()
def adopt() -> None:
    """Let a code base that exists log through sightline, without an edit of its own files."""


@adopt.command("mllm-jax")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Overwrite files that exist and hold something else.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
def mllm_jax(path: Path, replace: bool, dry_run: bool) -> None:
    """Write plugins/common/{observability/*,wandb_utils}.py into the checkout of MLLM-JAX at PATH.

    Its runners stay as they are: wandb.log calls through maybe_init_wandb or StatsLogger go to a journal in
    runs/<project>/<name>.

    \b
      sightline adopt mllm-jax ~/MLLM-JAX --dry-run
    """
    from sightline.compat.mllm_jax.checkout import (
        adoption,
        first_runner,
        imports_of_wandb,
        uses_what_is_written,
    )

    shown = shlex.quote(str(path))
    try:
        wanted = adoption(path)
        there, done = wanted.there(), wanted.done()
        for name in wanted.files:
            if name in there:
                state = "exists, and is replaced" if replace else "exists, and holds something else"
            else:
                state = "there already" if name in done else "new"
            click.echo(f"  {name}  ({state})")
        if there and not replace:
            raise click.ClickException(
                f"nothing was written: {len(there)} of these files exist and hold something else. "
                f"Look at them, then:\n  sightline adopt mllm-jax {shown} --replace"
            )
        said = "Nothing was written." if dry_run else f"Wrote {len(wanted.write(replace=replace))} files."
        past = dict.fromkeys(imports_of_wandb(path))
        used = uses_what_is_written(path)
    except (ConfigurationError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(said)
    if past:
        click.echo("These lines take the wandb package itself, and go past the journal:")
        for name, line in past:
            click.echo(f"  {name}:{line}")
    if not used:
        click.echo(
            "No file of the checkout imports these: what it logs reaches no journal until one does, as in"
        )
        click.echo("  from plugins.common.wandb_utils import maybe_init_wandb")
    if dry_run:
        click.echo(f"Next:\n  sightline adopt mllm-jax {shown}{' --replace' * replace}")
    elif used:
        runner = first_runner(path)
        command = f"python {runner} --config FILE" if runner else "python -m the.runner.as.always"
        click.echo(f"Next:\n  cd {shown} && {command}\n  tail -f runs/*/latest/metrics.jsonl")
