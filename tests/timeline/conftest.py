"""What the tests of the timeline share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.timeline.merging import Format, merge
from sightline.timeline.report import Report
from tests.perfetto import Engine, Trace


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as started:
        yield started


Merged = Callable[..., tuple[Trace, Report]]


@pytest.fixture
def merged(engine: Engine, tmp_path: Path) -> Merged:
    """Merges run directories, and loads the result; none of the engine's statistics may tell an error."""

    def merged(*run_dirs: Path, kind: Format = "json", **options: object) -> tuple[Trace, Report]:
        out = tmp_path / {"json": "out.json.gz", "pftrace": "out.pftrace", "tar": "out.tar"}[kind]
        report = merge(run_dirs, out, kind, **options)  # type: ignore[arg-type]
        trace = engine.load(out)
        assert trace.errors() == {}
        return trace, report

    return merged
