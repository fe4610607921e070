"""Runs of a runner: in real processes, one job each, and what they leave."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]

#: A value, and how far from it the journal may be.
Expected = tuple[float, float]


class Finished(NamedTuple):
    """A run that has ended."""

    dir: Path
    old_style: dict[str, dict[str, Expected]]  # what the old way computes, by place and old name
    printed: list[str]  # by each process, when it ran in processes of its own
    outputs: list[Path]  # the output directory of each process

    def journal(self, kind: str = "commit") -> list[dict[str, Any]]:
        """The journal's lines of one type."""
        lines = map(json.loads, (self.dir / "metrics.jsonl").read_text().splitlines())
        return [line for line in lines if line["type"] == kind]


def launch(
    module: str, config: Path, outputs: Sequence[Path], *overrides: str, timeout: float = 300
) -> Finished:
    """Runs `python -m MODULE CONFIG OUTPUT OVERRIDES…` as one job, a process for each output, to its end.

    The root leaves what the old way computes in its output as `old_style.json`.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    started = []
    for i, output in enumerate(outputs):
        env = os.environ | {
            "JAX_COORDINATOR_ADDRESS": address,
            "JAX_NUM_PROCESSES": str(len(outputs)),
            "JAX_PROCESS_ID": str(i),
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, "-m", module, str(config), str(output), *overrides]
        started.append(
            subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        printed = [process.communicate(timeout=timeout)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for i, process in enumerate(started):
        assert process.returncode == 0, f"process {i} failed:\n{printed[i][-4000:]}"
    computed = json.loads((outputs[0] / "old_style.json").read_text())
    return Finished(outputs[0] / "run", computed, printed, list(outputs))
