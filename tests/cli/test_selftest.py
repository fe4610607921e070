"""`sightline selftest`, as a launcher runs it: real processes, some of which never come, or are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PATIENCE, free_port, until

_PER_JOB = ("JAX_", "SLURM_", "OMPI_", "PMI_", "WORLD_SIZE", "TPU_", "MEGASCALE_", "SIGHTLINE_")


class Process:
    """One process of a self-test, in a directory of its own."""

    def __init__(self, disk: Path, arguments: list[str], env: dict[str, str]) -> None:
        disk.mkdir(parents=True, exist_ok=True)
        self.disk = disk
        clean = {k: v for k, v in os.environ.items() if not k.startswith(_PER_JOB)}
        with open(disk / "out", "wb") as out, open(disk / "err", "wb") as err:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "sightline.cli", "selftest", *arguments],
                cwd=disk, env={**clean, "JAX_PLATFORMS": "cpu", **env}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err,
            )  # fmt: skip

    @property
    def out(self) -> str:
        return (self.disk / "out").read_text()

    @property
    def err(self) -> str:
        return (self.disk / "err").read_text()

    @property
    def child(self) -> int:
        """What makes the checks."""
        text = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text()
        return int(text.split()[0])

    def wait(self, code: int) -> str:
        """Its output once it has ended, with this code."""
        ended = self.popen.wait(PATIENCE)
        assert ended == code, (ended, self.out, self.err)
        return self.out


class Job:
    """Starts processes of one job, each with the number that it is given."""

    def __init__(self, disks: Path) -> None:
        self._disks = disks
        self._all: list[Process] = []
        self.port = free_port()

    def start(self, process: int, processes: int, *arguments: str, **env: str) -> Process:
        env = {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{self.port}", "JAX_NUM_PROCESSES": str(processes),
            "JAX_PROCESS_ID": str(process), **env,
        }  # fmt: skip
        return self.start_alone(f"p{process}.{len(self._all)}", *arguments, **env)

    def start_alone(self, disk: str, *arguments: str, **env: str) -> Process:
        self._all.append(Process(self._disks / disk, list(arguments), env))
        return self._all[-1]

    def end(self) -> None:
        for each in self._all:
            if each.popen.poll() is None:
                each.popen.kill()
                each.popen.wait()


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    job.end()


def statuses(out: str) -> dict[str, str]:
    """By check, from lines that people read."""
    words = [line.split()[:2] for line in out.splitlines()]
    return {check: status for status, check in words if status in ("PASS", "FAIL", "SKIP")}


def test_a_job_of_one_process_skips_what_needs_others(job: Job) -> None:
    process = job.start_alone("one")
    out = process.wait(0)
    assert statuses(out) == {
        "connect": "PASS", "transport": "SKIP", "files": "PASS", "clocks": "SKIP", "exactness": "PASS",
        "device": "PASS", "stall": "SKIP",
    }  # fmt: skip
    assert "SKIP stall      one process: nobody to wait for" in out
    assert "all is well: 4 passed, 3 skipped" in out
    assert not (process.disk / "runs").exists()


def test_without_jax_the_rest_is_tried(job: Job, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['jax'] = None\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    out = job.start_alone("one", PYTHONPATH=path).wait(0)
    assert statuses(out)["exactness"] == "PASS"
    assert "SKIP device     JAX is not installed" in out
    alone = job.start(0, 2, PYTHONPATH=path).wait(1)
    assert "JAX_NUM_PROCESSES=2, and JAX is not installed here" in alone


# Four are two that wait longer for each other on two cores.
@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.long)])
def test_all_is_well_where_all_come(job: Job, processes: int) -> None:
    """Process 0 alone prints, one line a check; nothing is left behind, on any disk."""
    started = [job.start(p, processes, "--seconds", "120") for p in range(processes)]
    root, *others = started
    assert all(each.wait(0) == "" for each in others)
    out = root.wait(0)
    assert set(statuses(out).values()) == {"PASS"}
    assert len(statuses(out)) == 7
    assert f"{processes} processes on 1 host" in out
    assert f"process {processes - 1} held back" in out
    assert "several disks" not in out
    assert "disks of their own" in out
    assert "sightline collect" in out
    assert not any((each.disk / "runs").exists() for each in started)


def test_a_launcher_is_all_it_needs_and_programs_read_it(job: Job, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sightline.cli", "launch", "-n", "2", "--",
         sys.executable, "-m", "sightline.cli", "selftest", "--json", "--seconds", "120",
         "--log-dir", str(tmp_path / "shared")],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = done.stdout.splitlines()
    said: dict[str, Any] = json.loads(line.removeprefix("[0] "))
    assert (said["passed"], said["process"], said["processes"]) == (True, 0, 2)
    checks = {each["check"]: each for each in said["checks"]}
    assert all(each["status"] == "PASS" for each in checks.values())
    assert checks["files"]["data"]["shared"] == [0, 1]
    assert checks["exactness"]["data"]["host"] <= 1e-9
    assert checks["clocks"]["data"]["offsets_s"].keys() == {"1"}


def test_a_process_that_never_comes_is_named_by_all(job: Job) -> None:
    root, other = (job.start(p, 4, "--seconds", "16") for p in (0, 2))
    for out in (root.wait(1), other.wait(1)):
        assert "processes 1, 3 of 4 never came" in out
        assert "nc -vz" in out
    assert out.startswith("FAIL connect    process 2: ")


def test_a_wrong_coordinator_is_said_by_who_has_it(job: Job) -> None:
    root = job.start(0, 2, "--seconds", "16")
    nowhere = free_port()
    other = job.start(1, 2, "--seconds", "10", JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{nowhere}")
    said = other.wait(1)
    assert f"process 1: process 0 cannot be reached at 127.0.0.1:{nowhere}: Connection refused" in said
    assert "process 1 of 2 never came" in root.wait(1)


def test_whoever_else_has_the_port_is_no_process_0(job: Job) -> None:
    """Seen from process 0, which cannot listen, and from another, which gets no answer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", job.port))
        taken.listen()
        root, other = (job.start(p, 2, "--seconds", "8", JAX_COORDINATOR_BIND_ADDRESS=f"127.0.0.1:{job.port}")
                       for p in (0, 1))  # fmt: skip
        assert f"cannot listen on port {job.port}: Address already in use" in root.wait(1)
        assert "cannot be reached at" in other.wait(1)


