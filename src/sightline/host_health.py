"""What a journal says of hosts and of stalls: how each process is, who was waited for, and where. Pure.

Both readers take records one by one, so that they serve a file that grows as well as one that has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

Record = Mapping[str, Any]

PREFIXES = ("host/", "jax/memory/process_")  #: of the keys that are about the health of a process


class Reading(NamedTuple):
    """One quantity of one process.

    Attributes:
        latest, latest_step: of the last commit that has it.
        peak, peak_step: the largest that any commit has.
        low, low_step: the smallest, which is what counts of free space.
    """

    latest: float
    latest_step: int
    peak: float
    peak_step: int
    low: float
    low_step: int


class Place(NamedTuple):
    """Where a process said that it was.

    Attributes:
        process: its index.
        time: when the root heard that, epoch s.
        span, span_s: the innermost open span, and for how many seconds it had been open; None if none was.
        at: ``"rollout.py:88 in score"``.
        inside: the same of the innermost frame, where that is a library's.
        waited_s: seconds since its last commit.
        stack: of its main thread.
    """

    process: int
    time: float
    span: str | None
    span_s: float
    at: str
    inside: str | None
    waited_s: float
    stack: str

    def told(self, now: float | None = None) -> str:
        """One sentence for a person.

        Args:
            now: epoch s, at which the process is still there; None: as it was when it said so.

        Example:
            >>> Place(2, 100.0, "reward", 11.0, "rollout.py:88 in score", None, 11.5, "").told(now=130.0)
            'process 2 has been in reward for 41 s (rollout.py:88 in score)'
        """
        where = f"{self.at}, in {self.inside}" if self.inside else self.at
        since = max(0.0, now - self.time) if now is not None else 0.0
        if self.span is None:
            return f"process {self.process} has not committed for {self.waited_s + since:.0f} s ({where})"
        return f"process {self.process} has been in {self.span} for {self.span_s + since:.0f} s ({where})"


class Stall(NamedTuple):
    """A time in which no step became complete.

    Attributes:
        attempt: of the run.
        begin: when the last commit before it was made, epoch s.
        end: when the next one was; None if the journal does not have it.
        step: the step that was open; None: nobody had opened one.
        waiting_for: the processes that were waited for when it was noticed.
        places: where they, and others whose commits had stopped, said that they were; the last word of each.
        silent: those that could not say.
        missing: those without which it went on.
    """

    attempt: int
    begin: float
    end: float | None
    step: int | None
    waiting_for: tuple[int, ...]
    places: dict[int, Place]
    silent: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on."""
        return None if self.end is None else self.end - self.begin

    @property
    def suspects(self) -> tuple[int, ...]:
        """Whom it is about: those waited for; if that is everybody, those elsewhere than most.

        Where processes meet in a collective, one that is late keeps all of them from committing: the others
        stand in one place, and it does not. Empty if no place has more than half of them.

        Example:
            >>> def place(process, span):
            ...     return Place(process, 0.0, span, 9.0, "train.py:1 in step", None, 10.0, "")
            >>> places = {0: place(0, "update"), 1: place(1, "update"), 2: place(2, "reward")}
            >>> Stall(1, 0.0, None, None, (0, 1, 2), places).suspects
            (2,)
        """
        if self.step is not None:
            return self.waiting_for
        if self.silent:
            return self.silent
        for length in (2, 1):  # in one span the lines may differ
            of = {p: (place.span, place.at)[:length] for p, place in self.places.items()}
            ((most, count),) = Counter(of.values()).most_common(1) or (((), 0),)
            if 2 * count > len(self.waiting_for):
                return tuple(p for p in self.waiting_for if p in of and of[p] != most)
        return ()


class HostHealth:
    """How each process is, and was at worst.

    Attributes:
        of: by process, by key (as in ``process_values``: ``host/process/rss_bytes``) a :class:`Reading`.

    Example:
        >>> health = HostHealth()
        >>> for step, size in enumerate([5.0, 9.0, 7.0]):
        ...     values = {"host/process/rss_bytes": [size, None]}
        ...     health.add({"type": "process_values", "step": step, "processes": [0, 3], "values": values})
        >>> health.of[0]["host/process/rss_bytes"]
        Reading(latest=7.0, latest_step=2, peak=9.0, peak_step=1, low=5.0, low_step=0)
        >>> health.of.get(3)
    """

    def __init__(self) -> None:
        self.of: dict[int, dict[str, Reading]] = {}

    def add(self, record: Record) -> None:
        """Takes in a record of the journal; of any type."""
        for process, key, step, value in _readings(record):
            known = self.of.setdefault(process, {}).get(key)
            peak = low = (value, step)
            if known is not None:
                peak = max((known.peak, known.peak_step), peak, key=lambda each: each[0])
                low = min((known.low, known.low_step), low, key=lambda each: each[0])
            self.of[process][key] = Reading(value, step, *peak, *low)


