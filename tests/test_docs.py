"""Every example runs: those of docstrings, and the Python of README and docs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import sightline

ROOT = Path(__file__).parent.parent
MODULES = [
    info.name
    for info in pkgutil.walk_packages(sightline.__path__, "sightline.")
    if not info.name.endswith(".__main__")
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["sightline", *MODULES])
def test_the_examples_of_a_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And print what they say."""
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(module)
    assert results.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks one after another, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(block, str(page), "exec"), names)


def test_there_are_examples() -> None:
    """A finder that finds nothing would pass."""
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in ("sightline.stats_tracker", "sightline.snapshot", "sightline.aggregates")
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) > 8
