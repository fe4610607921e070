"""What the multi-process tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Workers, workers_of


@pytest.fixture
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    """Starts the functions of the test file's module of workers as processes: ``workers/faults.py`` for
    ``test_faults.py``. What a failing test leaves behind ends with it."""
    file = Path(__file__).parent / "workers" / request.path.name.removeprefix("test_")
    with workers_of(str(file), tmp_path) as started:
        yield started
