"""Settings and fixtures for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import sightline as sl
from sightline import full_disks, sampling
from sightline.session_tracer import SESSIONS
from tests.session_recorder import Recorder

os.environ.setdefault("JAX_PLATFORMS", "cpu")

# How long an example takes on a busy machine says nothing about the code.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")

_LONGEST = ("runners", "sinks", "multiprocess", "compat", "examples", "jax")  # begun first


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``-n``, what shares expensive fixtures goes to one worker, and what takes longest goes first."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    root = Path(__file__).parent

    def group(item: pytest.Item) -> str:
        folder = item.path.relative_to(root).parent
        shares = folder.parts[:1] in (("runners",), ("compat",), ("examples",), ("timeline",))
        return str(folder if shares and folder.name != "runners" else item.path.relative_to(root))

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    order = {name: i for i, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.relative_to(root).parts[0], len(order)))


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A test that leaves a run, a sampler or a session open makes others fail; it is the one to be blamed."""
    full_disks.forget()
    yield
    left = [f"a sampler: {each.sampler!r}" for each in sampling._asked]
    left += [f"a session: {each!r}" for each in SESSIONS.open_sessions()]
    sampling._asked.clear()
    SESSIONS.turn(SESSIONS.enabled)
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
