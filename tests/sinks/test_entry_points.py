"""A sink that another package brings is named like one of ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "lines-sink"
version = "1.0"

[project.entry-points."sightline.sinks"]
lines = "lines_sink:LinesSink"
broken = "lines_sink:Nothing"
"""

# What docs/sinks.md shows.
DOCUMENT = Path(__file__).parents[2] / "docs" / "sinks.md"

RUN = """
import sightline as sl
with sl.start("runs", sinks=["lines"], naming="off") as run:
    for step in run.steps(3):
        run.commit(step, {"train/loss": step / 2} if step != 1 else {"eval/loss": 0.4})
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, installed as any other."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    shown = re.search(r"^class LinesSink:\n.*?(?=^with )", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert shown is not None
    (folder / "lines_sink.py").write_text(shown[0])
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--target", str(target), str(folder)]
    subprocess.run(command, check=True)
    return target


def run_python(code: str, cwd: Path, site: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_an_installed_sink_gets_every_commit(installed: Path, tmp_path: Path) -> None:
    done = run_python(RUN, tmp_path, installed)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lines.txt").read_text() == "0 0.0\n1 None\n2 1.0\n"


def test_one_that_cannot_be_loaded_is_an_error_at_start_up(installed: Path, tmp_path: Path) -> None:
    done = run_python(RUN.replace("lines", "broken"), tmp_path, installed)
    assert done.returncode == 1
    assert "sink 'broken' (lines_sink:Nothing) cannot be loaded" in done.stderr


def test_an_unknown_name_is_answered_with_those_that_there_are(installed: Path, tmp_path: Path) -> None:
    code = RUN.replace('["lines"]', '["line"]')
    error = run_python(code, tmp_path, installed).stderr.splitlines()[-1]
    assert "unknown sink 'line'; expected one of broken, console" in error
    assert "lines" in error
    with pytest.raises(sl.ConfigurationError, match="unknown sink 'nowhere'"):
        sl.start(tmp_path, sinks=["nowhere"])
