"""What W&B's run files hold, by our reader and by its own."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sightline.sinks.wandb_file import rows
from sightline.sinks.wandb_run import run_files


def run_id(run: Path) -> str:
    found: str = json.loads((run / "run.json").read_bytes())["run_id"]
    return found


def stored(run: Path, suffix: str = "") -> list[dict[str, Any]]:
    """The rows in the run's files of all attempts."""
    return [row for path in run_files(run, run_id(run) + suffix) for row in rows(path)]


def seen_by_wandb(path: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind that W&B's own reader finds in a run file; nested names with dots."""
    spec = find_spec("wandb")
    assert spec is not None
    core = Path(str(spec.origin)).parent / "bin" / "wandb-core"
    done = subprocess.run(
        [core, "leet", "inspect", "-no-observability", "-json", "-run-file", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [record[kind] for line in done.stdout.splitlines() if (record := json.loads(line))["type"] == kind]