def test_two_of_one_number_and_two_sizes_are_said(job: Job) -> None:
    root = job.start(0, 3, "--seconds", "40")
    twins = [job.start(1, 3, "--seconds", "40") for _ in range(2)]
    for each in (root, *twins):
        assert "two processes say that they are process 1" in each.wait(1)
    job.port = free_port()
    for each in (job.start(0, 2, "--seconds", "40"), job.start(1, 3, "--seconds", "40")):
        out = each.wait(1)
        assert "says that there are 3 processes, and process 0 that there are 2" in out


def test_a_process_that_is_killed_in_the_middle_is_named(job: Job) -> None:
    """The others end too, without waiting for it in a collective, and so does its own child."""
    started = [job.start(p, 3, "--seconds", "60") for p in range(3)]
    root, other, victim = started
    until(lambda: "PASS files" in root.out or root.popen.poll() is not None, "the first checks")
    child = victim.child
    victim.popen.kill()
    assert "process 2 stopped answering" in root.wait(1)
    assert other.popen.wait(PATIENCE) == 1
    until(lambda: not Path(f"/proc/{child}").exists(), "the end of its child")


@pytest.mark.long
def test_a_process_that_hangs_is_ended_and_named(job: Job) -> None:
    root, other = (job.start(p, 2, "--seconds", "30") for p in range(2))
    until(lambda: "PASS files" in root.out or root.popen.poll() is not None, "the first checks")
    with contextlib.suppress(ProcessLookupError):
        os.kill(other.child, signal.SIGSTOP)
    assert "process 1" in root.wait(1)
    assert "process 1: not done within 35 s" in other.wait(1)


def test_when_process_0_is_killed_the_others_say_so(job: Job) -> None:
    root, other = (job.start(p, 2, "--seconds", "60") for p in range(2))
    until(lambda: "PASS files" in root.out or root.popen.poll() is not None, "the first checks")
    root.popen.kill()
    out = other.wait(1)
    assert out.startswith("FAIL")
    assert "process 1: " in out


def test_a_disk_that_nobody_may_write_is_said_and_the_rest_is_tried(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = job.start_alone("one", "--log-dir", str(tmp_path / "file" / "runs")).wait(1)
    assert statuses(out)["files"] == "FAIL"
    assert statuses(out)["exactness"] == "PASS"
    assert "cannot make a directory in" in out
    assert "1 failed: " in out


def test_a_place_that_is_half_known_is_said(job: Job) -> None:
    out = job.start_alone("one", "--num-processes", "2").wait(1)
    assert "this process's place is not known: without coordinator, process-id" in out
    assert "give --coordinator … --process-id …" in out
    assert "is no number" in job.start_alone("two", JAX_NUM_PROCESSES="many").wait(1)


def test_a_launcher_may_stop_it(job: Job) -> None:
    root = job.start(0, 2, "--seconds", "60")
    child = until(lambda: Path(f"/proc/{root.popen.pid}/task/{root.popen.pid}/children").read_text().split())
    root.popen.terminate()
    root.wait(1)
    assert "stopped by SIGTERM" in root.err
    until(lambda: not Path(f"/proc/{child[0]}").exists(), "the end of its child")
