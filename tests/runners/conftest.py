"""What the tests of all runners share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from runners.recommendation import files, synthetic
from tests.runners.inputs import SIZES

pytest.register_assert_rewrite("tests.runners.grpo_metrics")

_CACHE = {"jax_compilation_cache_dir": "", "jax_persistent_cache_min_compile_time_secs": 0.1}
# A program of a smoke config runs for milliseconds, and to compile it well takes a second.
_ROUGHLY = "jax_disable_most_optimizations"


@pytest.fixture(scope="session", autouse=True)
def quick_compilation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same small programs are compiled once and roughly, not once a run; by processes of jobs, too."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # one for all workers
        folder = folder.parent
    settings = _CACHE | {"jax_compilation_cache_dir": str(folder / "jax_cache")}
    before = {name: getattr(jax.config, name) for name in settings} | {_ROUGHLY: jax.config.read(_ROUGHLY)}
    settings[_ROUGHLY] = True
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the recommendation runners' smoke configs, as files."""
    directory = tmp_path_factory.mktemp("shop")
    files.write(directory, "shop", synthetic.generate(**SIZES, seed=0))
    return directory
