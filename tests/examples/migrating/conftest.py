"""Each phase runs once for each number of processes; all tests look at what it left."""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sightline as sl
from tests.examples.migrating import phase_worker
from tests.harness import Job, workers_of

STEPS, EVAL_EVERY = 12, 4
MORE = {"phase6": ["--profile-steps", "3"]}

Rows = dict[int, dict[str, Any]]  # step -> key -> value


class Call(NamedTuple):
    """One call of what the runner trains with, on the clock of its process."""

    name: str
    begin: float
    end: float


class Ran(NamedTuple):
    """A phase that has run on some processes."""

    job: Job

    @property
    def folder(self) -> Path:
        return self.job.root.disk / "runs" / "adding"

    def logged(self) -> Rows:
        """What the W&B helper of phase 0 wrote, a row for each step as W&B has it."""
        rows: Rows = {}
        for line in map(json.loads, (self.folder / "log.jsonl").read_text().splitlines()):
            rows.setdefault(line.pop("step"), {}).update(line)
        return rows

    def journal(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in sl.read_journal(self.folder) if record["type"] == kind]

    def committed(self) -> Rows:
        """The journal's values and texts, a row for each step as W&B has it."""
        rows: Rows = {}
        for commit in self.journal("commit"):
            rows.setdefault(commit["step"], {}).update(commit["values"] | commit.get("texts", {}))
        return rows

    def stored_by_wandb(self) -> Rows:
        """The rows that the W&B SDK has stored in its offline file, without the SDK's own keys.

        The file is 7 bytes and then a LevelDB log of protobuf records: blocks of 32 KiB, in which each piece
        has a crc32, a length and a kind (whole 1, first 2, middle 3, last 4).
        """
        from wandb.proto import wandb_internal_pb2

        (file,) = self.folder.parent.rglob("wandb/offline-run-*/run-*.wandb")
        data, at, piece = file.read_bytes(), 7, b""
        rows: Rows = {}
        while at + 7 <= len(data):
            if (left := 32768 - at % 32768) < 7:
                at += left
                continue
            _, size, kind = struct.unpack_from("<IHB", data, at)
            piece += data[at + 7 : at + 7 + size]
            at += 7 + size
            if kind not in (1, 4):
                continue
            record, piece = wandb_internal_pb2.Record.FromString(piece), b""
            if record.WhichOneof("record_type") == "history":
                items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
                row = {key: json.loads(value) for key, value in items.items()}
                rows[row["_step"]] = {key: value for key, value in row.items() if key[0] != "_"}
        return rows

    def process_values(self) -> dict[int, dict[str, list[float]]]:
        """Step -> key -> the value of each process."""
        rows: dict[int, dict[str, list[float]]] = {}
        for line in self.journal("process_values"):
            rows.setdefault(line["step"], {}).update(line["values"])
        return rows

    def calls(self, process: int = 0) -> list[Call]:
        return [Call(*call) for call in json.loads((self.job[process].disk / "calls.json").read_text())]

    def lines(self) -> list[dict[str, float]]:
        """What `grep "^step=.* loss="` finds in the output of process 0: the training steps."""
        found = re.findall(r"^step=.* loss=.*$", self.job.root.output, re.MULTILINE)
        return [
            {name: float(value) for name, value in (f.split("=") for f in line.split())} for line in found
        ]


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`run(module, processes)`: what that has left, each time the same."""
    ran: dict[str, Ran] = {}
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("jax_cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONWARNINGS": "error",
        "WANDB_SILENT": "true",
    }
    disks = tmp_path_factory.mktemp("migrating")
    with contextlib.ExitStack() as stack:

        def run(module: str, processes: int, *, wandb: str = "disabled") -> Ran:
            which = f"{module}.{processes}.{wandb}"
            if which not in ran:
                workers = stack.enter_context(workers_of(phase_worker.__file__, disks / which))
                options = ["--steps", str(STEPS), "--eval-every", str(EVAL_EVERY), "--wandb-mode", wandb]
                options += MORE.get(module, ())
                job = workers.start_job(processes, "run", env=environment, module=module, arguments=options)
                job.wait()
                ran[which] = Ran(job)
            return ran[which]

        yield run
