"""The `sightline` command. Nothing here imports JAX: it must answer at once, also where there is none."""

import click

from sightline.cli.adopt import adopt
from sightline.cli.completion import completion
from sightline.cli.frame import Frame
from sightline.cli.launch import launch
from sightline.cli.lint import lint
from sightline.cli.report import report
from sightline.cli.sync import sync
from sightline.cli.trace import trace

__all__ = ["main"]


@click.group(cls=Frame, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sightline", prog_name="sightline")
def main() -> None:
    """Observability for multi-process training: record anywhere, merge everywhere, commit once."""


main.add_command(adopt)
main.add_command(completion)
main.add_command(launch)
main.add_command(lint)
main.add_command(report)
main.add_command(sync)
main.add_command(trace)
