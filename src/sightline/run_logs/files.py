"""The files of text logs in run directories: whose they are, and their whole lines, also while they grow."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sightline.errors import RunDirectoryError
from sightline.files.file_lines import cut_said, zeros_said
from sightline.files.sparse_files import behind_zeros, data_from, data_until
from sightline.runs.journal import is_run_line
from sightline.runs.run_directory import JOURNAL, no_journal
from sightline.text_logging.lines import FORMAT

_BLOCK = 256 << 10
_LONGEST = 16 << 20  # of a line; what is longer is none of ours
_HEAD = 64 << 10  # bytes in which a header must come
_NUMBER = re.compile(r"\.(\d{4,})\.jsonl$")
_PROCESS = re.compile(r"(?:^|\.)p(\d{5,})\.a(\d{2,})\.")
_NAMED = 5  # files of which something is said
_FOLDERS = ("logs", "traces", "sessions", "samples", "profiles")

Key = tuple[int, int]  #: attempt and process


@dataclass
class Damage:
    """What could not be read.

    Attributes:
        lines: how many lines of each file are no records.
        zeros: how many bytes of each file are zeros, as a crash of a machine leaves them.
        cut: files whose last line is not whole, as when the process was killed.
        problems: files that could not be read on, and files of others.
    """

    lines: Counter[str] = field(default_factory=Counter)
    zeros: Counter[str] = field(default_factory=Counter)
    cut: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.lines or self.zeros or self.cut or self.problems)

    def said(self) -> list[str]:
        """What was damaged, in lines for people, a few of them. Cut last lines are none of it.

        Example:
            >>> Damage(Counter({"a.jsonl": 2}), cut={"b.jsonl"}).said()
            ['2 damaged lines are left out (a.jsonl: 2)']
        """
        said = []
        if self.lines:
            where = _few(f"{path}: {number}" for path, number in self.lines.most_common())
            said.append(f"{_count(self.lines.total(), 'damaged line')} left out ({where})")
        if self.zeros:
            where = _few(path for path, _ in self.zeros.most_common())
            said.append(f"{zeros_said(self.zeros.total())}, left out ({where})")
        return said + [f"{path}: {why}" for path, why in list(self.problems.items())[:5]]

    def notes(self) -> list[str]:
        """What is as it may be.

        Example:
            >>> Damage(cut={"a.jsonl", "b.jsonl"}).notes()
            ['a.jsonl: its last line is cut, as a kill leaves it: that line is lost, and nothing else', \
'b.jsonl: its last line is cut, as a kill leaves it: that line is lost, and nothing else']
        """
        shown = sorted(self.cut)[:_NAMED]
        more = [f"so are {len(self.cut) - _NAMED} more files"] if len(self.cut) > _NAMED else []
        return [*(f"{path}: {cut_said()}" for path in shown), *more]


class Cursor:
    """A place in a file that may grow, and be renamed meanwhile. It keeps no file open.

    Args:
        path: of the file.
        damage: gets what cannot be read.
        inode: device and inode by which it was found; None: as it is now.

    Attributes:
        is_done: it grows no more, as far as is known.
    """

    def __init__(self, path: Path, damage: Damage, inode: tuple[int, int] | None = None) -> None:
        self.path = path
        self.offset = 0  # of the next line
        self.inode = inode or inode_of(os.stat(path))
        self.is_done = False
        self._damage = damage
        self._is_in_long_line = False

    def read(self) -> list[bytes]:
        """The next whole lines, some of them; none if there are no more now."""
        size = _BLOCK
        while True:
            data = self._block(size)
            end = data.rfind(b"\n") + 1
            if end:
                break
            if data.endswith(b"\0") and len(data) == size:
                self._pass_over(data)
                continue
            if len(data) < size:
                return []
            if size >= _LONGEST:
                self.offset += len(data)  # a part of a line that is far too long
                self._is_in_long_line = True
                continue
            size *= 4
        self.offset += end
        data = data[:end]
        lines = data.split(b"\n")[:-1]
        if self._is_in_long_line:
            self._is_in_long_line = False
            self._damage.lines[str(self.path)] += 1
            del lines[0]
        if b"\0" in data:
            self._damage.zeros[str(self.path)] += data.count(b"\0")
            self._damage.lines[str(self.path)] += sum(b"\0" in line for line in lines)
            lines = [behind_zeros(line) for line in lines]
        return lines or self.read()

    def _pass_over(self, data: bytes) -> None:
        """Goes behind the zeros in which a block ends, of which there may be gigabytes."""
        end = self.offset + len(data)
        self.offset = self._past_hole(data_from, end)
        self._damage.zeros[str(self.path)] += data.count(b"\0") + self.offset - end

    def skip_to_last(self, lines: int) -> int:
        """Goes to where the last so many lines begin, or less exactly before; returns how many there are."""
        try:
            at = os.stat(self.path).st_size
        except OSError:  # renamed in this moment: it is read from its beginning
            return lines
        found = 0
        while at and found <= lines:
            begin = self.offset = max(0, at - _BLOCK)
            block = self._block(at - begin)
            found += block.count(b"\n")
            at = self._past_hole(data_until, begin) if block.startswith(b"\0") else begin
        if at:  # not before the first line: the rest of one that begins before
            self.offset += self._block(_LONGEST).find(b"\n") + 1
        return found

    def skip_all(self) -> None:
        """Goes to the end."""
        try:
            self.offset = os.stat(self.path).st_size
        except OSError:
            return

    def is_lost(self) -> bool:
        """Whether the file is not there any more, under any name."""
        try:
            if inode_of(os.stat(self.path)) == self.inode:
                return False
        except OSError:
            pass
        return not self._find_again()

    def note_end(self) -> None:
        """Looks whether a part of a line is left."""
        if self._block(1):
            self._damage.cut.add(str(self.path))

    def _block(self, size: int) -> bytes:
        try:
            with open(self.path, "rb", 0) as file:
                if inode_of(os.fstat(file.fileno())) == self.inode:
                    return os.pread(file.fileno(), size, self.offset)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._damage.problems[str(self.path)] = f"{error.strerror or error}; the rest is shown"
            return b""
        return self._block(size) if self._find_again() else b""

    def _past_hole(self, way: Callable[[int, int], int], place: int) -> int:
        try:
            with open(self.path, "rb", 0) as file:
                return way(file.fileno(), place) if inode_of(os.fstat(file.fileno())) == self.inode else place
        except OSError:  # renamed in this moment
            return place

    def _find_again(self) -> bool:
        """A full segment has been renamed, or was deleted as the oldest one, or copied anew by a tool."""
        stem = _NUMBER.sub("", self.path.name).removesuffix(".jsonl")
        for path in self.path.parent.glob(f"{_escaped(stem)}*.jsonl"):
            try:
                if inode_of(os.stat(path)) == self.inode:
                    self.path = path
                    return True
            except OSError:
                continue
        return False


@dataclass(eq=False)
class Segment:
    """One file of a process's text log.

    Attributes:
        path: where it was found.
        head: its first line, by which it is known under any name.
        facts: what that says.
        inode: device and inode.
    """

    path: Path
    head: bytes
    facts: dict[str, Any]
    inode: tuple[int, int]

    @property
    def key(self) -> Key:
        return self.facts["attempt"], self.facts["process"]

    @property
    def number(self) -> float:
        """Its place among the segments: full ones have numbers, the one that is written now is the last."""
        found = _NUMBER.search(self.path.name)
        return int(found[1]) if found else float("inf")


class RunFiles:
    """The directories of one run, one of each host or disk, and what lies in them.

    Args:
        run_dirs: as given.
        damage: gets what cannot be read.

    Attributes:
        run_id: of the run; None while no file says it.
        journals: the run's journals; as a rule one, in the root's directory.

    Raises:
        RunDirectoryError: no run directory, or of different runs.
        JournalError: a newer version of sightline wrote it.
    """

    def __init__(self, run_dirs: Iterable[Path], damage: Damage) -> None:
        self.dirs = list(dict.fromkeys(Path(os.path.realpath(each)) for each in run_dirs))
        self.damage = damage
        self.run_id: str | None = None
        self.journals: list[Path] = []
        self._said_by: Path | None = None
        for directory in self.dirs:
            if not directory.is_dir():
                raise RunDirectoryError(f"{directory} is no directory: expected a run's, as in runs/latest")
            journal = directory / JOURNAL
            if journal.exists():
                self.journals.append(journal)
                self._check_journal(journal)
            elif not any((directory / folder).is_dir() for folder in _FOLDERS):
                if any(directory.glob(f"*/{JOURNAL}")):
                    raise RunDirectoryError(no_journal(directory))
                raise RunDirectoryError(
                    f"{directory} has no journal {JOURNAL} and no logs: expected a run directory, "
                    f"as in runs/latest"
                )

    def segments(self, known: Mapping[Path, tuple[int, int]] | None = None) -> list[Segment]:
        """The log files that have a header by now.

        Args:
            known: paths and inodes of those that are left out. An inode alone may come again.

        Raises:
            RunDirectoryError: a file of another run.
        """
        found: dict[bytes, tuple[int, Segment]] = {}
        for path in [path for each in self.dirs for path in sorted(each.glob("logs/*.jsonl"))]:
            try:
                if known and path in known and inode_of(os.stat(path)) == known[path]:
                    continue
                with open(path, "rb") as file:
                    head = file.readline(_HEAD)
                    stat = os.fstat(file.fileno())
            except FileNotFoundError:  # renamed meanwhile: found by its new name, now or the next time
                continue
            except OSError as error:
                self.damage.problems[str(path)] = f"{error.strerror or error}"
                continue
            if not head.endswith(b"\n") and len(head) < _HEAD:
                if head:
                    self.damage.cut.add(str(path))
                continue  # killed as it was made, or just being made
            facts = self._facts(path, head)
            if facts is None:
                continue
            self.damage.cut.discard(str(path))
            if head not in found or stat.st_size > found[head][0]:  # of two copies the one that goes on
                found[head] = stat.st_size, Segment(path, head, facts, inode_of(stat))
        segments = [segment for _, segment in found.values()]
        return sorted(segments, key=lambda each: (*each.key, each.number, str(each.path)))

    def present(self) -> set[Key]:
        """The attempts and processes of which there is any file."""
        return set().union(*self.kinds().values())

    def kinds(self) -> dict[str, set[Key]]:
        """By folder, as in ``logs``, the attempts and processes of which there is a file."""
        found: dict[str, set[Key]] = {folder: set() for folder in _FOLDERS}
        for directory in self.dirs:
            for folder, keys in found.items():
                for path in directory.glob(f"{folder}/*"):
                    if match := _PROCESS.search(f"{path.name}."):
                        keys.add((int(match[2]), int(match[1])))
        return found

    def _facts(self, path: Path, head: bytes) -> dict[str, Any] | None:
        try:
            facts = orjson.loads(head)
        except orjson.JSONDecodeError:
            facts = None
        if not isinstance(facts, dict) or facts.get("kind") != "log":
            self.damage.problems[str(path)] = "it has no header of a text log, and is left out"
            return None
        if not isinstance(facts.get("format", 1), int) or facts.get("format", 1) > FORMAT:
            self.damage.problems[str(path)] = newer_said(facts["format"])
            return None
        if not (
            isinstance(facts.get("run_id"), str)
            and all(type(facts.get(name)) is int for name in ("attempt", "process"))
        ):
            self.damage.problems[str(path)] = "its header lacks run, attempt or process; it is left out"
            return None
        self._check_run(path, facts["run_id"])
        return facts

    def _check_journal(self, journal: Path) -> None:
        with open(journal, "rb") as file:
            head = file.readline(_HEAD)
        try:
            line = orjson.loads(head)
        except orjson.JSONDecodeError:
            return  # empty so far, or damaged: the logs say the run
        if isinstance(line, dict) and is_run_line(line, journal):
            self._check_run(journal, line["run_id"])

    def _check_run(self, path: Path, run_id: str) -> None:
        if self.run_id is None:
            self.run_id, self._said_by = run_id, path
        elif run_id != self.run_id:
            raise RunDirectoryError(
                f"{path} is of run {run_id}, and {self._said_by} of run {self.run_id}: "
                f"give the directories of one run"
            )


def missing(headers: Iterable[dict[str, Any]], present: Iterable[Key]) -> dict[int, list[int]]:
    """By attempt the processes of which there is no file, as far as headers say how many there were.

    Example:
        >>> missing([{"attempt": 1, "process": 0, "processes": 4}], [(1, 0), (1, 2)])
        {1: [1, 3]}
    """
    sizes: dict[int, int] = {}
    for facts in headers:
        of = facts.get("processes")
        if type(of) is int and 0 < of <= 1 << 20:
            sizes[facts["attempt"]] = max(of, sizes.get(facts["attempt"], 0))
    have = set(present)
    lacking = {
        attempt: [process for process in range(size) if (attempt, process) not in have]
        for attempt, size in sorted(sizes.items())
    }
    return {attempt: processes for attempt, processes in lacking.items() if processes}


def newer_said(written: object) -> str:
    """That a newer version wrote a log, which is left out."""
    return (
        f"it has format {written}, and this sightline reads {FORMAT}, so it is left out: "
        f"pip install --upgrade sightline"
    )


def inode_of(stat: os.stat_result) -> tuple[int, int]:
    """Device and inode."""
    return stat.st_dev, stat.st_ino


def _escaped(stem: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", stem)


def _few(items: Iterable[str]) -> str:
    shown = list(items)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what} is" if number == 1 else f"{number} {what}s are"
