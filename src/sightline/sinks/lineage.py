"""Which commits belong to what a sink shows, when a run has gone on from an older checkpoint.

The journal keeps every attempt. An attempt that goes on from a checkpoint older than its last step commits
some steps again, and each sink says what becomes of them: ``rewind="continue"`` shows both, ``"skip"`` the
first of each step, and ``"fork"`` begins another run in the back end, with the history up to the checkpoint.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from sightline.errors import ConfigurationError
from sightline.runs.journal import is_rewound
from sightline.support.foreign_numbers import whole

Rewind = Literal["continue", "fork", "skip"]


def check_rewind(sink: str, rewind: Any) -> None:
    """Raises ConfigurationError for what is no :data:`Rewind`."""
    if rewind not in get_args(Rewind):
        raise ConfigurationError(f"{sink} rewind={rewind!r}: expected 'continue', 'fork' or 'skip'")


def suffix_of(fork: int) -> str:
    """What names of a fork end with, in back ends and among cursors.

    Example:
        >>> suffix_of(0), suffix_of(2)
        ('', '.fork02')
    """
    return f".fork{fork:02d}" if fork else ""


class Start(NamedTuple):
    """How an attempt began.

    Attributes:
        attempt: its number.
        first_step: where it went on.
        after: the last step of the attempt before it; None: it had none.
    """

    attempt: int
    first_step: int
    after: int | None

    @property
    def is_rewound(self) -> bool:
        """Whether it commits steps again."""
        return self.after is not None and self.first_step <= self.after


class Lineage:
    """The commits that one sink shows.

    Args:
        starts: of all attempts.
        rewind: what becomes of steps that are committed again.

    Example:
        >>> starts = [Start(1, 0, None), Start(2, 5, 9)]  # the second began at 5, when 9 had been committed
        >>> places = [(1, 4), (1, 7), (2, 7), (2, 10)]
        >>> for rewind in ("continue", "fork", "skip"):
        ...     lineage = Lineage(starts, rewind)
        ...     shown = [lineage.has({"attempt": a, "step": s}) for a, s in places]
        ...     rewind, lineage.fork, shown
        ('continue', 0, [True, True, True, True])
        ('fork', 2, [True, False, True, True])
        ('skip', 0, [True, True, False, True])
    """

    def __init__(self, starts: Iterable[Start], rewind: Rewind) -> None:
        self.starts = sorted(starts)
        self.rewind = rewind
        forks = [start.attempt for start in self.starts if start.is_rewound] if rewind == "fork" else []
        #: Whether commits are left out that the sink may still want.
        self.is_partial = False
        #: The attempt with which what the sink shows began; 0: it has never been forked.
        self.fork = max(forks, default=0)

    @property
    def current(self) -> Start:
        """How the newest attempt began."""
        return self.starts[-1] if self.starts else Start(1, 0, None)

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether a record of the journal belongs here; what has no step does."""
        attempt, step = record.get("attempt"), record.get("step")
        if self.rewind == "continue" or not isinstance(attempt, int) or not isinstance(step, int):
            return True
        if self.rewind == "fork":
            return all(step < start.first_step for start in self.starts if start.attempt > attempt)
        return all(
            start.after is None or step > start.after for start in self.starts if start.attempt <= attempt
        )


def as_committed(starts: Iterable[Start], first_steps: Mapping[int, int]) -> list[Start]:
    """Starts by what the attempts then did: one may begin lower than a checkpoint's state let it know.

    That is so for a loop with ``run.steps(total, start=…)`` after a start without the checkpoint's
    ``state_dict``: whoever reads the journal sees it, but a sink that was open meanwhile did not.

    Args:
        starts: as the journal's ``run`` line has them.
        first_steps: by attempt the step of its first commit.

    Example:
        >>> as_committed([Start(1, 0, None), Start(2, 10, 9)], {1: 0, 2: 6})
        [Start(attempt=1, first_step=0, after=None), Start(attempt=2, first_step=6, after=9)]
    """
    return [
        each._replace(first_step=min(each.first_step, first_steps.get(each.attempt, each.first_step)))
        for each in starts
    ]


class Beginnings:
    """How the attempts of a journal began, by its lines as they come.

    Its ``run`` lines announce that, and ``rewound`` events say what came of it. Where the disk has refused
    such an event the first commit of an attempt says it; but one of the very step before the announced one is
    one more of a checkpoint's last step, by which nothing is gone over.

    Example:
        >>> begun = Beginnings()
        >>> begun.see({"type": "run", "starts": [[1, 0, None], [2, 10, 9]]})
        >>> begun.commit(2, 9)
        >>> begun.starts[-1]
        Start(attempt=2, first_step=10, after=9)
        >>> begun.see({"type": "event", "event": "rewound", "starts": [[1, 0, None], [2, 9, 9]]})
        >>> begun.starts[-1].is_rewound
        True
    """

    def __init__(self) -> None:
        self._said: list[Start] = []
        self._first_steps: dict[int, int] = {}

    def see(self, record: Mapping[str, Any]) -> None:
        """A ``run`` line of this version, or an event, in their order."""
        if record.get("type") == "run" or is_rewound(record):
            self._said = starts_of(record)

    def commit(self, attempt: int, step: int) -> None:
        """A commit, in their order."""
        self._first_steps.setdefault(attempt, step)

    @property
    def starts(self) -> list[Start]:
        """By what has come; those of an older journal are unknown."""
        return [
            said if said.first_step == seen.first_step + 1 else seen
            for said, seen in zip(self._said, as_committed(self._said, self._first_steps), strict=True)
        ]


def starts_of(line: Mapping[str, Any] | None) -> list[Start]:
    """The starts in a journal's ``run`` line or a checkpoint's state; those of an older one are unknown.

    What is no start, since somebody or a crash has damaged it, is left out.
    """
    return [start for start in map(_start, _listed(line)) if start is not None]


def damaged_starts(line: Mapping[str, Any] | None) -> int:
    """How many :func:`starts_of` leaves out.

    Example:
        >>> damaged_starts({"starts": [[1, 0, None], ["2", 5, 9]]}), damaged_starts({"starts": 7})
        (1, 1)
    """
    return sum(_start(each) is None for each in _listed(line))


def _listed(line: Mapping[str, Any] | None) -> list[Any]:
    listed = (line or {}).get("starts")
    if listed is None:
        return []
    try:
        return [listed] if isinstance(listed, (str, bytes, Mapping)) else list(listed)
    except TypeError:
        return [listed]


def _start(found: Any) -> Start | None:
    try:
        attempt, first, after = found
    except (TypeError, ValueError):
        return None
    number, step, last = map(_int, (attempt, first, after))
    if number is None or step is None or (after is not None and last is None):
        return None
    return Start(number, step, last)


def _int(value: Any) -> int | None:
    """Also NumPy's, in which checkpoints keep numbers."""
    try:
        return None if isinstance(value, bool) else whole(operator.index(value))
    except TypeError:
        return None
