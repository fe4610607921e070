"""Asking what may hang: a disk of the network, another program."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Late(Exception):
    """It has not answered in time."""


def within(timeout: float, ask: Callable[[], T]) -> T:
    """What a function returns or raises, if it does within ``timeout`` seconds.

    Else its thread is left behind; it is a daemon, and ends with the program.

    Raises:
        Late: it is not done.

    Example:
        >>> within(5.0, lambda: 1 + 1)
        2
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised below, where somebody waits for it
            errors.append(error)

    thread = threading.Thread(target=run, name="sightline-check", daemon=True)
    thread.start()
    thread.join(timeout)
    if errors:
        raise errors[0]
    if not answers:
        raise Late(f"no answer within {timeout:g} s")
    return answers[0]


class Answer(NamedTuple):
    """What a Python program has said.

    Attributes:
        code: its exit code; negative: the signal that ended it; None: it did not end in time.
        out, err: what it printed.
    """

    code: int | None
    out: str
    err: str

    @property
    def cause(self) -> str:
        """Its last words in one line."""
        if self.code is None:
            return "it did not end in time"
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with {self.code}"


def ask_python(arguments: Sequence[str], timeout: float, environment: Mapping[str, str]) -> Answer:
    """Runs Python apart, so that a crash, a hang or an exit hook of what it imports is its own."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            timeout=timeout,
            check=False,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", "")
    return Answer(done.returncode, *(text.decode(errors="replace") for text in (done.stdout, done.stderr)))
