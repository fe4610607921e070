"""What is installed: the table is that of pyproject.toml, and what is broken is found without harm."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from sightline.doctor import installation
from sightline.doctor.installation import PACKAGES, Package, jax_check, packages_check, release

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_the_table_is_what_the_project_asks_for() -> None:
    """Each needed package and each extra, with the same oldest version."""
    extras = PROJECT["optional-dependencies"]
    asked = {("", each) for each in PROJECT["dependencies"]}
    asked |= {(p.extra, each) for p in PACKAGES if p.extra for each in extras[p.extra]}
    assert {(p.extra, f"{p.name}>={p.least}") for p in PACKAGES} == asked
    assert ".".join(map(str, installation.OLDEST_PYTHON)) in PROJECT["requires-python"]
    others = set(extras) - {p.extra for p in PACKAGES}
    assert others == {"all", "runners", "dev"}


def made(folder: Path, name: str, version: str, source: str) -> None:
    """A package that is installed, as far as anybody can tell."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_what_is_old_broken_or_missing_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that ends the interpreter, or hangs, when it is imported does so apart."""
    made(tmp_path, "sl_old", "1.9.3", "")
    made(tmp_path, "sl_broken", "2.1", "import sl_nowhere\n")
    made(tmp_path, "sl_ends", "2.1", "import os; os.abort()\n")
    made(tmp_path, "sl_hangs", "2.1", "import time; time.sleep(60)\n")
    made(tmp_path, "sl_fine", "2.1", "print('hello')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), path))))
    names = ("sl_old", "sl_broken", "sl_ends", "sl_hangs", "sl_fine", "sl_nowhere")
    monkeypatch.setattr(installation, "PACKAGES", [Package(name, name, "2", "a sink", "x") for name in names])
    found = {each.check: each for each in packages_check(5.0)}
    levels = {name: each.level for name, each in found.items()}
    assert levels == dict.fromkeys(names, "wrong") | {"sl_fine": "ok", "sl_nowhere": "skipped"}
    assert "1.9.3 is too old: expected 2 or newer" in found["sl_old"].what
    assert "No module named 'sl_nowhere'" in found["sl_broken"].what
    assert "did not end in time" in found["sl_hangs"].what
    assert "pip install --upgrade 'sightline[x]'" in found["sl_old"].fix


@pytest.mark.parametrize(
    ("version", "numbers"), [("0.10.2.dev1+g1", (0, 10, 2)), ("2", (2,)), ("2.0.0", (2,)), ("dev", ())]
)
def test_versions_are_compared_by_their_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert release(version) == numbers


def test_the_store_of_this_jax_works_and_nothing_is_started() -> None:
    (found,) = jax_check(120.0)
    assert found.level == "ok", found
    assert metadata.version("jax") in found.what


def test_a_jax_that_keeps_its_client_elsewhere_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of JAX, as far as sightline's private import can tell."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'sightline.transports.jax_store':\n"
        "            from jax._src import distributed\n"
        "            del distributed.global_state\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), path))))
    (found,) = jax_check(120.0)
    assert found.level == "wrong"
    assert "cannot be used" in found.what
    assert re.search("process_allgather", found.fix)


def test_python_itself_is_told() -> None:
    (found,) = installation.python_check()
    assert found.level == "ok"
    assert found.data["executable"] == sys.executable
