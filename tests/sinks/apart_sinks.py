"""Sinks that the child processes of test_apart.py make: they keep what they get in a file."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.sinks import SinkRun
from sightline.sinks.lineage import Rewind


@dataclass(frozen=True)
class FileConfig:
    """Settings of the sink.

    Attributes:
        dir: where its file ``kept`` is.
        fails, hangs: the method that does.
    """

    dir: str
    fails: str = ""
    hangs: str = ""


class FileSink:
    """Lines of a file: ``open``, each ``seq``, and ``close`` or ``abandon``."""

    name = "file"
    rewind: Rewind = "continue"
    stores_at_close = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._file = Path(settings["dir"]) / "kept"
        self._kept: dict[str, int] = {}
        if settings.get("fails") == "make":
            raise ImportError("no such SDK")

    def open(self, run: SinkRun) -> int | None:
        self._call("open")
        assert isinstance(run.dir, Path)
        self._kept = run.kept
        self._kept["opened"] = self._kept.get("opened", 0) + 1
        logging.getLogger("sightline").warning("says the same each time")
        logging.getLogger("sightline").warning("opened by %d", os.getpid())
        print("a word of the SDK")
        print("and another", file=sys.stderr)
        return self._file.read_text().count("seq")

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._call("write", *(f"seq {record['seq']}" for record in records))
        self._kept["written"] = self._kept.get("written", 0) + len(records)

    def close(self) -> None:
        self._call("close", "close")

    def abandon(self) -> None:
        self._call("abandon", "abandon")

    def _call(self, method: str, *lines: str) -> None:
        if self._settings.get("fails") == method:
            raise ValueError(f"{method} fails")
        while self._settings.get("hangs") == method:
            self._file.with_name("hangs").touch()
            time.sleep(0.01)
        with open(self._file, "a") as file:
            file.writelines(f"{line}\n" for line in lines or (method,))
