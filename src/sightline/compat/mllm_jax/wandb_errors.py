"""What stands for ``wandb.errors``: classes for ``except`` clauses. None of them is ever raised."""

from __future__ import annotations


class Error(Exception):
    """The root of them."""


class CommError(Error):
    """As for trouble with W&B's server."""


class AuthenticationError(CommError):
    """As for a key that the server refuses."""


class UsageError(Error):
    """As for a call that is wrong."""


def __getattr__(name: str) -> type[Error]:
    """Others that W&B has, or had."""
    if name.startswith("_"):
        raise AttributeError(name)
    return Error
