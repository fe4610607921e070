"""Sinks that the child processes of test_apart.py make: they keep what they get in a file."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.sinks import SinkRun
from sightline.sinks.lineage import Rewind


class FileSink:
    """Lines of a file: ``open``, each ``seq``, and ``close`` or ``abandon``.

    Args:
        settings: ``file``; and what goes wrong: ``fails`` or ``hangs``, the name of a method.
    """

    name = "file"
    rewind: Rewind = "continue"
    stores_at_close = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._file = Path(settings["file"])
        if settings.get("fails") == "make":
            raise ImportError("no such SDK")

    def open(self, run: SinkRun) -> int | None:
        self._call("open")
        assert isinstance(run.dir, Path)
        run.kept["opened"] = run.kept.get("opened", 0) + 1
        logging.getLogger("sightline").warning("opened by %d", os.getpid())
        print("a word of the SDK")
        print("and another", file=sys.stderr)
        return self._file.read_text().count("seq")

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._call("write", *(f"seq {record['seq']}" for record in records))

    def close(self) -> None:
        self._call("close", "close")

    def abandon(self) -> None:
        self._call("abandon", "abandon")

    def _call(self, method: str, *lines: str) -> None:
        if self._settings.get("fails") == method:
            raise ValueError(f"{method} fails")
        while self._settings.get("hangs") == method:
            time.sleep(0.01)
        with open(self._file, "a") as file:
            file.writelines(f"{line}\n" for line in lines or (method,))
