"""What is wrong with a runner's input: one line for the terminal, never a traceback."""

from __future__ import annotations


class DataError(ValueError):
    """A data file that cannot be used; the message names the file, the line and what was expected."""


class CheckpointError(RuntimeError):
    """No checkpoint to go on from, or one that does not fit; the message says which and what was expected."""
