"""Every example runs, of docstrings and of the Python of README and docs; what pages quote is there."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
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
DIFFERENCE = re.compile(r"^( *)```diff\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


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


def differences(page: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each hunk of a page's ```diff blocks: of which files, and its lines in the old one and in the new one.

    A block of files begins as `diff -u` does, with `--- FILE` (or /dev/null) and `+++ FILE`, and each hunk
    with `@@`. Any other shows a few lines of nobody's.
    """
    for indent, block in DIFFERENCE.findall(page.read_text(encoding="utf-8")):
        lines = [line.removeprefix(indent) for line in block.splitlines()]
        if not lines[0].startswith("--- "):
            continue
        assert [line[:4] for line in lines[:3]] == ["--- ", "+++ ", "@@"], block
        for hunk in "\n".join(lines[3:]).split("\n@@\n"):
            marked = [(line[:1] or " ", line[1:]) for line in hunk.split("\n")]
            assert {mark for mark, _ in marked} <= set(" +-"), hunk
            old, new = ([line for mark, line in marked if mark in marks] for marks in (" -", " +"))
            yield f"{lines[0]} {lines[1]}", old, new


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_differences_of_a_page_are_between_files_as_they_are(page: Path) -> None:
    """Each hunk stands, line by line, in the file that it is said to be of, before and after."""
    for files, *sides in differences(page):
        names = re.fullmatch(r"--- (\S+) \+\+\+ (\S+)", files)
        assert names is not None, files
        for name, lines in zip(names.groups(), sides, strict=True):
            text = "" if name == "/dev/null" else (ROOT / name).read_text(encoding="utf-8")
            assert not lines or "\n".join(["", *lines, ""]) in f"\n{text}", (name, lines)


def test_there_are_differences() -> None:
    """A finder that finds nothing would pass."""
    found = list(differences(ROOT / "docs" / "migrating.md"))
    assert len({files for files, _, _ in found}) == 8
    assert sum(len(old) + len(new) for _, old, new in found) > 100


def test_there_are_examples() -> None:
    """A finder that finds nothing would pass."""
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in (
            "sightline.tracking.stats_tracker",
            "sightline.values.snapshot",
            "sightline.values.aggregates",
        )
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) > 8
