"""What trackio's storage holds of a run, as its dashboard reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trackio.sqlite_storage
import trackio.utils


def rows(folder: Path, run_id: str | None = None, project: str = "sightline") -> list[dict[str, Any]]:
    """By trackio's storage, as its dashboard reads them; of the only run or the one with this id."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (trackio.sqlite_storage, trackio.utils):
            patch.setattr(module, "TRACKIO_DIR", folder)
        storage = trackio.sqlite_storage.SQLiteStorage
        if run_id is None:
            (run_id,) = [record["id"] for record in storage.get_run_records(project)]
        found = storage.get_logs(project, run_id=run_id)
    return sorted(found, key=lambda row: row["sightline/seq"])


def shown(rows: list[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(row["step"], row[key]) for row in rows if key in row]


def seqs(rows: list[dict[str, Any]]) -> list[int]:
    return [row["sightline/seq"] for row in rows]
