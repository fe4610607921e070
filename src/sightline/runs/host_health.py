"""What a journal says of hosts and of stalls: how each process is, who was waited for, and where. Pure.

Both readers take records one by one, so that they serve a file that grows as well as one that has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sightline.support.foreign_numbers import real, seconds, whole

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

    def told(self, now: float | None = None, *, is_over: bool = False) -> str:
        """One sentence for a person.

        Args:
            now: epoch s, at which the process is still there; None: as it was when it said so.
            is_over: whether it is there no more.

        Example:
            >>> Place(2, 100.0, "reward", 11.0, "rollout.py:88 in score", None, 11.5, "").told(now=130.0)
            'process 2 has been in reward for 41 s (rollout.py:88 in score)'
            >>> Place(2, 100.0, "reward", 11.0, "rollout.py:88 in score", None, 11.5, "").told(is_over=True)
            'process 2 was in reward for 11 s (rollout.py:88 in score)'
        """
        where = f"{self.at}, in {self.inside}" if self.inside else self.at
        since = max(0.0, now - self.time) if now is not None else 0.0
        if self.span is None:
            has = "had" if is_over else "has"
            return f"process {self.process} {has} not committed for {self.waited_s + since:.0f} s ({where})"
        was = "was" if is_over else "has been"
        return f"process {self.process} {was} in {self.span} for {self.span_s + since:.0f} s ({where})"


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
    def told(self) -> list[Place]:
        """Where processes were, those that it is about first; also where all stood in one place."""
        named = dict.fromkeys(each for each in (*self.suspects, *self.places) if each in self.places)
        return [self.places[each] for each in named]

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
        odd: values that were left out, since they, or where they belong, are of wrong types.

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
        self.odd = 0

    def add(self, record: Record) -> None:
        """Takes in a record of the journal; of any type."""
        for reading in _readings(record):
            if reading is None:
                self.odd += 1
                continue
            process, key, step, value = reading
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
        for reading in _readings(record):
            if reading is not None and reading[1] == key:
                process, _, step, value = reading
                series.setdefault(process, []).append((step, value))
    return series


class Stalls:
    """The stalls of a run, from first to last; the last one may go on.

    Attributes:
        found: all of them.
        odd: events that were left out, since fields of them are of wrong types; and processes in their lists.

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
        self.odd = 0
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
        elif record.get("type") == "run" and self.current is not None:  # it was killed
            started = seconds(record.get("started"))
            if started is None:  # how long it took is not known
                self.odd += 1
                del self.found[-1]
            else:
                self.found[-1] = self.found[-1]._replace(end=started)

    def _add_event(self, record: Record) -> None:
        kind, current = record.get("event"), self.current
        if kind not in ("stall", "stacks") and (
            current is None or kind not in ("silent", "resumed", "finish")
        ):
            return
        time = seconds(record.get("time"))
        if time is None:
            self.odd += 1
        elif kind == "stall":
            waited, step = seconds(record.get("seconds", 0.0)), record.get("step")
            attempt = whole(record.get("attempt", 0))
            if waited is None or attempt is None or (step is not None and whole(step) is None):
                self.odd += 1
                return
            waiting_for = self._processes(record.get("waiting_for"))
            self.found.append(Stall(attempt, time - waited, None, step, waiting_for, self._early))
            self._early = {}
        elif kind == "stacks":
            place = _place(record, time)
            if place is None:
                self.odd += 1
            elif current is not None:
                self.found[-1] = current._replace(places={**current.places, place.process: place})
            else:
                self._early[place.process] = place
        elif current is not None and kind == "silent":
            silent = {*current.silent, *self._processes(record.get("processes"))}
            self.found[-1] = current._replace(silent=tuple(sorted(silent)))
        elif current is not None:
            missing = self._processes(record.get("missing"))
            self.found[-1] = current._replace(end=time, missing=missing)

    def _processes(self, listed: Any) -> tuple[int, ...]:
        if listed is None:
            return ()
        if not isinstance(listed, list):
            self.odd += 1
            return ()
        found = tuple(each for each in listed if whole(each) is not None)
        self.odd += len(listed) - len(found)
        return found


def stalls(records: Iterable[Record]) -> list[Stall]:
    """What :class:`Stalls` finds in all records."""
    reader = Stalls()
    for record in records:
        reader.add(record)
    return reader.found


def _place(record: Record, time: float) -> Place | None:
    """Where a process says that it is; None if anything of it is of a wrong type."""
    process = whole(record.get("process"))
    times = [0.0 if record.get(name) is None else seconds(record[name]) for name in ("span_s", "waited_s")]
    span_s, waited_s = times
    span, at, inside, stacks = texts = [record.get(name) for name in ("span", "at", "inside", "stacks")]
    if process is None or span_s is None or waited_s is None:
        return None
    if not all(text is None or isinstance(text, str) for text in texts):
        return None
    return Place(process, time, span, span_s, at or "an unknown place", inside, waited_s, stacks or "")


def _readings(record: Record) -> Iterator[tuple[int, str, int, float] | None]:
    """Process, key, step and value of what a record says of the health of processes; None for each that is of
    wrong types."""
    if record.get("type") != "process_values":
        return
    step, processes, values = whole(record.get("step")), record.get("processes"), record.get("values")
    if step is None or not isinstance(processes, list) or not isinstance(values, dict):
        yield None
        return
    for key, row in values.items():
        if not key.startswith(PREFIXES):
            continue
        if not isinstance(row, list) or len(row) != len(processes):  # whose values they are is not known
            yield None
            continue
        for process, value in zip(processes, row, strict=True):
            if value is not None:
                number = real(value)
                yield None if number is None or whole(process) is None else (process, key, step, number)
