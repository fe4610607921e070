"""What all commands have in common: how they fail, what they say beside their answer, and how they end.

Exit codes: 0, all is well; 1, the command did its work and found something wrong; 2, wrong usage, or nothing
could be done; 3, a complete answer needs files that are not here (with ``--json``, where a program reads it);
70, a defect of sightline's own, which ``--debug`` shows; 130, interrupted.

Beside the answer, on stderr, are lines that begin with what they are: ``problem:``, something could not be
read or was lost, and the exit code is 1; ``missing:``, files of some processes are elsewhere; ``note:``, as
that a last line was cut by a kill; ``next:``, a command.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from sightline.errors import SightlineError
from sightline.support.foreign_text import escaped, one_line

FOUND_WRONG = 1  #: the command did its work, and something is wrong with what it looked at
NOTHING_DONE = 2  #: wrong usage, or nothing could be done
INCOMPLETE = 3  #: files of some processes are not here
_DEFECT = 70
_INTERRUPTED = 130
_LONGEST = 2000


class InOrder(click.Group):
    """A group whose help has its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Frame(InOrder):
    """The group of all commands: gives each ``--debug``, and turns errors into one line with the fix."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        _give_debug(cmd)
        super().add_command(cmd, name)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            _end_by_usage(error)

    def invoke(self, ctx: click.Context) -> Any:
        command = _command_of(self, [*getattr(ctx, "_protected_args", ()), *ctx.args])
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _end_by_usage(error, " ".join([ctx.command_path, *command]))
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:  # whoever read our output has gone: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the last flush complain
            sys.exit(0)
        except Exception as error:
            if ctx.meta.get("sightline.debug") or os.environ.get("SIGHTLINE_DEBUG") == "1":
                raise
            command = ctx.meta.get("sightline.command", "sightline")
            if isinstance(error, OSError) and error.filename is not None and error.strerror:
                say_error(command, f"{error.filename}: {error.strerror}")
                sys.exit(NOTHING_DONE)
            if isinstance(error, (SightlineError, OSError)):
                say_error(command, str(error))
                sys.exit(NOTHING_DONE)
            say_error(
                command,
                f"{type(error).__name__}: {str(error) or 'no message'} (a defect of sightline; --debug shows "
                f"where)",
            )
            sys.exit(_DEFECT)


def _command_of(group: click.Group, typed: Sequence[str]) -> list[str]:
    """The words that name the command; click does not always know it when it says what is wrong."""
    command: click.Command = group
    words = []
    for word in typed:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        command = command.commands[word]
        words.append(word)
    return words


def _end_by_usage(error: click.UsageError, command: str = "sightline") -> NoReturn:
    """Wrong usage in one line, with where the right one is told."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    command = error.ctx.command_path if error.ctx is not None else command
    say_error(command, f"{error.format_message().rstrip('.')}; see {command} --help")
    sys.exit(NOTHING_DONE)


def say_error(command: str, message: str) -> None:
    """One line on stderr, whatever stands in the message: names of files may hold what acts on a terminal."""
    click.echo(f"{command}: {escaped(' '.join(_as_typed(message).split()))}", err=True)


def _as_typed(message: str) -> str:
    """With paths below the working directory as they are from there, unless they were typed in full."""
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # it is gone
        return message
    if here == os.sep or any(here in each for each in sys.argv[1:]):
        return message
    return re.sub(rf"(?<![\w.~-]){re.escape(here)}(?=\S)", "", message)


def say_problems(texts: Iterable[object]) -> None:
    """What could not be read, or was lost: a line each. The exit code is 1 then."""
    _say("problem", texts)


def say_missing(texts: Iterable[object]) -> None:
    """Whose files are not here: a line each."""
    _say("missing", texts)


def say_notes(texts: Iterable[object]) -> None:
    """What is worth knowing: a line each."""
    _say("note", texts)


def _say(what: str, texts: Iterable[object]) -> None:
    for text in texts:
        click.echo(f"{what}: {one_line(_as_typed(str(text)), _LONGEST)}", err=True)


def end(problems: object, absent: object = (), *, as_json: bool = False) -> NoReturn:
    """Ends a command that has done its work.

    Args:
        problems: what was damaged, or how much; if anything was, the exit code is 1.
        absent: whose files are not here; else 3, where a program is told.
        as_json: whether one is.
    """
    sys.exit(FOUND_WRONG if problems else INCOMPLETE if absent and as_json else 0)


def say_next(*commands: str) -> None:
    """Names the next useful commands, on stderr, where no pipe reads them.

    Args:
        commands: whole, as in ``"sightline report runs/latest"``, each with a few words on what it gives
            after two spaces and a ``#``, if they are needed.
    """
    for line in next_lines(commands):
        click.secho(line, err=True, dim=True)


def next_lines(commands: Iterable[str]) -> list[str]:
    """The lines of :func:`say_next`."""
    return [
        f"{'next:' if number == 0 else '     '} {escaped(command)}" for number, command in enumerate(commands)
    ]


def say_served(port: int) -> None:
    """How a server on the loopback ends, and is reached from elsewhere."""
    click.echo(
        f"Ctrl-C ends it. From another machine: ssh -L {port}:127.0.0.1:{port} HOST, and open it there",
        err=True,
    )


def refuse(why: str, *names: str) -> None:
    """Refuses options that were typed and would do nothing, since none is ignored in silence.

    Args:
        why: and what to do, as in ``"--serve writes no file: leave out one of the two"``.
        names: of the parameters.

    Raises:
        click.UsageError: one of them was typed.
    """
    context = click.get_current_context()
    typed = [
        max(each.opts, key=len)
        for each in context.command.params
        if each.name in names and context.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE
    ]
    if typed:
        raise click.UsageError(f"{', '.join(typed)}: {why}")


def _give_debug(command: click.Command) -> None:
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _give_debug(each)
        return
    if not any(parameter.name == "debug" for parameter in command.params):
        command.params.append(
            click.Option(
                ["--debug"], is_flag=True, expose_value=False, is_eager=True, callback=_note_command,
                help="On an error, show where in sightline it was.",
            )
        )  # fmt: skip


def _note_command(context: click.Context, option: click.Parameter, value: bool) -> None:
    context.meta["sightline.command"] = context.command_path  # shared with the contexts above
    if value and context.get_parameter_source("debug") is not ParameterSource.DEFAULT:
        context.meta["sightline.debug"] = True
