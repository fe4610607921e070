"""What a tracer has recorded, by kind."""

from __future__ import annotations

from typing import Any


def spans(records: list[Any]) -> list[tuple[str, int, int, int, Any]]:
    return [record for record in records if len(record) == 5]


def of_kind(records: list[Any], kind: int) -> list[Any]:
    return [record[1] for record in records if len(record) == 2 and record[0] == kind]


def names(records: list[Any]) -> list[str]:
    return [record[0] for record in spans(records)]
