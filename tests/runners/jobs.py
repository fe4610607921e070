"""Runs of a runner: in real processes, one job each, and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sightline.aliases import TABLES, Mirror
from tests.harness import free_port

ROOT = Path(__file__).parents[2]

#: A value, and how far from it the journal may be.
Expected = tuple[float, float]


def exact(value: Any) -> Expected:
    """Of what is reduced on the host."""
    return float(value), max(1e-9 * abs(float(value)), 1e-12)


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

    def steps(self) -> list[dict[str, Any]]:
        """The commits of training steps."""
        return [line for line in self.journal() if "train/loss" in line["values"]]

    def of_root(self, key: str) -> list[float]:
        """What process 0 has measured itself, at each step."""
        measured = {line["seq"]: line["values"] for line in self.journal("process_values")}
        return [measured[line["seq"]][key][0] for line in self.steps()]

    def without_an_old_computation(self, marks: Mapping[str, str], aliases: str) -> set[str]:
        """The keys of all commits that are compared with nothing, under no name; times, rates and sessions
        left out.

        Args:
            marks: by place (`train`) a key that its commits have, and no others.
            aliases: the table of old names.
        """
        names, found = Mirror(TABLES[aliases].aliases), set()
        for line in self.journal():
            place = next((name for name, mark in marks.items() if mark in line["values"]), "")
            old = self.old_style.get(f"{line['step']} {place}", {})
            compared = {key for key in line["values"] if key in old or old.keys() & set(names.names(key))}
            compared |= {name for key in compared for name in names.names(key)}
            found |= line["values"].keys() - compared
        return {key for key in found if not key.startswith(("time/", "throughput/", "rollout/session/"))}


def launch(runner: str, outputs: Sequence[Path], *overrides: str) -> Finished:
    """Runs a runner's smoke config as one job, a process for each output, to its end; the old way beside it.

    The root leaves what the old way computes in its output as `old_style.json`.
    """
    module, config = f"tests.runners.{runner}.old_style", ROOT / "runners" / runner / "configs" / "smoke.yaml"
    commands = [[module, str(config), str(output), *overrides] for output in outputs]
    printed = _run(commands, timeout=600, roughly=True)
    computed = json.loads((outputs[0] / "old_style.json").read_text())
    return Finished(outputs[0] / "run", computed, printed, list(outputs))


def train(runner: str, outputs: Sequence[Path], *overrides: str, timeout: float) -> Finished:
    """Runs the demo of a runner as its user does, without the old way, which takes longer than it."""
    config = ROOT / "runners" / runner / "configs" / "demo.yaml"
    commands = []
    for output in outputs:
        settings = [f"output.dir={output}", "output.name=run", *overrides]
        sets = [word for setting in settings for word in ("--set", setting)]
        commands.append([f"runners.{runner}", "--config", str(config), *sets])
    return Finished(outputs[0] / "run", {}, _run(commands, timeout=timeout), list(outputs))


def _run(modules: Sequence[Sequence[str]], *, timeout: float, roughly: bool = False) -> list[str]:
    """One job of `python -m` these; returns what each process has printed.

    Args:
        roughly: compiled, as is worth it for programs that run for milliseconds.
    """
    address = f"127.0.0.1:{free_port()}"
    started = []
    for i, words in enumerate(modules):
        env = os.environ | {
            "JAX_COORDINATOR_ADDRESS": address,
            "JAX_NUM_PROCESSES": str(len(modules)),
            "JAX_PROCESS_ID": str(i),
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": str(roughly),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    try:
        printed = [process.communicate(timeout=timeout)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for i, process in enumerate(started):
        assert process.returncode == 0, f"process {i} failed:\n{printed[i][-4000:]}"
    return printed
