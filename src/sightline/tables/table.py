"""What a table is: columns with kinds, and rows that are made one after another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Literal, NamedTuple

from sightline.files.file_lines import Unreadable

Kind = Literal["int", "float", "text", "bool"]
Cell = int | float | str | bool | None


class Column(NamedTuple):
    """One column.

    Attributes:
        name: unique in its table.
        kind: what its cells are, where they are not None; floats may be NaN or infinite.
    """

    name: str
    kind: Kind


@dataclass
class Table:
    """Columns, and rows that are made when they are asked for.

    Attributes:
        columns: in their order.
        rows: each call begins anew; a row has a cell for each column. None: nothing was recorded there.
        notes: what whoever reads the table should know.
        missing: processes of which no file is here, that a complete table needs.
        unreadable: what could not be read.
        cut: of each file of a process that ends within a line, by its path, bytes of that line.
        is_of_journal: whether the journal was; else the files of the processes.
    """

    columns: list[Column]
    rows: Callable[[], Iterator[list[Cell]]]
    notes: list[str] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    unreadable: Unreadable = field(default_factory=Unreadable)
    cut: dict[Path, int] = field(default_factory=dict)
    is_of_journal: bool = True


class Steps(NamedTuple):
    """A range of steps, both ends in it; None: no end.

    Example:
        >>> Steps.parse("10-50").has(50), Steps.parse("7").has(8), Steps.parse("10-").has(9)
        (True, False, False)
    """

    first: int | None = None
    last: int | None = None

    @classmethod
    def parse(cls, text: str) -> Steps:
        """Reads ``10-50``, ``10-``, ``-50`` or ``7``.

        Raises:
            ValueError: it is none of these.
        """
        found = re.fullmatch(r"(\d*)(-?)(\d*)", text.strip())
        if found is None or not (found[1] or found[3]):
            raise ValueError(f"{text!r}: expected steps, as in 10-50, 10-, -50 or 7")
        first = int(found[1]) if found[1] else None
        last = (int(found[3]) if found[3] else None) if found[2] else first
        if first is not None and last is not None and last < first:
            raise ValueError(f"{text!r}: the last step is below the first; expected as in 10-50")
        return cls(first, last)

    def has(self, step: int) -> bool:
        return (self.first is None or step >= self.first) and (self.last is None or step <= self.last)


def matching(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a key fits one of some patterns (``fnmatch``, capitals count); all do where there are none.

    Example:
        >>> fits = matching(["train/*", "eval/acc"])
        >>> fits("train/loss"), fits("eval/acc"), fits("eval/loss")
        (True, True, False)
    """
    if not patterns:
        return lambda key: True
    match = re.compile("|".join(map(translate, patterns))).match
    known: dict[str, bool] = {}

    def fits(key: str) -> bool:
        found = known.get(key)
        if found is None:
            found = known[key] = match(key) is not None
        return found

    return fits


def named(first: Iterable[Column], others: Iterable[Column]) -> list[Column]:
    """Columns in a row; where a name is taken already, the later one has an underscore behind it.

    Example:
        >>> [each.name for each in named([Column("step", "int")], [Column("step", "float")])]
        ['step', 'step_']
    """
    columns = list(first)
    taken = {each.name for each in columns}
    for name, kind in others:
        while name in taken:
            name += "_"
        taken.add(name)
        columns.append(Column(name, kind))
    return columns
