"""The `sightline` command. Nothing here imports JAX: it must answer at once, also where there is none."""

import click

from sightline.cli.adopt import adopt
from sightline.cli.collect import collect
from sightline.cli.compare import compare
from sightline.cli.completion import completion
from sightline.cli.doctor import doctor
from sightline.cli.export import export
from sightline.cli.frame import Frame
from sightline.cli.launch import launch
from sightline.cli.lint import lint
from sightline.cli.logs import logs
from sightline.cli.ls import ls
from sightline.cli.report import report
from sightline.cli.selftest import selftest
from sightline.cli.sync import sync
from sightline.cli.trace import trace
from sightline.cli.watch import watch

__all__ = ["main"]


@click.group(cls=Frame, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sightline", prog_name="sightline")
def main() -> None:
    """Observability for multi-process training: record anywhere, merge everywhere, commit once.

    \b
      sightline ls                      the runs in runs/
      sightline watch runs/latest       the newest one, live
      sightline COMMAND --help          what a command does, with examples
    """


for each in (
    ls, watch, report, logs, doctor, trace, compare, export, collect, sync, selftest, launch, lint, adopt,
    completion,
):  # fmt: skip
    main.add_command(each)
