"""W&B's run files (``run-<id>.wandb``): what is really in them, up to where one was cut.

W&B keeps a run in the format of LevelDB's log, with a header of its own of 7 bytes: blocks of 32 KiB, in them
chunks of a checksum (CRC-32, little-endian, of what follows the length), a length of 16 bits, a type, and
data; records of W&B's protocol buffers in one or several chunks. See ``doc/log_format.md`` of LevelDB and
``core/pkg/leveldb`` of wandb.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

_BLOCK = 32 * 1024
_FILE_HEADER = struct.Struct("<4sHB")
_CHUNK_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_RECENT = 16


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a run's history, in order, up to where the file is cut or damaged."""
    for data in records(path):
        row = _row(data)
        if row is not None:
            yield row


def last_row(path: Path, key: str) -> dict[str, Any] | None:
    """The last row that has a key; None if there is none. Of the others, none is parsed."""
    name = key.encode()
    # Before each row W&B writes a record of the same values, for its summary.
    recent = deque((data for data in records(path) if name in data), maxlen=_RECENT)
    found = (row for data in reversed(recent) if (row := _row(data)) is not None and key in row)
    return next(found, None)


def mentions(path: Path, run_id: str) -> bool:
    """Whether a file is of this run of sightline, whose id is among the facts at the file's beginning."""
    return any(run_id.encode() in data for data in records(path))


def records(path: Path) -> Iterator[bytes]:
    """The records of a run file, up to where it is cut or damaged.

    Example:
        >>> list(records(Path("/dev/null")))
        []
    """
    with open(path, "rb") as file:
        block = file.read(_BLOCK)
        if len(block) < _FILE_HEADER.size or _FILE_HEADER.unpack_from(block) != (b":W&B", 0xBEE1, 0):
            return
        at = _FILE_HEADER.size
        parts: list[bytes] = []
        while True:
            if at + _CHUNK_HEADER.size > len(block):
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
                yield b"".join(parts)
                parts = []


def _row(data: bytes) -> dict[str, Any] | None:
    """A record's row, if it is one."""
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # without types for what it holds
    record = messages.Record.FromString(data)
    if record.WhichOneof("record_type") != "history":
        return None
    row: dict[str, Any] = {}
    for item in record.history.item:
        *folders, name = item.nested_key or [item.key]
        inside = row
        for folder in folders:
            inside = inside.setdefault(folder, {})
        inside[name] = _value(item.value_json)
    return row


def _value(text: str) -> Any:
    """W&B writes NaN and infinities as JSON has them not."""
    special = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(text)
    return float(special) if special is not None else orjson.loads(text)
