"""Bringing the files of a run from other hosts into one run directory: what is new or longer, and no more."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sightline.errors import RunDirectoryError
from sightline.files.file_places import BLOCK, FilePlace, FolderPlace, open_place
from sightline.files.run_copies import Copy, is_still, look, names_in, relation, unnumbered, whole_size
from sightline.run_logs.files import Damage, RunFiles, missing
from sightline.support import wording

_SPARE = 16 << 20  # bytes of the disk that are left alone


class Step(NamedTuple):
    """One file to bring.

    Attributes:
        source: the copy that has more.
        target: what is there of it; None if nothing is.
    """

    source: Copy
    target: Copy | None

    @property
    def name(self) -> str:
        return self.source.name


@dataclass
class Plan:
    """What is to be done, and what is not.

    Attributes:
        run_id: of the run.
        steps: files to bring, in order.
        moves: files that have other names by now: from, to.
        up_to_date: files of which nothing more is to be had.
        refused: folders and files of other runs, and why.
        conflicts: files that are different from those that are here, and why.
        moved: files that have got another name while they were read, and come with the next time.
    """

    run_id: str
    steps: list[Step] = field(default_factory=list)
    moves: list[tuple[str, str]] = field(default_factory=list)
    up_to_date: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to bring."""
        return sum(step.source.size for step in self.steps)


class Processes(NamedTuple):
    """What is here of the processes of the last attempt.

    Attributes:
        attempt: which; 0 if nothing tells.
        of: how many there are.
        complete: those that have said their end.
        unended: killed ones, running ones, and those whose files were copied before their end.
        missing: those of which there is no file.
    """

    attempt: int
    of: int
    complete: list[int]
    unended: list[int]
    missing: list[int]


def plan(run_dir: Path, sources: Sequence[str | os.PathLike[str]]) -> Plan:
    """Looks at all places, and decides.

    Args:
        run_dir: where the files are brought to; need not exist.
        sources: folders or URLs: run directories of the run, or folders that hold several of them.

    Raises:
        RunDirectoryError: a place that cannot be read or holds no files of a run; nothing tells the run.
        ConfigurationError: a URL that needs another package.
    """
    made = _plan(run_dir, sources)
    said: list[tuple[str, str]] = []
    # A segment that fills up between two looks at it seems another file. It is found in its place at the next
    # try; what is different stays so.
    while made.conflicts and made.conflicts != said:
        said = made.conflicts
        made = _plan(run_dir, sources)
    return made


def _plan(run_dir: Path, sources: Sequence[str | os.PathLike[str]]) -> Plan:
    target = FolderPlace(run_dir)
    here = [look(target, path, name, size) for path, name, size in _own(target)]
    groups: list[tuple[str, list[Copy]]] = []
    for source in sources:
        place = open_place(source)
        found = _groups(place, run_dir)
        if not found:
            raise RunDirectoryError(
                f"{place.name} holds no files of a run: expected a copy of its run directory, or a folder of "
                f"such copies"
            )
        groups += found
    made = Plan(_run_of(run_dir, here, groups))
    copies = _of_run(made, groups)
    _decide(made, here, copies)
    return made


def carry_out(made: Plan, run_dir: Path) -> Iterator[int]:
    """Does what is planned; gives the bytes of each piece that is brought.

    A file is written beside its place, and renamed when it is whole, so that a kill leaves the old one or the
    new one. What proves different while it is read is a conflict of the plan, and left.

    Raises:
        RunDirectoryError: not enough space, a place that cannot be read on, or another one at work here.
    """
    with _held(run_dir):
        free = shutil.disk_usage(run_dir).free
        if made.size + _SPARE > free:
            raise RunDirectoryError(
                f"{run_dir}: {wording.size(made.size)} are to be brought, and {wording.size(free)} are "
                f"free: make space, or give a directory on another disk"
            )
        for old, new in made.moves:
            (run_dir / new).parent.mkdir(parents=True, exist_ok=True)
            os.replace(run_dir / old, run_dir / new)
        done = []
        for step in made.steps:
            path = run_dir / step.name
            part = path.with_name(f".{path.name}.collect.part")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                came = yield from _bring(step, part)
                if came == "other":
                    made.conflicts.append((step.name, f"is not how {step.source.place.name} has it begin"))
                if came == "moved":
                    made.moved.append(step.name)
                if came != "whole":
                    continue
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
            done.append(step)
        made.steps[:] = done


def processes_of(run_dir: Path) -> Processes:
    """What is in a run directory of the processes of its last attempt.

    Raises:
        RunDirectoryError: it holds no run.
    """
    files = RunFiles([run_dir], Damage())
    segments = files.segments()
    present = files.present()
    headers = [each.facts for each in segments]
    sizes = {facts["attempt"]: facts.get("processes") for facts in headers}
    attempt = max([*sizes, *(each for each, _ in present)], default=0)
    last = {each.facts["process"]: each.path for each in segments if each.facts["attempt"] == attempt}
    complete = sorted(process for process, path in last.items() if _has_ended(path))
    here = sorted(process for each, process in present if each == attempt)
    of = sizes.get(attempt)
    return Processes(
        attempt,
        of if type(of) is int else len(here),
        complete,
        [process for process in here if process not in complete],
        missing(headers, present).get(attempt, []),
    )


def _own(target: FolderPlace) -> list[tuple[str, str, int]]:
    if not target.folder.is_dir():
        return []
    sizes = target.sizes()
    return [(path, name, sizes[path]) for path, (where, name) in names_in(sizes).items() if where == ""]


