"""`sightline logs`, as tests type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import sightline as sl

ROOT = Path(__file__).parent.parent.parent
PYTHONPATH = {"PYTHONPATH": f"{Path(sl.__file__).parent.parent}:{ROOT}"}
COMMAND = [sys.executable, "-m", "sightline.cli", "logs"]


def logs(*arguments: object, **options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env={**os.environ, **PYTHONPATH, **options},
    )  # fmt: skip


def messages(out: str) -> list[str]:
    return [line["message"] for line in map(json.loads, out.splitlines()) if "message" in line]
