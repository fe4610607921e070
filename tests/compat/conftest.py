"""Runs of the small checkout, before and after it adopts sightline's files; each is made once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Launch = Callable[..., str]


def sightline(*arguments: str, cwd: Path | None = None, expected: int = 0) -> str:
    """The command as typed; returns what it printed."""
    command = [sys.executable, "-m", "sightline.cli", *arguments]
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in the code base's style that has adopted."""
    path = tmp_path_factory.mktemp("mllm_jax") / "checkout"
    shutil.copytree(HERE / "checkout", path, ignore=shutil.ignore_patterns("__pycache__"))
    sightline("adopt", "mllm-jax", str(path))
    return path


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same checkout as it was."""
    path = tmp_path_factory.mktemp("mllm_jax_before") / "checkout"
    shutil.copytree(HERE / "checkout", path, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE / "before", path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return path
