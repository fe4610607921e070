"""Every example runs: those of docstrings, and the Python of README and docs."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
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
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """Its blocks one after another, as a reader would type them."""
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


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
