"""Runs that several tests look at are made once: the smoke config on one, two and four processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.common.config import load
from runners.grpo_gsm8k.config import Config
from tests.runners import jobs
from tests.runners.grpo_gsm8k.old_style import train_and_compute
from tests.runners.jobs import ROOT, Finished

SMOKE = ROOT / "runners" / "grpo_gsm8k" / "configs" / "smoke.yaml"


def smoke_config(output: Path, *overrides: str) -> Config:
    """The smoke config, silent, into `output`/run."""
    return load(Config, SMOKE, [f"output.dir={output}", "output.name=run", "output.sinks=[]", *overrides])


def launch(outputs: list[Path], *overrides: str) -> Finished:
    """The smoke config as one job of real processes, each with an output directory of its own."""
    return jobs.launch("grpo_gsm8k", outputs, *overrides)


@pytest.fixture(scope="session")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    output = tmp_path_factory.mktemp("one")
    _, computed = train_and_compute(smoke_config(output))
    return Finished(output / "run", computed, [], [output])


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return launch([tmp_path_factory.mktemp(f"two_p{i}") for i in range(2)])


@pytest.fixture(scope="session")
def four_processes(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Fewer steps: each process compiles everything, on the same two cores."""
    outputs = [tmp_path_factory.mktemp(f"four_p{i}") for i in range(4)]
    return launch(outputs, "grpo.steps=2", "grpo.grad_accumulation=1", "checkpoint.enabled=false")
