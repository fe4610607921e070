"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sightline.cli import main
from sightline.cli.frame import Frame, say_next


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = dict(leaves(main))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    said = CliRunner().invoke(main, [*path, "--help"])
    assert said.exit_code == 0
    assert f"  sightline {' '.join(path)}" in said.output or f"(sightline {' '.join(path)}" in said.output
    assert "--debug" in said.output


@pytest.mark.parametrize("typed", [[], ["trace"], ["adopt"]], ids=" ".join)
def test_the_commands_are_told_apart_in_a_line_each(typed: list[str]) -> None:
    """Whole ones, also on a narrow terminal."""
    said = CliRunner().invoke(main, [*typed, "--help"], terminal_width=80)
    lines = said.output.partition("Commands:\n")[2].splitlines()
    assert len(lines) > 0
    assert not [line for line in lines if line.endswith("...") or not line.rstrip().endswith((".", "?"))]


def failing(error: BaseException) -> Frame:
    frame = Frame("sightline")

    @frame.command()
    def one() -> None:
        """Fails."""
        raise error

    frame.add_command(one)
    return frame


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("RunDirectoryError('no\\nrun')", 2, "sightline one: no run\n"),
        ("RunDirectoryError('a\\x1b[2Jb')", 2, "sightline one: a\\x1b[2Jb\n"),
        ("FileNotFoundError(2, 'not there', 'x')", 2, "sightline one: x: not there\n"),
        ("KeyError('k')", 70, "sightline one: KeyError: 'k' (a defect of sightline; --debug shows where)\n"),
        ("KeyboardInterrupt()", 130, ""),
        ("BrokenPipeError()", 0, ""),
    ],
)
def test_an_error_is_one_line_and_a_code(error: str, code: int, line: str) -> None:
    """With --debug it is raised, so that Python shows where."""
    script = (
        "import sys; from tests.cli.test_frame import failing; from sightline.errors import *; "
        f"failing({error})(prog_name='sightline')"
    )
    run: Callable[..., subprocess.CompletedProcess[str]] = lambda *more: subprocess.run(  # noqa: E731
        [sys.executable, "-c", script, "one", *more],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env={**os.environ, "SIGHTLINE_DEBUG": ""},
    )  # fmt: skip
    plain = run()
    assert (plain.returncode, plain.stdout, plain.stderr.lstrip("\n")) == (code, "", line)
    if code in (2, 70):
        shown = run("--debug")
        assert shown.returncode == 1
        assert error.partition("(")[0] in shown.stderr
        assert "Traceback" in shown.stderr


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["watc"], "sightline: No such command 'watc'"),
        (["--odd"], "sightline: No such option '--odd'"),
        (["report", "x", "-o"], "sightline report: Option '-o' requires an argument"),
        (["trace", "merge", "x", "-o"], "sightline trace merge: Option '-o' requires an argument"),
        (["watch"], "sightline watch: Missing argument 'RUN_DIR'"),
        (["report", "x", "--port", "65536"], "sightline report: Invalid value for '--port': 65536"),
        (["trace", "merge", "x", "--odd\x1b[2J"], "sightline trace merge: No such option '--odd"),
    ],
)
def test_wrong_usage_is_one_line_that_leads_to_the_help(typed: list[str], line: str) -> None:
    said = CliRunner().invoke(main, typed, prog_name="sightline")
    assert said.exit_code == 2
    assert said.stderr.startswith(line)
    command = line.partition(":")[0]
    assert said.stderr.endswith(f"; see {command} --help\n")
    assert said.stderr.count("\n") == 1
    assert said.stderr.strip().isprintable()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("report x --serve -o page.html", "--output: --serve writes no file"),
        ("report x --serve --json", "--json: --serve writes no file"),
        ("report x --serve --force", "--force: --serve writes no file"),
        ("report x --port 8000", "--port: it is that of --serve"),
        ("export x --to parquet -o a.csv", "--to parquet and the name a.csv: leave out --to, or end"),
        ("export x --to csv -o a.PARQUET", "--to csv and the name a.PARQUET"),
        ("export x -o - --force", "--force: -o - replaces no file"),
        ("trace merge x --format pftrace -o a.json.gz", "or end the name in .pftrace"),
        ("trace merge x --jsonl -o a.tar", "--jsonl and the name a.tar"),
        ("trace merge x --jsonl --format json", "--format: --jsonl is another format"),
        ("trace merge x -o a.tar --metric train/loss", "--metric: an archive holds"),
        ("trace merge x -o a.tar --xla", "--xla: an archive holds"),
        ("trace view {file} --metric train/loss", "--metric: a file is shown as it is"),
        ("trace view {file} --xla", "--xla: a file is shown as it is"),
        ("trace view {file} .", "a file is shown alone"),
        ("watch x --once --stay", "--stay: --once looks once"),
        ("watch x --json --stay", "--stay: --json looks once"),
        ("watch x --stay", "--stay: the output is no terminal"),
        ("doctor x --log-dir runs", "--log-dir: of a run its own disk is looked at"),
        ("lint {file} --json --format github", "--format: --json is another format"),
        ("selftest --process-id 4 --num-processes 4", "--process-id 4: expected 0 to 3"),
        ("compare a b --at-step 1 --at-time 2", "give one of --at-step and --at-time"),
    ],
)  # fmt: skip
def test_options_that_would_do_nothing_are_refused(tmp_path: Path, typed: str, said: str) -> None:
    """In one line with what to do, before anything is looked at."""
    file = tmp_path / "a.json"
    file.touch()
    done = CliRunner().invoke(main, typed.format(file=file).split(), prog_name="sightline")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert said in done.stderr


def test_what_comes_next_is_said_apart_from_the_output() -> None:
    @click.command()
    def one() -> None:
        click.echo("done")
        say_next("sightline ls runs", "sightline report runs/latest")

    said = CliRunner().invoke(one)
    assert said.stdout == "done\n"
    assert said.stderr == "next: sightline ls runs\n      sightline report runs/latest\n"


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    """The lines are for the command's own name, and the command answers them with its commands."""
    said = CliRunner().invoke(main, ["completion", shell])
    assert said.exit_code == 0
    assert "_SIGHTLINE_COMPLETE" in said.output
    env = {
        **os.environ,
        "_SIGHTLINE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "sightline tr",
        "COMP_CWORD": "1",
    }
    if shell == "fish":
        env["COMP_CWORD"] = "tr"
    answer = subprocess.run(["sightline"], executable=Path(sys.executable).with_name("sightline"),
                            capture_output=True, text=True, check=True, env=env)  # fmt: skip
    assert "trace" in answer.stdout
