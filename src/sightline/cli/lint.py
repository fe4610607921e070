"""`sightline lint`: the check of :mod:`sightline.lint` as a command."""

import sys

import click

from sightline.cli.frame import refuse, say_next
from sightline.lint import check_paths
from sightline.lint.checking import EVERY_CODE
from sightline.lint.findings import codes
from sightline.lint.output import as_json, github, human
from sightline.support.foreign_text import quoted_all

_STYLES = {
    "place": {"bold": True},
    "code": {"fg": "red"},
    "note": {"fg": "yellow"},
    "error": {"fg": "red", "bold": True},
}


def _codes(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> frozenset[str]:
    try:
        return codes(choice for text in given for choice in text.split(",") if choice.strip())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _styled(text: str, kind: str) -> str:
    return click.style(text, **_STYLES[kind])  # type: ignore[arg-type]  # click types each option apart


@click.command(short_help="Where is logging done by hand, and what to write instead?")
@click.option("--select", multiple=True, callback=_codes, metavar="CODES", help="Only these rules.")
@click.option("--ignore", multiple=True, callback=_codes, metavar="CODES", help="All but these rules.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out files and directories of this name or path; repeatable. Besides: .git, .venv, build, "
    "dist, node_modules and the like.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["human", "json", "github"]),
    default="human",
    show_default=True,
    help="How findings are put out; github: as annotations.",
)
@click.option("--json", "as_json_", is_flag=True, help="The same as --format json.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True), metavar="PATH…")
def lint(
    select: frozenset[str],
    ignore: frozenset[str],
    exclude: tuple[str, ...],
    form: str,
    as_json_: bool,
    paths: tuple[str, ...],
) -> None:
    """Find logging by hand in files and directories, and say what to write instead.

    \b
      sightline lint src train.py
      sightline lint . --exclude "vendor/*" --ignore SL104

    The rules: SL101 calls of trackers, SL102 collectives for metrics, SL103 reads of step outputs that hold
    the loop, SL104 timings by hand, SL105 keys outside the conventions. Codes are given whole, by their
    beginning (SL1) or by name, divided by commas.

    `# sightline: allow <reason>` on a line, or on the one above, permits what is found there. SL001 is an
    allow without a reason; SL002 notes one that permits nothing.

    Exit code 0: nothing found; 1: findings; 2: wrong usage, a file that cannot be read or parsed, or
    directories without a Python file.
    """
    if as_json_ and form != "json":
        refuse("--json is another format: leave out one of the two", "form")
    chosen = (select or EVERY_CODE) - ignore
    report = check_paths(paths, exclude=exclude, chosen=chosen)
    if as_json_ or form == "json":
        click.echo(as_json(report))
    elif form == "github":
        for line in github(report):
            click.echo(line)
    else:
        for line in human(report, _styled):
            click.echo(line)
        if report.exit_code:
            again = f"sightline lint {quoted_all(paths)}"
            say_next(f"{again}  # again, when that is mended; docs/migrating.md goes through it")
        else:
            say_next("sightline doctor  # is all well on this machine, too?")
    sys.exit(report.exit_code)
