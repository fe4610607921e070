"""W&B's run files (``run-<id>.wandb``): what is really in them, up to where one was cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from sightline.sinks.block_log import entries, file_header

_HEADER = file_header(b":W&B", 0xBEE1, 0)
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
    return (entry.data for entry in entries(path, _HEADER))


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
