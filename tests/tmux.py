"""A real terminal for tests: a pane of a tmux of their own, of any size, that is typed into and looked at."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.harness import until

_ENDED = "ended with code "


class Pane:
    """One pane, in which a command runs between two looks at the terminal's modes.

    Args:
        command: what runs; with its arguments.
        size: columns and rows.
        env: set over this process's.
    """

    def __init__(self, command: Sequence[str], size: tuple[int, int], env: dict[str, str]) -> None:
        if shutil.which("tmux") is None:
            pytest.fail("these tests look at a real terminal: install tmux")
        self._folder = Path(tempfile.mkdtemp(prefix="sl"))  # short, as a socket's path must be
        script = (
            f"stty -g >{self._folder}/before; {shlex.join(command)}; code=$?; "
            f"stty -g >{self._folder}/after; echo {_ENDED}$code; exec cat"
        )
        clean = {
            key: value for key, value in os.environ.items() if key not in ("TMUX", "NO_COLOR", "COLUMNS")
        }
        columns, rows = (str(each) for each in size)
        subprocess.run(
            [*self._tmux, "-u", "-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows, script],
            check=True, env={**clean, "LANG": "C.UTF-8", **env},
        )  # fmt: skip
        self._server = int(self.ask("pid"))

    @property
    def _tmux(self) -> list[str]:
        return ["tmux", "-S", str(self._folder / "socket")]

    def _say(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True)
        return done.stdout

    def ask(self, name: str) -> str:
        """A variable of tmux, as in ``pane_title``."""
        return self._say("display-message", "-p", f"#{{{name}}}").strip()

    @property
    def text(self) -> str:
        """What is seen."""
        return self._say("capture-pane", "-p")

    @property
    def coloured(self) -> str:
        """What is seen, with its colours as escape sequences."""
        return self._say("capture-pane", "-p", "-e")

    def shows(self, *texts: str) -> str:
        """Waits until all of these are seen; returns what is seen."""
        seen = ""

        def found() -> bool:
            nonlocal seen
            seen = self.text
            return all(text in seen for text in texts)

        try:
            until(found, patience=60)
        except AssertionError:
            raise AssertionError(f"waited in vain for {texts} in:\n{seen}") from None
        return seen

    def type(self, *keys: str) -> None:
        """Keys by tmux's names, or texts."""
        self._say("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._say("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def process(self) -> int:
        """The id of the command's process."""
        shell = self.ask("pane_pid")
        children = Path(f"/proc/{shell}/task/{shell}/children")
        return int(until(lambda: children.read_text().split())[0])

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process, number)

    @property
    def is_restored(self) -> bool:
        """Whether the terminal is as it was: its modes, screen, cursor, and wrapping."""
        before, after = (self._folder / name for name in ("before", "after"))
        flags = [self.ask(name) for name in ("alternate_on", "cursor_flag", "wrap_flag")]
        return before.read_text() == after.read_text() and flags == ["0", "1", "1"]

    def ended(self) -> int:
        """Waits for the end of the command; checks that the terminal is as it was; returns the code."""
        seen = self.shows(_ENDED)
        assert self.is_restored, seen
        return int(seen.rpartition(_ENDED)[2].split()[0])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._server, signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def pane(*command: str, size: tuple[int, int] = (80, 40), **env: str) -> Iterator[Pane]:
    """A pane for one test."""
    opened = Pane(command, size, env)
    try:
        yield opened
    finally:
        opened.close()
