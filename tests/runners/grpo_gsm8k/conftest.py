"""Runs that several tests look at are made once: the smoke config on one process, and on two."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import pytest

from runners.common.config import load
from runners.grpo_gsm8k.config import Config
from tests.runners.grpo_gsm8k.old_style import Expected, train_and_compute

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "runners" / "grpo_gsm8k" / "configs" / "smoke.yaml"


class Finished(NamedTuple):
    """A run that has ended."""

    dir: Path
    old_style: dict[str, dict[str, Expected]]
    printed: list[str]  # by each process, when it ran in processes of its own
    outputs: list[Path]  # the output directory of each process

    def journal(self, kind: str = "commit") -> list[dict[str, Any]]:
        """The journal's lines of one type."""
        lines = map(json.loads, (self.dir / "metrics.jsonl").read_text().splitlines())
        return [line for line in lines if line["type"] == kind]


def smoke_config(output: Path, *overrides: str) -> Config:
    """The smoke config, silent, into `output`/run."""
    return load(Config, SMOKE, [f"output.dir={output}", "output.name=run", "output.sinks=[]", *overrides])


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same small programs are compiled once, not once a run."""
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax_cache")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    yield
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])


@pytest.fixture(scope="session")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    output = tmp_path_factory.mktemp("one")
    _, computed = train_and_compute(smoke_config(output))
    return Finished(output / "run", computed, [], [output])


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two real processes, each with an output directory of its own: no shared disk."""
    return launch([tmp_path_factory.mktemp(f"two_p{i}") for i in range(2)])


def launch(outputs: list[Path], *overrides: str, config: Path = SMOKE, timeout: float = 300) -> Finished:
    """Runs a config as one job of real processes, one for each output directory, to its end."""
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
        module = "tests.runners.grpo_gsm8k.old_style"
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
    return Finished(outputs[0] / "run", computed, printed, outputs)
