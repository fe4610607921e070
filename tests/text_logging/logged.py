"""What the tests of text logging share: a logger, reading back what was logged, processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.text_logging.process_logging import TextLogging

log = sl.get_logger("unit")
QUIET = sl.TextLoggingConfig(console_processes="9")  # nothing on the console of this process


def records(path: Path) -> list[dict[str, Any]]:
    """The structured lines of a file, each of which must be whole; those with a type are no entries."""
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    return [each for each in map(json.loads, lines) if "type" not in each]


def logged(logs: TextLogging, folder: Path) -> list[dict[str, Any]]:
    assert logs.flush()
    path = folder / "unit.jsonl"
    return records(path) if path.exists() else []


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, which must go well."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "NO_COLOR"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, cwd=cwd, env={**kept, **environment}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done
