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
from pathlib import Path

_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


def on_terminal(columns: int, *arguments: str | Path, **env: str) -> bytes:
    """What ``sightline`` with these arguments writes to a terminal as its stdout; stderr is not shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    surroundings = {
        k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "sightline.cli", *map(str, arguments)],
        stdout=theirs, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        env={**surroundings, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    process.wait()
    return said.replace(b"\r\n", b"\n")


def plain(said: bytes) -> str:
    """Without colours; any other escape sequence stays, to be found."""
    return _COLOUR.sub(b"", said).decode()
