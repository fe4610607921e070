"""Runs that several tests look at are made once: the smoke config on one process, on two, and on four."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.common.config import load
from runners.sid_sft.config import Config
from tests.runners import jobs
from tests.runners.jobs import ROOT, Finished
from tests.runners.sid_sft.old_style import train_and_compute

SMOKE = ROOT / "runners" / "sid_sft" / "configs" / "smoke.yaml"


def smoke_config(output: Path, *overrides: str) -> Config:
    """The smoke config, silent, into `output`/run."""
    return load(Config, SMOKE, [f"output.dir={output}", "output.name=run", "output.sinks=[]", *overrides])


@pytest.fixture(scope="session")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    output = tmp_path_factory.mktemp("sft_one")
    _, computed = train_and_compute(smoke_config(output))
    return Finished(output / "run", computed, [], [output])


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return launch([tmp_path_factory.mktemp(f"sft_two_p{i}") for i in range(2)])


@pytest.fixture(scope="session")
def four_processes(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    outputs = [tmp_path_factory.mktemp(f"sft_four_p{i}") for i in range(4)]
    return launch(outputs, "checkpoint.enabled=false")


def launch(outputs: list[Path], *overrides: str) -> Finished:
    """The smoke config as one job of real processes, each with an output directory of its own."""
    return jobs.launch("sid_sft", outputs, *overrides)
