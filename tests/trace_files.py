"""What trace files hold, line by line."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The events of a live file, its last line left out if it is cut."""
    first, *lines, _ = path.read_text().split("\n")
    assert first == "["
    return [json.loads(line.removesuffix(","), parse_float=Decimal) for line in lines]


def events(folder: Path, *phases: str) -> list[dict[str, Any]]:
    found = [event for path in sorted(folder.glob("traces/*.json")) for event in whole_lines(path)]
    return [event for event in found if event["ph"] in phases] if phases else found
