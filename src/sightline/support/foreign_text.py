"""Texts of others (names, keys, messages, samples), cleaned so that nothing in them acts on a terminal."""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Iterable

_UNSTEADY = ("Mn", "Me")  # what changes the character before: terminals disagree on how wide that is then


def escaped(text: str, keep: str = "") -> str:
    r"""What is no printable character as Python writes it: controls, changes of direction, lone surrogates.

    Args:
        text: anybody's.
        keep: characters that are left as they are.

    Example:
        >>> escaped("a\x1b[2J\u202eb\n"), escaped("a\n\x07", keep="\n")
        ('a\\x1b[2J\\u202eb\\n', 'a\n\\x07')
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def one_line(value: object, most: int = 200) -> str:
    r"""The beginning of a text, in one line.

    Args:
        value: anything; what is no text is shown as ``str`` does.
        most: characters of it, so that a long one costs no more than a short one.

    Example:
        >>> one_line("a\x1b[31m\nb"), one_line("abcdef", 4)
        ('a\\x1b[31m\\nb', 'abc…')
    """
    text = value if isinstance(value, str) else str(value)
    return escaped(text if len(text) <= most else f"{text[: most - 1]}…")


def steady(value: object, most: int = 500) -> str:
    r"""The beginning of a text in one line whose width all terminals agree on, for what is drawn in place.

    Accents that cannot be composed and colours of skin are left out; a line break is shown as ``⏎``.

    Args:
        value, most: as of :func:`one_line`.

    Example:
        >>> steady("a\x1b[2J\u202eb\nc"), steady("x" * 1000, 3)
        ('a\\x1b[2J\\u202eb⏎c', 'xx…')
    """
    text = value if isinstance(value, str) else str(value)
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    if text.isascii() and text.isprintable():
        return text
    kept = (char for char in unicodedata.normalize("NFC", text) if not _is_unsteady(char))
    return escaped("".join(kept).replace("\n", "⏎").replace("\t", " "))[: 2 * most]


def quoted(path: str | os.PathLike[str]) -> str:
    r"""A path as a shell takes it, in a command that is named; nothing in it acts on a terminal.

    Example:
        >>> quoted("runs/latest"), quoted("my runs/a"), quoted("a\x1b[2J"), quoted("-x")
        ('runs/latest', "'my runs/a'", "$'a\\x1b[2J'", './-x')
    """
    text = os.fspath(path)
    text = f"./{text}" if text.startswith("-") else text
    if text.isprintable():
        return shlex.quote(text)
    plain = {ord(char) for char in " !#$%&()*+,-./:;<=>?@[]^_{|}~"}
    return "$'{}'".format(
        "".join(
            chr(byte) if byte in plain or (byte < 128 and chr(byte).isalnum()) else f"\\x{byte:02x}"
            for byte in os.fsencode(text)
        )
    )


def quoted_all(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Several paths, as :func:`quoted`."""
    return " ".join(map(quoted, paths))


def _is_unsteady(char: str) -> bool:
    return unicodedata.category(char) in _UNSTEADY or "\U0001f3fb" <= char <= "\U0001f3ff"
