"""Runs that several tests look at are made once: a policy to begin with, and the smoke config on 1, 2, 4."""

from __future__ import annotations

from pathlib import Path

import pytest

import runners.sid_sft.config
import runners.sid_sft.train
from runners.common.config import load
from runners.minionerec_rl.config import Config
from tests.runners import jobs
from tests.runners.jobs import ROOT, Finished
from tests.runners.minionerec_rl.old_style import train_and_compute

SMOKE = ROOT / "runners" / "minionerec_rl" / "configs" / "smoke.yaml"
SFT_SMOKE = ROOT / "runners" / "sid_sft" / "configs" / "smoke.yaml"


def smoke_config(output: Path, start: Path, *overrides: str) -> Config:
    """The smoke config, silent, from the policy of the run `start` into `output`/run."""
    return load(Config, SMOKE, ["output.sinks=[]", *settings(output, start), *overrides])


def settings(output: Path, start: Path) -> list[str]:
    return [f"output.dir={output}", "output.name=run", f"start.run={start}"]


def launch(outputs: list[Path], start: Path, *overrides: str) -> Finished:
    """The smoke config as one job of real processes, each with an output directory of its own."""
    return jobs.launch("minionerec_rl", outputs, f"start.run={start}", *overrides)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the fine-tuning that comes before: one step, which is a checkpoint."""
    output = tmp_path_factory.mktemp("sft")
    overrides = [f"output.dir={output}", "output.name=run", "output.sinks=[]"]
    quick = ["sft.steps=1", "eval.every=0", "eval.full=false"]
    runners.sid_sft.train.train(load(runners.sid_sft.config.Config, SFT_SMOKE, [*overrides, *quick]))
    return output / "run"


@pytest.fixture(scope="session")
def one_process(tmp_path_factory: pytest.TempPathFactory, start: Path) -> Finished:
    output = tmp_path_factory.mktemp("one")
    _, computed = train_and_compute(smoke_config(output, start))
    return Finished(output / "run", computed, [], [output])


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory, start: Path) -> Finished:
    return launch([tmp_path_factory.mktemp(f"two_p{i}") for i in range(2)], start)


@pytest.fixture(scope="session")
def four_processes(tmp_path_factory: pytest.TempPathFactory, start: Path) -> Finished:
    """Fewer steps, and drawn candidates: each process compiles everything, on the same two cores."""
    outputs = [tmp_path_factory.mktemp(f"four_p{i}") for i in range(4)]
    overrides = ("grpo.steps=2", "grpo.grad_accumulation=1", "checkpoint.enabled=false")
    return launch(outputs, start, "grpo.candidates=sample", *overrides)
