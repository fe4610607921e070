"""The runs below a folder: how each stands, by a few lines of its journal, and its size."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import orjson

from sightline.errors import JournalError, RunDirectoryError
from sightline.files.file_lines import Unreadable, object_in
from sightline.runs.journal import lines_backwards, whole_end
from sightline.runs.run_directory import JOURNAL
from sightline.runs.run_state import MOST_BYTES, RunState, state_of
from sightline.sinks.commits import is_commit, values_of
from sightline.sinks.sound_records import SoundRecords

_DEPTH = 3  # folder/run, folder/group/run, folder/group/group/run
_COMMITS = 32  # in which the latest value of each metric is looked for: evaluations come now and then
_TAIL_BYTES = 512 << 10
_HEAD_BYTES = 1 << 16
_THREADS = 16  # disks of the network answer many at once
_FILE_OF_PROCESS = re.compile(r".*p\d{5,}\.a\d+\b.*")


class ListedRun(NamedTuple):
    """A run, as a list shows it.

    Attributes:
        path: its directory.
        name: its place below the folder.
        state: how it stands.
        begun: when its first attempt began, in s since the epoch; None where that is unknown.
        heard: when its last commit was, or else when its latest attempt began.
        elapsed_s: from its beginning until it was last heard of, or until now if it is live; with the pauses
            between attempts.
        disk_bytes: what its files take on the disk.
        metrics: the latest value of each key, of its last commits.
        unreadable: what could not be read, of the lines that were looked at for these.
    """

    path: Path
    name: str
    state: RunState
    begun: float | None
    heard: float | None
    elapsed_s: float | None
    disk_bytes: int
    metrics: dict[str, float]
    unreadable: Unreadable = Unreadable()


def runs_below(folder: Path, *, now: float | None = None) -> list[ListedRun]:
    """The runs in a folder, and in folders of it, two levels deep; none twice, whatever links lead there.

    Takes some milliseconds a run, however long their journals are. A folder that cannot be read has none.

    Args:
        folder: where to look; it may itself be a run.
        now: in s since the epoch; None: this moment.

    Returns:
        The oldest first.

    Raises:
        RunDirectoryError: there is no such folder.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a", "b"):
        ...         with sl.start(folder, name=name, sinks=[], naming="off") as run:
        ...             for step in run.steps(3):
        ...                 sl.scalar(loss=1.0)
        ...                 run.commit(step)
        ...     [(each.name, each.state.state, each.metrics["loss"]) for each in runs_below(Path(folder))]
        [('a', 'finished', 1.0), ('b', 'finished', 1.0)]
    """
    if not folder.is_dir():
        raise RunDirectoryError(
            f"{folder} is no directory: expected a folder of runs. sl.start({str(folder)!r}) in a training "
            f"starts one there; sightline ls DIR lists those elsewhere"
        )
    moment = time.time() if now is None else now
    paths = [folder] if _is_run(folder) else sorted(_found(folder, _DEPTH, set()))
    with ThreadPoolExecutor(min(_THREADS, len(paths) or 1)) as threads:
        runs = list(threads.map(lambda path: _listed(path, folder, moment), paths))
    return sorted(
        (run for run in runs if run is not None),
        key=lambda run: (run.begun is None, run.begun or 0.0, run.name),
    )


def _found(folder: Path, depth: int, known: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as found:
            entries = [each for each in found if not each.name.startswith(".") and each.is_dir()]
    except OSError:
        return
    # Links last: `latest` leads to a run that is here under its own name.
    for entry in sorted(entries, key=lambda each: (each.is_symlink(), each.name)):
        path = folder / entry.name
        try:
            seen = os.stat(path)
        except OSError:
            continue
        if (seen.st_dev, seen.st_ino) in known:
            continue
        known.add((seen.st_dev, seen.st_ino))
        if _is_run(path):
            yield path
        elif depth > 1 and not entry.is_symlink():
            yield from _found(path, depth - 1, known)


def _is_run(path: Path) -> bool:
    """Whether it has a journal, or files of a process whose root wrote its journal elsewhere."""
    try:
        names = set(os.listdir(path))
        if JOURNAL in names:
            return True
        kinds = names & {"traces", "logs", "sessions", "samples"}
        return any(_FILE_OF_PROCESS.fullmatch(each) for kind in kinds for each in os.listdir(path / kind))
    except OSError:
        return False


def _listed(path: Path, folder: Path, now: float) -> ListedRun | None:
    try:
        state = state_of(path, now=now)
        begun, metrics, unreadable = (None, {}, Unreadable()) if state.newer else _ends(path / JOURNAL)
    except FileNotFoundError:
        begun, metrics, unreadable = None, {}, Unreadable()
    except (OSError, RunDirectoryError):
        return None  # it has gone, or is not ours to read
    begun = state.started if begun is None else begun
    heard = state.last_commit if state.last_commit is not None else state.started
    if heard is not None and state.started is not None:
        heard = max(heard, state.started)
    until = now if state.is_live else heard
    name = path.name if path == folder else path.relative_to(folder).as_posix()
    return ListedRun(
        path=path,
        name=name or path.resolve().name,
        state=state,
        begun=begun,
        heard=heard,
        elapsed_s=None if begun is None or until is None else max(0.0, until - begun),
        disk_bytes=_disk_bytes(path),
        metrics=metrics,
        unreadable=unreadable,
    )


def _ends(journal: Path) -> tuple[float | None, dict[str, float], Unreadable]:
    """When the first attempt began, the latest values, and what could not be read for them."""
    with open(journal, "rb") as file:
        begun = None
        try:
            started = orjson.loads(file.readline(_HEAD_BYTES)).get("started")
            begun = float(started) if isinstance(started, (int, float)) else None
        except (orjson.JSONDecodeError, AttributeError):
            pass
        metrics: dict[str, float] = {}
        sound = SoundRecords()
        commits = read = torn = 0
        try:
            end = whole_end(file.fileno(), os.fstat(file.fileno()).st_size, most=MOST_BYTES)
        except JournalError:
            return begun, metrics, Unreadable()
        for line in lines_backwards(file.fileno(), end, most=MOST_BYTES):
            read += len(line)
            found = object_in(line)
            torn += found is None
            record = None if found is None else sound(found)
            if record is not None and is_commit(record):
                commits += 1
                for key, value in values_of(record).items():
                    if key not in metrics and isinstance(value, (int, float)):
                        metrics[key] = value
            if commits and (commits == _COMMITS or read > _TAIL_BYTES):
                break
    return begun, metrics, Unreadable(torn, sound.odd)


def _disk_bytes(folder: Path) -> int:
    size = 0
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # it went away meanwhile
    return size
