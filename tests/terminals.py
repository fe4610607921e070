"""A command on a real terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.harness import PATIENCE

SIGHTLINE = (sys.executable, "-m", "sightline.cli")
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_NOT_PASSED_ON = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "COLORTERM", "CI", "SIGHTLINE_")


def on_terminal(
    command: Sequence[str | Path],
    *,
    columns: int = 80,
    shown: Literal["stdout", "stderr", "both"] = "stdout",
    cwd: Path | None = None,
    code: int | None = 0,
    **env: str,
) -> bytes:
    """What a command writes to a terminal, with plain ends of lines.

    Args:
        command: and its arguments.
        columns: of the terminal.
        shown: which of its streams is one; the other one is not seen.
        cwd: where it runs.
        code: that it must end with; None: any.
        env: variables over those of this process, of which those of terminals and ours are left out.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
    process = subprocess.Popen(
        [*map(str, command)], cwd=cwd, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if shown == "stderr" else theirs,
        stderr=subprocess.DEVNULL if shown == "stdout" else theirs,
        env={**surroundings, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 1 << 16):
            said += piece
    except OSError:  # how Linux says that nobody holds the other end any more
        pass
    os.close(ours)
    ended = process.wait(PATIENCE)
    assert code in (None, ended), said[-2000:]
    return said.replace(b"\r\n", b"\n")


def plain(said: bytes) -> str:
    """Without colours; any other escape sequence stays, to be found."""
    return _COLOUR.sub(b"", said).decode()
