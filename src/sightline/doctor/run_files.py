"""What lies in a run directory: whose files, how large, and what waits to be uploaded."""

from __future__ import annotations

import heapq
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sightline.files.file_lines import object_in
from sightline.support.foreign_numbers import whole

_MOST_FILES = 200_000
_LARGEST = 5
_PROCESS = re.compile(r"(?:.*\.)?p(\d{5,})\.a(\d{2,})(?:\.|$)")
_HEAD = 4096
_FORMAT = 1  # that all files of processes have
_NEWER = 64
_OURS = (
    "traces",
    "sessions",
    "logs",
    "samples",
    "profiles",
    "cursors",
    "tensorboard",
    "wandb",
    "swanlab",
    "trackio",
    "mlflow",
    "mlruns",
)


class OfflineRun(NamedTuple):
    """A run of W&B's on disk.

    Attributes:
        path: its folder.
        is_uploaded: whether `wandb sync` has marked it.
    """

    path: Path
    is_uploaded: bool


@dataclass
class RunFiles:
    """The files of a run directory.

    Attributes:
        processes: by attempt, whose files are here.
        expected: how many processes the files say that there are; 0 where they do not.
        newer: files of processes, below the directory, that a newer sightline wrote, each with its format;
            some of them.
        by_kind: bytes.
        largest: bytes and path (below the directory) of some files, the largest first.
        count: how many files were looked at.
        is_partial: whether there are more.
        wandb_offline, swanlab_runs: what their SDKs have left on disk.
    """

    processes: dict[int, set[int]] = field(default_factory=dict)
    expected: int = 0
    newer: list[tuple[Path, int]] = field(default_factory=list)
    by_kind: Counter[str] = field(default_factory=Counter)
    largest: list[tuple[int, Path]] = field(default_factory=list)
    count: int = 0
    is_partial: bool = False
    wandb_offline: list[OfflineRun] = field(default_factory=list)
    swanlab_runs: list[Path] = field(default_factory=list)


def files_of(directory: Path) -> RunFiles:
    """Looks through a run directory; no link is followed."""
    files = RunFiles()
    for folder, folders, names in os.walk(directory):
        place = Path(folder).relative_to(directory)
        kind = place.parts[0] if place.parts else ""
        if kind == "wandb":
            files.wandb_offline += [
                OfflineRun(Path(folder, each), any(Path(folder, each).glob("*.wandb.synced")))
                for each in sorted(folders)
                if each.startswith("offline-run-")
            ]
        elif kind == "swanlab":
            files.swanlab_runs += [Path(folder, each) for each in sorted(folders) if each.startswith("run-")]
        for name in names:
            files.count += 1
            if files.count > _MOST_FILES:
                files.is_partial = True
                break
            path = Path(folder, name)
            try:
                bytes_ = path.lstat().st_size
            except OSError:
                continue  # gone meanwhile
            files.by_kind[kind if kind in _OURS else "journal" if name == "metrics.jsonl" else "other"] += (
                bytes_
            )
            heapq.heappush(files.largest, (bytes_, place / name))
            if len(files.largest) > _LARGEST:
                heapq.heappop(files.largest)
            if kind in ("traces", "sessions", "logs", "samples") and (found := _PROCESS.match(name)):
                files.processes.setdefault(int(found[2]), set()).add(int(found[1]))
                if not files.expected or (kind != "samples" and path.suffix != ".log"):
                    header = _header(path) if len(files.newer) < _NEWER else {}
                    files.expected = files.expected or whole(header.get("processes")) or 0
                    written = whole(header.get("format")) or 0
                    if written > _FORMAT:
                        files.newer.append((place / name, written))
        if files.is_partial:
            break
    files.largest.sort(reverse=True)
    return files


def _header(path: Path) -> dict[str, Any]:
    """What a file of a process says of itself; empty if it does not."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return {}
    for line in head.splitlines()[:3]:
        record = object_in(line.strip().rstrip(b","))
        facts = {} if record is None else record.get("args", record)
        if isinstance(facts, dict) and whole(facts.get("processes")) is not None:
            return facts
    return {}
