"""The lines of a live trace file, whatever has happened to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from sightline.files.file_lines import zeros_said
from sightline.files.sparse_files import behind_zeros, data_from
from sightline.support.wording import counted

_LONGEST = 16 << 20
_DEEP = 200  # brackets, from which on it is looked how deep an event is


@dataclass
class Damage:
    """What could not be read of a file.

    Attributes:
        torn: lines that are no events.
        zeros: bytes of zeros, as a crash of a machine leaves them.
        is_cut: the last line was not whole, as when the process was killed.
        unbegun: ends of spans whose beginnings are not there.
        error: the file could not be read on.
        size: how many bytes have been read of it; a live file goes on growing.
    """

    torn: int = 0
    zeros: int = 0
    is_cut: bool = False
    unbegun: int = 0
    error: str = ""
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.torn or self.zeros or self.unbegun or self.error)

    def __str__(self) -> str:
        said = [counted(self.torn, "torn line")] if self.torn else []
        said += [zeros_said(self.zeros)] if self.zeros else []
        said += [f"{counted(self.unbegun, 'end')} of spans that have no beginning"] if self.unbegun else []
        return ", ".join(said + ([self.error] if self.error else []))


def raw_lines(
    path: Path, damage: Damage, advance: Callable[[int], object] = lambda size: None
) -> Iterator[bytes]:
    """The lines of a file as bytes; one of more than 16 MiB comes in parts, none of which is an event.

    Of one with NUL bytes in it there is what stands behind them; holes are not read.

    Args:
        path: of the file.
        damage: gets what goes wrong.
        advance: told now and then how many bytes more have been read.
    """
    read = 0
    try:
        with open(path, "rb", 1 << 20) as file:
            for line in iter(partial(file.readline, _LONGEST), b""):
                damage.size += len(line)
                read += len(line)
                if b"\0" in line:
                    damage.zeros += line.count(b"\0")
                    if line.endswith(b"\0"):
                        read += _pass_over(file, damage)
                    line = behind_zeros(line)
                yield line
                if read > 1 << 20:
                    advance(read)
                    read = 0
    except OSError as error:
        damage.error = f"{type(error).__name__}: {error}"
    advance(read)


def _pass_over(file: BinaryIO, damage: Damage) -> int:
    """Goes to the end of a hole; returns how many bytes it has."""
    begin = file.tell()
    hole = data_from(file.fileno(), begin) - begin
    file.seek(begin + hole)
    damage.size += hole
    damage.zeros += hole
    return hole


def parsed(line: bytes, damage: Damage) -> dict[str, Any] | None:
    """The event of a line; None if it has none."""
    text = line.strip(b" \t\r\n,")
    if text in (b"", b"[", b"]"):
        return None
    try:
        event = orjson.loads(text)
        if text.count(b"{") + text.count(b"[") > _DEEP:
            orjson.dumps(event)  # what is read may be too deep to be written
    except (orjson.JSONDecodeError, TypeError):
        event = None
    if not isinstance(event, dict):
        if line.endswith(b"\n"):
            damage.torn += 1
        else:
            damage.is_cut = True
        return None
    return event
