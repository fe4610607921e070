"""Run files in the format of LevelDB's log, as W&B and SwanLab write them, each with a header of its own.

Behind the header of 7 bytes come blocks of 32 KiB, in them chunks of a checksum (CRC-32, little-endian, of
what follows the length), a length of 16 bits, a type, and data; a record is one or several chunks. See
``doc/log_format.md`` of LevelDB, ``core/pkg/leveldb`` of wandb and ``core_python/store`` of swanlab.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = 32 * 1024
_CHUNK_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class Entry(NamedTuple):
    """A record, and where it ends in its file."""

    data: bytes
    end: int


def file_header(name: bytes, magic: int, version: int) -> bytes:
    """What a file begins with."""
    return struct.pack("<4sHB", name, magic, version)


def entries(path: Path, header: bytes) -> Iterator[Entry]:
    """The records of a file, up to where it is cut or damaged; none if it has another header.

    Example:
        >>> list(entries(Path("/dev/null"), file_header(b":W&B", 0xBEE1, 0)))
        []
    """
    with open(path, "rb") as file:
        block = file.read(_BLOCK)
        if not block.startswith(header):
            return
        before, at = 0, len(header)
        parts: list[bytes] = []
        while True:
            if at + _CHUNK_HEADER.size > len(block):
                before += len(block)
                block, at = file.read(_BLOCK), 0
                if not block:
                    return
                continue
            checksum, length, kind = _CHUNK_HEADER.unpack_from(block, at)
            end = at + _CHUNK_HEADER.size + length
            data = block[at + _CHUNK_HEADER.size : end]
            fits = kind in (_FULL, _FIRST) if not parts else kind in (_MIDDLE, _LAST)
            if len(data) < length or not fits or zlib.crc32(bytes((kind,)) + data) != checksum:
                return
            parts.append(data)
            at = end
            if kind in (_FULL, _LAST):
                yield Entry(b"".join(parts), before + end)
                parts = []
