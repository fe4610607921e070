"""Which files are checked."""

import os
from pathlib import Path

import pytest

from sightline.lint.files import python_files


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with what projects have, as the working directory."""
    for name in (
        "b.py", "a.py", "notes.txt", "book.ipynb", "stub.pyi", "pkg/z.py", "pkg/a/deep.py", ".git/hook.py",
        ".venv/lib/site.py", ".venv-3.12/lib/site.py", "build/lib/a.py", "node_modules/x/y.py", "dist/a.py",
        "pkg/__pycache__/z.py", "venv/lib/x.py", "x.egg-info/y.py", ".mypy_cache/z.py", "vendor/lib/v.py",
        "gen/types_pb2.py", ".github/check.py",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_directory_is_walked_in_sorted_order_without_what_others_wrote(tree: Path) -> None:
    """Python files alone; neither environments nor builds nor caches."""
    assert list(python_files(["."])) == [
        "a.py", "b.py", ".github/check.py", "gen/types_pb2.py", "pkg/z.py", "pkg/a/deep.py",
        "vendor/lib/v.py",
    ]  # fmt: skip


def test_globs_leave_out_names_and_paths(tree: Path) -> None:
    """Of files and of directories, found or named."""
    found = list(python_files([".", "b.py"], ["*_pb2.py", "vendor/", "pkg/a/*", "./b.py", ".github"]))
    assert found == ["a.py", "pkg/z.py"]


def test_a_file_that_is_named_is_checked_whatever_it_is_called(tree: Path) -> None:
    """Each once, however often it is named."""
    named = ["build/lib/a.py", "notes.txt", "./b.py", "b.py", "pkg/../b.py"]
    assert list(python_files(named)) == ["build/lib/a.py", "notes.txt", "b.py"]
    assert list(python_files(["pkg", "pkg/z.py", "."]))[:3] == ["pkg/z.py", "pkg/a/deep.py", "a.py"]
    assert list(python_files(["build"])) == ["build/lib/a.py"]


def test_links_make_no_loops(tree: Path) -> None:
    """Links to directories are not followed, links to files are read once, dangling ones passed over."""
    (tree / "pkg" / "loop").symlink_to(tree)
    (tree / "pkg" / "self").symlink_to("self")
    (tree / "pkg" / "dangling.py").symlink_to("nowhere.py")
    (tree / "pkg" / "again.py").symlink_to("z.py")
    (tree / "top").symlink_to("pkg")
    assert list(python_files(["pkg"])) == ["pkg/again.py", "pkg/a/deep.py"]
    assert list(python_files(["top"])) == ["top/again.py", "top/a/deep.py"]


def test_what_is_no_file_is_passed_over(tree: Path) -> None:
    """A pipe named like a module would never end."""
    os.mkfifo(tree / "pkg" / "pipe.py")
    (tree / "pkg" / "folder.py").mkdir()
    assert list(python_files(["pkg"])) == ["pkg/z.py", "pkg/a/deep.py"]
