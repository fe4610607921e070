"""Records of a journal as sinks and views may rely on them: anybody may edit a file, and no odd line may stop
one who reads it.

A line without which nothing can be told is left out; of any other only what is odd. All who count odd lines
count them by this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sightline.runs.sound_lines import is_sound_run, sane_event
from sightline.sinks.commits import KINDS, is_commit
from sightline.sinks.lineage import damaged_starts
from sightline.support.foreign_numbers import real, seconds, whole
from sightline.values.samples import RANKED_BY

_Plain = dict[str, Any]


class SoundRecords:
    """Makes records sound, one after the other.

    Attributes:
        odd: how many were not.

    Example:
        >>> sound = SoundRecords()
        >>> record = {"type": "commit", "seq": 1, "step": 7, "time": 3.5, "attempt": 1, "values": {"loss": 1}}
        >>> sound(record) is record, sound({**record, "seq": "1"}), sound.odd
        (True, None, 1)
        >>> mended = sound({**record, "time": "noon", "values": {"loss": 1, "kl": "x"}})
        >>> mended["time"], mended["values"], sound.odd
        (3.5, {'loss': 1}, 2)
    """

    def __init__(self) -> None:
        self.odd = 0
        self._time = 0.0  # of the commit before
        self._attempt = 1

    def __call__(self, record: _Plain) -> _Plain | None:
        """The record itself if it is sound; else what is sound of it, or None."""
        found = self._sound(record)
        self.odd += found is not record
        return found

    def _sound(self, record: _Plain) -> _Plain | None:
        kind = record.get("type")
        if not isinstance(kind, str) or whole(record.get("seq", 0)) is None:
            return None
        if kind == "commit":
            return self._commit(record)
        if kind in ("event", "late"):
            return _event(record)
        if kind == "run":
            return _run(record)
        if kind in _OF_STEPS and whole(record.get("step")) is None:
            return None
        return _OF_STEPS.get(kind, _as_it_is)(record)

    def _commit(self, record: _Plain) -> _Plain | None:
        if not is_commit(record) or whole(record["step"]) is None:
            return None
        better: _Plain = {}
        if (moment := seconds(record.get("time"))) is None:
            moment = better["time"] = self._time
        if (attempt := whole(record.get("attempt"))) is None:
            attempt = better["attempt"] = self._attempt
        self._time, self._attempt = moment, attempt
        values: _Plain = record["values"]
        if not _VALUES.issuperset(map(type, values.values())):
            better["values"] = {key: value for key, value in values.items() if _is_value(value)}
        for name, is_good in _MAPPINGS.items():
            _keep(record, better, name, dict, is_good)
        _keep(record, better, "missing", list, lambda process: whole(process) is not None)
        if whole(record.get("k") or 0) is None:
            better["k"] = 0
        return {**record, **better} if better else record


_MAPPINGS: dict[str, Callable[[Any], bool]] = {
    "nonfinite": lambda kind: isinstance(kind, str) and kind in KINDS,
    "texts": lambda text: isinstance(text, str),
    "counts": lambda count: whole(count) is not None,
}


_VALUES = {int, float, type(None)}


def _is_value(value: Any) -> bool:
    return type(value) in _VALUES


def _keep(record: _Plain, better: _Plain, name: str, kind: type[Any], is_good: Callable[[Any], bool]) -> None:
    """Notes what is left of a field that has elements, if not all of them can stay."""
    field = record.get(name)
    if field is None:
        return
    if not isinstance(field, kind):
        better[name] = kind()
    elif isinstance(field, dict):
        if not all(map(is_good, field.values())):
            better[name] = {key: value for key, value in field.items() if is_good(value)}
    elif not all(map(is_good, field)):
        better[name] = list(filter(is_good, field))


def _event(record: _Plain) -> _Plain | None:
    if record["type"] == "event" and not isinstance(record.get("event"), str):
        return None
    sane = sane_event(record)
    is_same = all(value is None or sane.get(name) == value for name, value in record.items())
    return record if is_same else sane


def _run(record: _Plain) -> _Plain | None:
    if not isinstance(record.get("run_id"), str):
        return None
    if is_sound_run(record):
        return record if not damaged_starts(record) else dict(record)  # readers pass over the bad ones
    return {name: value for name, value in record.items() if is_sound_run({name: value})}


def _process_values(record: _Plain) -> _Plain | None:
    processes = record.get("processes")
    is_sound = isinstance(processes, list) and isinstance(record.get("values"), dict)
    return record if is_sound and all(whole(each) is not None for each in processes or ()) else None


def _histogram(record: _Plain) -> _Plain | None:
    edges, counts = record.get("edges"), record.get("counts")
    is_sound = (
        isinstance(record.get("key"), str)
        and isinstance(edges, list)
        and isinstance(counts, list)
        and len(edges) == len(counts) + 1 > 1
        and all(real(edge) is not None for edge in edges)
        and all((whole(count) or 0) >= 0 and whole(count) is not None for count in counts)
    )
    return record if is_sound else None


def _sample(record: _Plain) -> _Plain | None:
    rows = record.get("rows")
    if not isinstance(record.get("table"), str) or not isinstance(rows, list):
        return None
    better: _Plain = {}
    if not all(isinstance(row, dict) for row in rows):
        rows = better["rows"] = [row for row in rows if isinstance(row, dict)]
    if whole(record.get("recorded")) is None:
        better["recorded"] = len(rows)
    if not isinstance(record.get("ranked_by", RANKED_BY), str):
        better["ranked_by"] = RANKED_BY
    return {**record, **better} if better else record


def _as_it_is(record: _Plain) -> _Plain:
    return record


_OF_STEPS: dict[str, Callable[[_Plain], _Plain | None]] = {
    "histogram": _histogram, "sample": _sample, "process_values": _process_values,
}  # fmt: skip
