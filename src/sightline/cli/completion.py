"""`sightline completion`: what makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(short_help="What a shell needs to complete the commands.")
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the lines that make a shell complete sightline's commands and options.

    \b
      eval "$(sightline completion bash)"    # in ~/.bashrc
      eval "$(sightline completion zsh)"     # in ~/.zshrc, after compinit
      sightline completion fish > ~/.config/fish/completions/sightline.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "sightline", "_SIGHTLINE_COMPLETE").source())
