"""SwanLab's run files (``run-*/run-*.swanlab``): what is really in them, up to where one was cut.

SwanLab says nothing of what the disk has refused, and its files are whole only when a run has been finished.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from sightline.sinks.commits import SEQ

log = logging.getLogger("sightline")


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


def records_in(path: Path) -> Iterator[Any]:
    """The records of a run file, up to where it is cut, or one is missing: SwanLab numbers them."""
    reader = import_module("swanlab.sdk.internal.core_python.store").DataStoreReader()
    make = import_module("swanlab.proto.swanlab.record.v1.record_pb2").Record
    number = 0
    with closing(reader):
        try:
            reader.open(path)
            while data := reader.scan():
                record = make.FromString(data)
                if record.num > 0:  # others are about the run
                    number += 1
                    if record.num != number:
                        break
                yield record
        except Exception as error:  # noqa: BLE001 - SwanLab asserts what a file that is cut does not hold
            log.info("sightline: %s counts up to where it is cut: %r", path, error)
