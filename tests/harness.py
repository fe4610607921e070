"""Real processes for tests: each with a disk of its own, started, signalled, and waited for by condition.

A *worker* is a function of a Python file that is run as a script, ``python FILE FUNCTION JSON-ARGUMENTS``,
in a working directory of its own: nothing here relies on a shared disk. ``start_job`` starts several as the
processes of one JAX job. No verdict depends on time: waits end when their condition holds, and fail after
``PATIENCE``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sightline as sl

PATIENCE = 120.0
_PORTS = range(20_000, 32_000)  # below those that the kernel hands out for outgoing connections
ROOT = Path(__file__).parent.parent
_PER_JOB = ("JAX_", "SLURM_", "OMPI_", "PMI_", "WORLD_SIZE", "TPU_", "MEGASCALE_", "SIGHTLINE_")

T = TypeVar("T")


def until(condition: Callable[[], T], what: str = "", *, patience: float = PATIENCE) -> T:
    """Waits for a condition and returns its (true) value."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {patience:g} s in vain for {what or condition}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """A port of the loopback that nobody listens on, and that no outgoing connection will get by chance."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Worker:
    """One process that runs a worker function in a directory of its own."""

    def __init__(
        self, file: str, function: str, disk: Path, env: dict[str, str], arguments: dict[str, Any]
    ) -> None:
        self.disk = disk
        self.env = env
        disk.mkdir(parents=True, exist_ok=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(_PER_JOB)}
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        clean |= {"JAX_PLATFORMS": "cpu", "PYTHONFAULTHANDLER": "", "PYTHONUNBUFFERED": "1"}
        clean |= {"PYTHONPATH": paths, **env}
        with open(disk / "output.txt", "ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, file, function, json.dumps(arguments)],
                cwd=disk, env=clean, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def output(self) -> str:
        """What it has printed and logged so far."""
        return (self.disk / "output.txt").read_text(errors="replace")

    @property
    def runs(self) -> list[Path]:
        """The run directories on its disk."""
        return sorted(p.parent for p in self.disk.glob("runs/*/metrics.jsonl") if not p.parent.is_symlink())

    def journal(self, run: str | None = None) -> list[dict[str, Any]]:
        """The journal's records so far, of its only run or the one named; none if there is no journal yet."""
        runs = [path for path in self.runs if run is None or path.name == run]
        assert len(runs) <= 1, runs
        return list(sl.read_journal(runs[0])) if runs else []

    def commits(self, run: str | None = None) -> list[dict[str, Any]]:
        return [record for record in self.journal(run) if record["type"] == "commit"]

    def notes(self, name: str) -> list[Any]:
        """The whole lines that it has noted under a name (``note`` of the workers)."""
        path = self.disk / f"{name}.jsonl"
        if not path.exists():
            return []
        return [
            json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
        ]

    def tell(self, name: str) -> None:
        """Lets it go past ``wait_for(name)``."""
        (self.disk / name).touch()

    def signal(self, number: signal.Signals) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def wait(self, expected: int | None = 0, *, patience: float = PATIENCE) -> int:
        """Waits for its end and checks the exit code; None: any."""
        try:
            code = self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.disk.name} still runs after {patience:g} s:\n{self.output}"
            ) from None
        assert expected is None or code == expected, f"{self.disk.name} ended with {code}:\n{self.output}"
        return code

    def kill(self) -> None:
        """Ends it, whatever it is doing; harmless when it has ended."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


class Job(list[Worker]):
    """The processes of one job, the root first."""

    @property
    def root(self) -> Worker:
        return self[0]

    def tell(self, name: str) -> None:
        for worker in self:
            worker.tell(name)

    def wait(self, expected: int = 0, *, patience: float = PATIENCE) -> None:
        for worker in self:
            worker.wait(expected, patience=patience)

    def signal(self, number: signal.Signals) -> None:
        for worker in self:
            worker.signal(number)


class Workers:
    """Starts workers of one file, and ends those that are left when the test is over.

    Args:
        file: the script that holds the functions.
        disks: under which every process gets a directory of its own.
    """

    def __init__(self, file: str, disks: Path) -> None:
        self._file = file
        self._disks = disks
        self._started: list[Worker] = []

    def disk(self, name: str) -> Path:
        """The directory of a process that is yet to start."""
        (self._disks / name).mkdir(parents=True, exist_ok=True)
        return self._disks / name

    def start(
        self, function: str, *, disk: str = "p0", env: dict[str, str] | None = None, **arguments: Any
    ) -> Worker:
        """Starts one process."""
        worker = Worker(self._file, function, self._disks / disk, env or {}, arguments)
        self._started.append(worker)
        return worker

    def start_job(
        self, processes: int, function: str, *, env: dict[str, str] | None = None, **arguments: Any
    ) -> Job:
        """Starts the processes of a JAX job; each connects when its function calls ``connect``."""
        shared = {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
            "JAX_NUM_PROCESSES": str(processes),
            **(env or {}),
        }
        environments = [{**shared, "JAX_PROCESS_ID": str(p)} for p in range(processes)]
        return Job(
            self.start(function, disk=f"p{p}", env=env, **arguments) for p, env in enumerate(environments)
        )

    def end(self) -> None:
        for worker in self._started:
            worker.kill()


@contextlib.contextmanager
def workers_of(file: str, disks: Path) -> Iterator[Workers]:
    """Workers for one test."""
    workers = Workers(file, disks)
    try:
        yield workers
    finally:
        workers.end()


def process_values(journal: list[dict[str, Any]], commit: dict[str, Any]) -> dict[str, dict[int, float]]:
    """The per-process values of one commit: key -> process -> value, of those that have one."""
    line = next((r for r in journal if r["type"] == "process_values" and r["seq"] == commit["seq"]), None)
    if line is None:
        return {}
    return {
        key: {p: v for p, v in zip(line["processes"], row, strict=True) if v is not None}
        for key, row in line["values"].items()
    }
