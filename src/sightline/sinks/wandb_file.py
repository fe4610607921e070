"""W&B's run files (``run-<id>.wandb``): what is really in them, up to where one was cut.

W&B keeps a run in the format of LevelDB's log, with a header of its own of 7 bytes: blocks of 32 KiB, in them
chunks of a checksum (CRC-32, little-endian, of what follows the length), a length of 16 bits, a type, and
data; records of W&B's protocol buffers in one or several chunks. See ``doc/log_format.md`` of LevelDB and
``core/pkg/leveldb`` of wandb.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

_BLOCK = 32 * 1024
_FILE_HEADER = struct.Struct("<4sHB")
_CHUNK_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def rows(path: Path, containing: str = "") -> Iterator[dict[str, Any]]:
    """The rows of a run's history that have a key, in order; nested values as dicts.

    Args:
        path: the run file; up to where it is cut or damaged it counts.
        containing: the key; none: all rows.
    """
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # without types for what it holds

    for data in records(path):
        if containing.encode() in data:
            try:
                record = messages.Record.FromString(data)
            except Exception:  # noqa: BLE001 - its own error, of a module that differs between versions
                return
            if record.WhichOneof("record_type") == "history":
                row: dict[str, Any] = {}
                for item in record.history.item:
                    *folders, name = item.nested_key or [item.key]
                    inside = row
                    for folder in folders:
                        inside = inside.setdefault(folder, {})
                    inside[name] = _value(item.value_json)
                yield row


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


def _value(text: str) -> Any:
    """W&B writes NaN and infinities as JSON has them not."""
    special = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(text)
    return float(special) if special is not None else orjson.loads(text)
