"""SwanLab's run files (``run-*/run-*.swanlab``): what is really in them, up to where one was cut.

SwanLab says nothing of what the disk has refused, and its files are whole only when a run has been finished.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from sightline.sinks.block_log import entries, file_header
from sightline.sinks.commits import SEQ

log = logging.getLogger("sightline")


class Placed(NamedTuple):
    """A record, and where it ends in its file."""

    record: Any
    end: int


def last_seq(folder: Path, identity: str) -> int:
    """The ``seq`` of an experiment's last commit in the run files of a folder; 0 if there is none."""
    seq = 0
    for path in sorted(folder.glob("run-*/run-*.swanlab")):
        records = records_in(path)
        first = next(records, None)
        if first is not None and first.start.id == identity:
            for record in records:
                if record.scalar.key == SEQ:
                    seq = max(seq, record.scalar.step)
    return seq


def cut_behind_commits(folder: Path, identity: str) -> None:
    """Takes off an experiment's run files what stands behind their last whole commit, since it comes again.

    That is the beginning of a commit that was cut; and behind a record that the disk has refused, commits
    that SwanLab finds there, and ``last_seq`` does not count. Nobody may be writing them.
    """
    for path in sorted(folder.glob("run-*/run-*.swanlab")):
        size = path.stat().st_size
        end = _end_of_commits(path, identity)
        if end is not None and end < size:
            log.info(
                "sightline: %s is cut from %d bytes to %d, behind its last whole commit", path, size, end
            )
            os.truncate(path, end)


def records_in(path: Path) -> Iterator[Any]:
    """The records of a run file, up to where it is cut, or one is missing: SwanLab numbers them."""
    return (each.record for each in _placed(path))


def _placed(path: Path) -> Iterator[Placed]:
    store = import_module("swanlab.sdk.internal.core_python.store")
    make = import_module("swanlab.proto.swanlab.record.v1.record_pb2").Record
    version = (
        store.LEVELDBLOG_HEADER_IDENT, store.LEVELDBLOG_HEADER_MAGIC, store.LEVELDBLOG_HEADER_VERSION
    )  # fmt: skip
    number = 0
    for data, end in entries(path, file_header(*version)):
        record = make.FromString(data)
        if record.num > 0:  # others are about the run
            number += 1
            if record.num != number:
                return
        yield Placed(record, end)


def _end_of_commits(path: Path, identity: str) -> int | None:
    """None if the file is not of this experiment."""
    records = _placed(path)
    first = next(records, None)
    if first is None or first.record.start.id != identity:
        return None
    end, is_within = first.end, False
    for record, ends in records:
        if record.scalar.key == SEQ:
            is_within = False
        elif record.HasField("scalar") or record.HasField("media"):
            is_within = True
        if not is_within:
            end = ends
    return end
