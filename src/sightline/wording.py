"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things.

    Args:
        number: how many.
        one: the word for one of them.
        several: the word for more; None: with an s.

    Example:
        >>> counted(1, "step"), counted(0, "step"), counted(2, "process", "processes")
        ('1 step', '0 steps', '2 processes')
    """
    return f"{number} {one if number == 1 else several or f'{one}s'}"
