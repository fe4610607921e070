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
    """Observability for multi-process training: record anywhere, merge everywhere, commit once."""


main.add_command(adopt)
main.add_command(collect)
main.add_command(compare)
main.add_command(completion)
main.add_command(doctor)
main.add_command(export)
main.add_command(launch)
main.add_command(lint)
main.add_command(logs)
main.add_command(ls)
main.add_command(report)
main.add_command(selftest)
main.add_command(sync)
main.add_command(trace)
main.add_command(watch)
