"""The latest warnings and errors in the log files of processes that are here.

Bounded: of each file its end is read at first, and then what is added; of very many files the newest count.
The readers of :mod:`sightline.run_logs` cannot do it as cheaply: they go through whole files for what is told
of clocks, and where a level is chosen for its lines, and a live view opens at once on gigabytes of logs.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sightline.text_logging.lines import FORMAT

_LEVELS = ("WARNING", "ERROR", "CRITICAL")
_LEVEL = re.compile(rb'"level":"(\w+)"')
_NAME = re.compile(r"p(\d+)\.a(\d+)(\.\d+)?\.jsonl")
_READ = 128 << 10  # bytes of a file at a time; more that was added meanwhile is passed over
_FILES = 64
_HEAD = 64 << 10  # bytes in which the first line is
_KEPT = 100
_COMPARED = 2000  # characters of a message, by which lines are alike
_NUMBERED = re.compile(r"\w*\d[\w.:-]*")  # a word with a digit: what differs in lines of one template
_TRACEBACK = "Traceback (most recent call last):"
_GROUP = "  + Exception Group Traceback"
_MEMBER = re.compile(r"(  \+-|    )\+-+ \S+ -+$")
_MEMBERS = 3  # of an exception group, that are shown
_LOOK_S = 30.0  # after which the folder is looked at again, although it has not changed


@dataclass
class Warned:
    """A line from WARNING up, or several that differ in words with digits alone: those of one template.

    Attributes:
        time: of the last one, in s since the epoch.
        level: its name.
        logger, message: of the last line.
        processes: who logged it.
        step: in which it was logged last, if it is known.
        count: how many there are.
        error: what its traceback ends with, the exception's own text, if it has one.
        is_same: whether all of them say the very same.
    """

    time: float
    level: str
    logger: str
    message: str
    processes: list[int]
    step: int | None = None
    count: int = 1
    error: str | None = None
    is_same: bool = True

    @property
    def is_error(self) -> bool:
        """Whether it is worse than a warning."""
        return self.level != "WARNING"

    @property
    def template(self) -> tuple[str, ...]:
        """What lines that are alike have in common."""
        said = (self.message, self.error or "")
        return (self.level, self.logger, *(_NUMBERED.sub("#", each[:_COMPARED]) for each in said))


class LogTail:
    """Follows the structured logs of a run directory.

    Attributes:
        warned: the newest, in their order; of too many, warnings go before errors do.
        counts: how many lines were read, of errors and of warnings.
        newer: files that a newer sightline wrote, which are left out, each with its format.

    Example:
        >>> tail = LogTail(Path(os.devnull))
        >>> tail.update(), tail.warned
        (False, [])
    """

    def __init__(self, run_dir: Path) -> None:
        self.warned: list[Warned] = []
        self.counts = {"errors": 0, "warnings": 0}
        self.newer: dict[Path, int] = {}
        self._left_out: set[int] = set()  # inodes of these
        self._templates: dict[tuple[str, ...], Warned] = {}
        self._folder = run_dir / "logs"
        self._folder_mtime: int | None = None
        self._looked = -_LOOK_S
        # By inode, since full segments are renamed: the path, and how far it was read.
        self._files: dict[int, tuple[Path, int]] = {}

    def update(self) -> bool:
        """Reads what was added; returns whether there are other warnings than before."""
        self._look()
        found: list[Warned] = []
        for identity in self._files:
            if identity not in self._left_out:
                found += self._added(identity)
        for each in sorted(found, key=lambda one: one.time):
            self._keep(each)
        return bool(found)

    def _look(self) -> None:
        """Which files there are, the newest ones if they are many."""
        now = time.monotonic()
        try:
            mtime = self._folder.stat().st_mtime_ns
            if mtime == self._folder_mtime and now - self._looked < _LOOK_S:
                return
            with os.scandir(self._folder) as entries:
                files = [(entry.stat(), Path(entry.path)) for entry in entries if _NAME.fullmatch(entry.name)]
        except OSError:  # no logs are here, or a segment has just gone
            return
        self._folder_mtime, self._looked = mtime, now
        files.sort(key=lambda each: each[0].st_mtime_ns)
        before = self._files
        self._files = {}
        for found, path in files[-_FILES:]:
            known = before.get(found.st_ino)
            at = max(0, found.st_size - _READ) if known is None else known[1]
            if known is None and (written := _format(path)) > FORMAT:
                self.newer[path] = written
                self._left_out.add(found.st_ino)
            self._files[found.st_ino] = path, at

    def _added(self, identity: int) -> list[Warned]:
        path, at = self._files[identity]
        try:
            looked = os.stat(path)
            if looked.st_ino == identity and looked.st_size <= at:
                return []
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != identity:  # it was renamed, and is looked for again
                    return []
                size = found.st_size
                at = max(at, size - _READ)
                file.seek(max(0, at - 1))
                data = file.read(size - max(0, at - 1))
        except OSError:
            return []
        if at:  # what is before the first line's beginning belongs to one that was cut
            newline = data.find(b"\n")
            data = data[newline + 1 :] if newline >= 0 else b""
        end = data.rfind(b"\n") + 1
        self._files[identity] = path, size - (len(data) - end)
        return [each for line in data[:end].splitlines() if (each := _warned(line)) is not None]

    def _keep(self, new: Warned) -> None:
        self.counts["errors" if new.is_error else "warnings"] += 1
        template = new.template
        old = self._templates.pop(template, None)
        if old is not None:
            new.count += old.count
            new.processes = sorted({*old.processes, *new.processes})[:_FILES]
            new.is_same = old.is_same and (old.message, old.error) == (new.message, new.error)
        elif len(self._templates) == _KEPT:
            least = next((at for at, each in self._templates.items() if not each.is_error), None)
            del self._templates[least or next(iter(self._templates))]
        self._templates[template] = new
        self.warned = list(self._templates.values())


def _format(path: Path) -> int:
    """That a file has by its first line; 0 if that is not known."""
    try:
        with open(path, "rb") as file:
            head = orjson.loads(file.readline(_HEAD))
    except (OSError, ValueError):
        return 0
    written = head.get("format") if isinstance(head, dict) and head.get("type") == "header" else 0
    return written if type(written) is int else 0


def _warned(line: bytes) -> Warned | None:
    level = _LEVEL.search(line, 0, 200)  # it stands before all that a caller can write
    if level is None or level[1].decode() not in _LEVELS:
        return None
    try:
        record: dict[str, Any] = orjson.loads(line)
        process, step, exception = (record.get(name) for name in ("process", "step", "exception"))
        return Warned(
            float(record["time"]),
            level[1].decode(),
            str(record.get("logger", "")),
            str(record.get("message", "")),
            [process] if isinstance(process, int) else [],
            step if isinstance(step, int) else None,
            error=_own_text(exception) if isinstance(exception, str) else None,
        )
    except (ValueError, TypeError, LookupError, AttributeError):  # torn, or somebody else's
        return None


def _own_text(traceback: str) -> str:
    """An exception's type and message, which may have several lines; of a group also what is in it."""
    lines = traceback.strip("\n").splitlines()
    group = max((at for at, line in enumerate(lines) if line.startswith(_GROUP)), default=None)
    if group is None and traceback.startswith("  | "):  # without frames
        group = 0
    if group is None or _TRACEBACK in lines[group:]:  # what was raised of it is no group
        return _raised(lines)
    own: list[str] = []
    members: list[list[str]] = []
    for line in lines[group:]:
        if line[:4] in ("  | ", "  + "):
            own.append(line[4:])
        elif _MEMBER.match(line):
            members.append([])
        elif members and line.startswith("    | "):  # deeper ones are indented further
            members[-1].append(line[6:])
    said = [text.splitlines()[0] for each in members[:_MEMBERS] if (text := _raised(each))]
    more = ["…"] if len(members) > _MEMBERS else []
    return ": ".join(filter(None, [_raised(own), "; ".join([*said, *more])]))


def _raised(lines: list[str]) -> str:
    """What a traceback ends with, behind its frames, which are indented; all of it where it has none."""
    begin = max((at + 1 for at, line in enumerate(lines) if line.endswith(_TRACEBACK)), default=0)
    end = next(
        (at for at in range(begin, len(lines)) if not lines[at].startswith((" ", "\t"))), len(lines) - 1
    )
    return "\n".join(lines[end:])
