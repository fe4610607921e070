"""Where the lines of a journal are that a table needs, and which of them later attempts have gone over."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.errors import RunDirectoryError
from sightline.files.file_lines import JsonLines, Unreadable, object_in
from sightline.runs.journal import Record, is_run_line
from sightline.runs.run_directory import JOURNAL, no_journal
from sightline.sinks.commits import is_commit, is_number
from sightline.sinks.lineage import Beginnings, Start
from sightline.sinks.sound_records import SoundRecords
from sightline.tables.table import Steps


class Lines:
    """Lines of one type, by where they are: some 32 bytes of memory for each, however long it is.

    Args:
        run_dir: of the run.
        kind: the ``type`` of the lines.
        steps: of these steps only.
        see: called with each of these lines.
        advance: told how many bytes have been read.

    Attributes:
        run: the last ``run`` line; empty if there is none.
        unreadable: what could not be read of all lines.

    Raises:
        RunDirectoryError: there is no journal.
        JournalError: a newer version of sightline wrote it.
    """

    def __init__(
        self,
        run_dir: Path,
        kind: str,
        steps: Steps,
        see: Callable[[Record], object],
        advance: Callable[[int], object] = lambda size: None,
    ) -> None:
        self.path = run_dir / JOURNAL
        self.run: Record = {}
        places, sizes, at_steps, attempts = array("q"), array("q"), array("q"), array("q")
        begun = Beginnings()
        place = 0
        try:
            file = open(self.path, "rb", 0)  # noqa: SIM115 - closed below; the error is of this line alone
        except (FileNotFoundError, NotADirectoryError):
            raise RunDirectoryError(no_journal(Path(run_dir))) from None
        with file:
            lines = JsonLines(file.fileno(), sound=SoundRecords())
            for record in lines:
                advance(lines.place - place)
                place = lines.place
                found = record.get("type")
                if found == "run" and is_run_line(record, self.path):
                    self.run = record
                begun.see(record)
                if is_commit(record):
                    begun.commit(attempt_of(record), record["step"])
                if found == kind and _has_place(record) and steps.has(record["step"]):
                    places.append(lines.begin)
                    sizes.append(place - 1 - lines.begin)
                    at_steps.append(record["step"])
                    attempts.append(attempt_of(record))
                    see(record)
        self.unreadable: Unreadable = lines.unreadable
        self._places, self._sizes = _numbers(places), _numbers(sizes)
        self._steps, self._attempts = _numbers(at_steps), _numbers(attempts)
        self._is_over = np.zeros(len(places), bool)
        #: How each attempt began.
        self.starts: list[Start] = begun.starts
        for start in self.starts:
            self._is_over |= (self._attempts < start.attempt) & (self._steps >= start.first_step)

    def __len__(self) -> int:
        return len(self._places)

    def groups(
        self, *, attempts: bool, advance: Callable[[int], object] = lambda size: None
    ) -> Iterator[tuple[bool, list[Record]]]:
        """The lines of each step, in ascending order.

        Args:
            attempts: of each step of each attempt; else what a later attempt has gone over is left out.
            advance: told how many bytes have been read.

        Yields:
            whether a later attempt has gone over them, and the lines in the order in which they were written.
        """
        rows = np.arange(len(self)) if attempts else np.flatnonzero(~self._is_over)
        first = self._attempts[rows] if attempts else np.zeros(len(rows), np.int64)
        rows = rows[np.lexsort((rows, self._steps[rows], first))]
        sound = SoundRecords()
        with open(self.path, "rb") as file:
            for _, group in groupby(
                rows.tolist(), lambda row: (self._attempts[row] if attempts else 0, self._steps[row])
            ):
                records = []
                is_over = False
                for row in group:
                    is_over = bool(self._is_over[row])
                    file.seek(int(self._places[row]))
                    found = object_in(file.read(int(self._sizes[row])))
                    advance(int(self._sizes[row]))
                    record = None if found is None else sound(found)
                    if record is not None:
                        records.append(record)
                if records:
                    yield is_over, records


def size_of(run_dir: Path) -> int:
    """Bytes of its journal; 0 if there is none."""
    try:
        return (run_dir / JOURNAL).stat().st_size
    except OSError:
        return 0


def attempt_of(record: Record) -> int:
    """The attempt that a line is of; 1 where it does not say."""
    attempt = record.get("attempt")
    return attempt if isinstance(attempt, int) and is_number(attempt) and attempt else 1


def _has_place(record: Record) -> bool:
    return is_commit(record) if record["type"] == "commit" else is_number(record.get("step"))


def _numbers(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)
