"""A journal's history that passes over lines which are JSON, but nothing that sightline writes."""

from __future__ import annotations

from typing import Any

from sightline.history import History
from sightline.journal import Record
from sightline.sinks.lineage import starts_of

_MOST = 1 << 53
_PROCESSES = 1 << 20


class CheckedHistory(History):
    """As :class:`sightline.history.History`; lines with fields of wrong types count as torn ones."""

    def _take(self, line: bytes) -> None:
        runs = len(self.runs)
        super()._take(line)
        if len(self.runs) > runs and not _is_run(self.runs[-1]):
            del self.runs[-1]
            self.torn += 1

    def _take_commit(self, record: Record) -> None:
        texts = record.get("texts") or {}
        if (
            _is_int(record.get("step"))
            and _is_int(record.get("attempt", 1))
            and _is_number(record.get("time", 0))
            and isinstance(record.get("missing") or [], list)
            and _has(record.get("nonfinite") or {}, _is_kind)
            and _has(texts, lambda text: isinstance(text, str))
        ):
            super()._take_commit(record)
        else:
            self.torn += 1

    def _take_process_values(self, record: Record) -> None:
        processes = record.get("processes")
        if (
            _is_int(record.get("step"))
            and isinstance(processes, list)
            and all(map(_is_int, processes))
            and _has(record.get("values"), lambda row: isinstance(row, list))
        ):
            super()._take_process_values(record)
        else:
            self.torn += 1

    def _take_samples(self, record: Record) -> None:
        if _is_int(record.get("step")) and _is_int(record.get("recorded") or 0):
            super()._take_samples(record)
        else:
            self.torn += 1


def _is_run(record: Record) -> bool:
    try:
        starts_of(record)
    except (TypeError, ValueError, LookupError, AttributeError):
        return False
    return (
        _is_int(record.get("attempt", 1))
        and _is_int(record.get("processes", 1))
        and record.get("processes", 1) <= _PROCESSES
        and _is_number(record.get("started", 0))
    )


def _is_int(value: Any) -> bool:
    return type(value) is int and abs(value) < _MOST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _MOST


def _is_kind(value: Any) -> bool:
    return value in ("nan", "inf", "-inf")


def _has(found: Any, accepts: Any) -> bool:
    return isinstance(found, dict) and all(map(accepts, found.values()))
