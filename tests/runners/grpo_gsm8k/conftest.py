"""Runs that several tests look at are made once: the smoke config on one process, and on two."""

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
    return jobs.launch("tests.runners.grpo_gsm8k.old_style", config, outputs, *overrides, timeout=timeout)