def _groups(place: FilePlace, run_dir: Path) -> list[tuple[str, list[Copy]]]:
    """The run directories in a place, and their files."""
    sizes = place.sizes()
    found: dict[str, list[Copy]] = {}
    for path, (where, name) in sorted(names_in(sizes).items()):
        if isinstance(place, FolderPlace) and _is_in(place.folder / where, run_dir):
            continue
        found.setdefault(where, []).append(look(place, path, name, sizes[path]))
    return [(f"{place.name}/{where}".rstrip("/"), copies) for where, copies in found.items()]


def _is_in(folder: Path, run_dir: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(run_dir)


def _run_of(run_dir: Path, here: list[Copy], groups: list[tuple[str, list[Copy]]]) -> str:
    ours = sorted({copy.run_id for copy in here if copy.run_id})
    if len(ours) > 1:
        raise RunDirectoryError(f"{run_dir} holds files of several runs: {', '.join(ours)}")
    if ours:
        return ours[0]
    by_run = {copy.run_id: where for where, copies in groups for copy in copies if copy.run_id}
    if len(by_run) > 1:
        said = ", ".join(f"{run_id} ({where})" for run_id, where in sorted(by_run.items()))
        raise RunDirectoryError(
            f"{run_dir} is no run yet, and the files are of several: {said}: give those of one run"
        )
    if not by_run:
        raise RunDirectoryError(f"no file tells its run, neither in {run_dir} nor where the others are")
    return next(iter(by_run))


def _of_run(made: Plan, groups: list[tuple[str, list[Copy]]]) -> list[Copy]:
    """The files that are of the run; of several copies of one file the longest."""
    copies: dict[tuple[str, bytes], Copy] = {}
    for where, group in groups:
        others = sorted({copy.run_id for copy in group if copy.run_id and copy.run_id != made.run_id})
        is_ours = any(copy.run_id == made.run_id for copy in group)
        if others and not is_ours:
            made.refused.append((where, f"is of run {', '.join(others)}, and this is run {made.run_id}"))
            continue
        for copy in group:
            if copy.run_id not in (None, made.run_id):
                made.refused.append(
                    (f"{where}/{copy.name}", f"is of run {copy.run_id}, and this is run {made.run_id}")
                )
            elif not copy.size:
                continue  # made, and nothing written yet
            elif copy.run_id is None and (others or not is_ours):
                made.refused.append(
                    (f"{where}/{copy.name}", f"does not tell its run; this is run {made.run_id}")
                )
            else:
                known = copies.get((copy.name, copy.head))
                if known is None or copy[3::3] > known[3::3]:  # size, attempt
                    copies[copy.name, copy.head] = copy
    return list(copies.values())


def _decide(made: Plan, here: list[Copy], copies: list[Copy]) -> None:
    by_head = {_known_by(copy): copy for copy in here}
    taken = {copy.name: copy for copy in here}
    # Full segments first: what has been renamed where it was written makes room for what follows it.
    for source in sorted(copies, key=lambda each: (not each.is_numbered, each.name, -each.size)):
        known = by_head.get(_known_by(source))
        if known is None:
            occupied = taken.get(source.name)
            if occupied is not None and occupied.size:
                made.conflicts.append(
                    (source.name, f"is another file than that of {source.place.name} (the headers differ)")
                )
                continue
            made.steps.append(Step(source, None))
            taken[source.name] = by_head[_known_by(source)] = source
            continue
        is_renamed = known.name != source.name and source.is_numbered and not known.is_numbered
        what = relation(source, known)
        if what == "different" or (what == "longer" and known.name != source.name and not is_renamed):
            made.conflicts.append((source.name, f"differs from that of {source.place.name}"))
        elif what == "longer" or (what == "same" and is_renamed):
            if is_renamed and source.name not in taken:
                made.moves.append((known.name, source.name))
                taken[source.name] = taken.pop(known.name)
            elif is_renamed:
                made.conflicts.append((source.name, f"is another file than that of {source.place.name}"))
                continue
            if what == "longer":
                made.steps.append(Step(source, known._replace(path=source.name)))
            else:
                made.up_to_date += 1
        else:
            made.up_to_date += 1


def _known_by(copy: Copy) -> tuple[str, bytes]:
    """Whose it is, and its header: a segment before and after it was full."""
    return unnumbered(copy.name), copy.head


def _bring(step: Step, part: Path) -> Any:
    """Copies one file with its holes; returns whether it came ``whole``, has ``moved`` meanwhile, as a full
    segment does, or begins with something ``other`` than what is here."""
    source, target = step.source, step.target
    same = 0 if target is None or not source.is_lines else whole_size(target)
    with open(part, "wb") as file:
        start = 0
        while start < source.size:
            begin = source.place.data_from(source.path, start)
            if target is not None and start < same:
                begin = min(begin, max(start, target.place.data_from(target.path, start)))
            begin = min(begin, source.size)
            if begin > start:
                file.seek(begin)
                yield begin - start
                start = begin
                continue
            data = source.place.read(source.path, start, min(source.size, start + BLOCK))
            if len(data) < min(BLOCK, source.size - start):
                return "moved"
            if target is not None and start < same:
                end = min(same, start + len(data))
                if target.place.read(target.path, start, end) != data[: end - start]:
                    return "other" if is_still(source) else "moved"
            file.write(data)
            yield len(data)
            start += len(data)
        file.truncate(source.size)
        file.flush()
        os.fsync(file.fileno())
    return "whole" if is_still(source) else "moved"


def _has_ended(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        lines = file.read().rstrip(b"\n").rsplit(b"\n", 1)
    return lines[-1].startswith(b'{"type":"end"')


@contextmanager
def _held(run_dir: Path) -> Iterator[None]:
    """One at a time; a live run has a lock of its own, and may go on."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / ".collect.lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunDirectoryError(f"another `sightline collect` is at work in {run_dir}") from None
        yield