def host_health(records: Iterable[Record]) -> dict[int, dict[str, Reading]]:
    """By process and key what :class:`HostHealth` finds in all records."""
    health = HostHealth()
    for record in records:
        health.add(record)
    return health.of


def health_series(records: Iterable[Record], key: str) -> dict[int, list[tuple[int, float]]]:
    """One quantity over time: by process (step, value), in the journal's order."""
    series: dict[int, list[tuple[int, float]]] = {}
    for record in records:
        for process, name, step, value in _readings(record):
            if name == key:
                series.setdefault(process, []).append((step, value))
    return series


class Stalls:
    """The stalls of a run, from first to last; the last one may go on.

    Attributes:
        found: all of them.

    Example:
        >>> stalls = Stalls()
        >>> event = {"type": "event", "attempt": 1}
        >>> stalls.add({**event, "event": "stall", "time": 20.0, "step": 7, "seconds": 11.0,
        ...             "waiting_for": [2]})
        >>> stalls.add({**event, "event": "stacks", "time": 20.5, "process": 2, "step": 6, "waited_s": 11.2,
        ...             "span": "reward", "span_s": 11.0, "at": "rollout.py:88 in score", "stacks": ""})
        >>> stalls.current.places[2].told(now=50.5)
        'process 2 has been in reward for 41 s (rollout.py:88 in score)'
        >>> stalls.add({**event, "event": "resumed", "time": 60.0, "step": 7, "seconds": 51.0, "missing": []})
        >>> stalls.current, stalls.found[-1].seconds
        (None, 51.0)
    """

    def __init__(self) -> None:
        self.found: list[Stall] = []
        self._early: dict[int, Place] = {}  # said before the root had noticed

    @property
    def current(self) -> Stall | None:
        """The one that goes on, as far as the records tell."""
        return self.found[-1] if self.found and self.found[-1].end is None else None

    def add(self, record: Record) -> None:
        """Takes in a record of the journal; of any type."""
        if record.get("type") == "event":
            self._add_event(record)
        elif record.get("type") == "commit":
            self._early = {}
        elif record.get("type") == "run" and self.current is not None:
            self.found[-1] = self.found[-1]._replace(end=_number(record.get("started")))  # it was killed

    def _add_event(self, record: Record) -> None:
        kind, time = record.get("event"), _number(record.get("time"))
        current = self.current
        if kind == "stall":
            begin = time - _number(record.get("seconds"))
            waiting_for = _processes(record.get("waiting_for"))
            attempt, step = int(_number(record.get("attempt"))), record.get("step")
            step = step if isinstance(step, int) else None
            self.found.append(Stall(attempt, begin, None, step, waiting_for, self._early))
            self._early = {}
        elif kind == "stacks" and isinstance(record.get("process"), int):
            place = _place(record, time)
            if current is not None:
                self.found[-1] = current._replace(places={**current.places, place.process: place})
            else:
                self._early[place.process] = place
        elif current is not None and kind == "silent":
            silent = {*current.silent, *_processes(record.get("processes"))}
            self.found[-1] = current._replace(silent=tuple(sorted(silent)))
        elif current is not None and kind in ("resumed", "finish"):
            missing = _processes(record.get("missing"))
            self.found[-1] = current._replace(end=time, missing=missing)


def stalls(records: Iterable[Record]) -> list[Stall]:
    """What :class:`Stalls` finds in all records."""
    reader = Stalls()
    for record in records:
        reader.add(record)
    return reader.found


def _number(value: Any) -> float:
    """Of a line that may be somebody else's."""
    return float(value) if isinstance(value, (int, float)) else 0.0


def _processes(value: Any) -> tuple[int, ...]:
    return tuple(each for each in value if isinstance(each, int)) if isinstance(value, list) else ()


def _place(record: Record, time: float) -> Place:
    span = record.get("span")
    inside = record.get("inside")
    return Place(
        record["process"],
        time,
        None if span is None else str(span),
        _number(record.get("span_s")),
        str(record.get("at") or "an unknown place"),
        None if inside is None else str(inside),
        _number(record.get("waited_s")),
        str(record.get("stacks") or ""),
    )


def _readings(record: Record) -> Iterator[tuple[int, str, int, float]]:
    """Process, key, step and value of what a record says of the health of processes."""
    if record.get("type") != "process_values":
        return
    step = int(record.get("step") or 0)
    for key, row in record["values"].items():
        if key.startswith(PREFIXES):
            for process, value in zip(record["processes"], row, strict=False):
                if value is not None:
                    yield process, key, step, float(value)
