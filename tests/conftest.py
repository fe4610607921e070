"""Settings and fixtures for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import sightline as sl
from sightline.files import full_disks
from sightline.recording import sampling
from sightline.tracing.perf_tracer import TRACER
from sightline.tracing.session_tracer import SESSIONS
from tests.session_recorder import Recorder

os.environ.setdefault("JAX_PLATFORMS", "cpu")

# How long an example takes on a busy machine says nothing about the code.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")

_LONGEST = ("runners", "sinks", "multiprocess", "compat", "examples", "jax")  # begun first
_SHARING = ("runners", "compat", "examples", "timeline")  # their files have expensive fixtures in common


def _group(test: str) -> str:
    """What must be on one worker with a test, since it shares expensive fixtures: its file, or its folder."""
    file = test.partition("::")[0]
    folder, _, _ = file.rpartition("/")
    return folder if folder.split("/")[1:2] and folder.split("/")[1] in _SHARING else file


@pytest.hookimpl(optionalhook=True)  # without xdist there is none
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # A scheduler of our own, since marks for groups have no effect with xdist 3.8 under pytest 9.2.
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByFixtures(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``-n`` what takes longest goes first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        order = {name: i for i, name in enumerate(_LONGEST)}
        root = Path(__file__).parent
        items.sort(key=lambda item: order.get(item.path.relative_to(root).parts[0], len(order)))


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A test that leaves a run, a sampler or a session open makes others fail; it is the one to be blamed."""
    full_disks.forget()
    yield
    left = [f"a sampler: {each.sampler!r}" for each in sampling._asked]
    left += [f"a session: {each!r}" for each in SESSIONS._open_sessions()]
    sampling._asked.clear()
    SESSIONS._turn(SESSIONS.enabled)
    TRACER._before.clear()  # what it keeps for the next run, which is another test's
    assert not left


@pytest.fixture
def tracker() -> sl.StatsTracker:
    return sl.StatsTracker()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path)
    yield made
    assert made.writer.close()
    assert made.files.close()
