"""`sightline adopt mllm-jax` as typed: what it writes, what it refuses, and that it is all or nothing."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.compat.mllm_jax.checkout import FILES
from tests.compat.conftest import sightline


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    path = tmp_path / "MLLM JAX"
    (path / "plugins" / "training").mkdir(parents=True)
    (path / "plugins" / "__init__.py").touch()
    (path / "scripts").mkdir()
    (path / "scripts" / "run_training.py").write_text(
        "from plugins.common.wandb_utils import maybe_init_wandb\n"
    )
    return path


def tree(path: Path) -> dict[str, str]:
    return {str(p.relative_to(path)): p.read_text() for p in sorted(path.rglob("*")) if p.is_file()}


def test_the_files_are_written_and_the_next_command_is_named(checkout: Path) -> None:
    """New files only; a second time there is nothing to do."""
    before = tree(checkout)
    said = sightline("adopt", "mllm-jax", str(checkout))
    assert tree(checkout) == before | FILES
    assert sorted(FILES) == [
        "plugins/common/observability/__init__.py", "plugins/common/observability/perf_tracer.py",
        "plugins/common/observability/stats_logger.py", "plugins/common/observability/stats_tracker.py",
        "plugins/common/observability/text_logging.py", "plugins/common/wandb_utils.py",
    ]  # fmt: skip
    assert "Wrote 6 files." in said
    assert said.endswith(
        f"next: cd '{checkout}' && python scripts/run_training.py --config FILE\n"
        f"      sightline ls '{checkout}/runs'  # once it runs: what its runs have logged\n"
    )
    again = sightline("adopt", "mllm-jax", str(checkout))
    assert "Wrote 0 files." in again
    assert again.count("(there already)") == 6


def test_what_is_there_is_listed_and_left_alone(checkout: Path) -> None:
    """Nothing is written at all then; with --replace, it is overwritten."""
    (checkout / "plugins" / "common").mkdir()
    (checkout / "plugins" / "common" / "wandb_utils.py").write_text("mine = True\n")
    before = tree(checkout)
    said = sightline("adopt", "mllm-jax", str(checkout), expected=2)
    assert tree(checkout) == before
    assert said == (
        "sightline adopt mllm-jax: nothing was written: plugins/common/wandb_utils.py is there, and holds "
        f"something else: look at that, then sightline adopt mllm-jax '{checkout}' --replace\n"
    )
    said = sightline("adopt", "mllm-jax", str(checkout), "--replace")
    assert tree(checkout) == before | FILES
    assert "plugins/common/wandb_utils.py  (exists, and is replaced)" in said


def test_a_dry_run_writes_nothing_and_says_what_would_be(checkout: Path) -> None:
    before = tree(checkout)
    said = sightline("adopt", "mllm-jax", str(checkout), "--dry-run")
    assert tree(checkout) == before
    assert said.count("(new)") == 6
    assert said.endswith(f"Nothing was written.\nnext: sightline adopt mllm-jax '{checkout}'\n")


def test_a_folder_in_the_way_leaves_the_checkout_as_it_was(checkout: Path) -> None:
    """Also with --replace: no half of the files, and no leftovers."""
    (checkout / "plugins" / "common" / "wandb_utils.py").mkdir(parents=True)
    before = tree(checkout)
    said = sightline("adopt", "mllm-jax", str(checkout), "--replace", expected=2)
    assert "wandb_utils.py is a folder; expected a file or nothing" in said
    assert tree(checkout) == before


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    said = sightline("adopt", "mllm-jax", str(tmp_path), expected=2)
    assert f"{tmp_path} is no checkout of MLLM-JAX: expected the folder" in said
    assert sightline("adopt", "mllm-jax", str(tmp_path / "none"), expected=2)


def test_lines_that_go_past_the_journal_are_named(checkout: Path) -> None:
    """Whoever imports the package itself logs to W&B as before."""
    (checkout / "plugins" / "training" / "own.py").write_text(
        "def f():\n    import wandb\n    wandb.init()\n"
    )
    (checkout / "plugins" / "training" / "fine.py").write_text(
        "import wandbish\nfrom plugins.common import wandb_utils\nimportant = '''\nimport wandb\n'''\n"
    )
    (checkout / "plugins" / "training" / "more.py").write_text(
        "import os, wandb\nimport  wandb.errors\nfrom wandb import Table, Image\n"
    )
    (checkout / "plugins" / "training" / "torn.py").write_text("import wandb\ndef f(:\n")
    (checkout / "MLLM_JAX" / "utils").mkdir(parents=True)
    (checkout / "MLLM_JAX" / "utils" / "deep.py").write_text("import wandb\n")
    (checkout / "train.py").write_text("\nimport wandb\n")
    (checkout / "plugins" / "training" / "relative.py").write_text("from .wandb import run\n")
    past = "".join(
        f"  {name}\n"
        for name in (
            *("train.py:2", "plugins/training/more.py:1", "plugins/training/more.py:2"),
            *("plugins/training/more.py:3", "plugins/training/own.py:2", "MLLM_JAX/utils/deep.py:1"),
        )
    )
    assert f"past the journal:\n{past}" in sightline("adopt", "mllm-jax", str(checkout), "--dry-run")
    assert f"past the journal:\n{past}Nothing is uploaded" in sightline("adopt", "mllm-jax", str(checkout))


def test_it_is_said_that_nothing_is_uploaded_and_what_does_it(checkout: Path) -> None:
    """Whoever had a page at W&B will look for it."""
    said = sightline("adopt", "mllm-jax", str(checkout))
    assert "Nothing is uploaded, online or offline: what a run logs stays in runs/<project>/<name>.\n" in said
    assert "It goes to W&B with  sightline sync RUN_DIR --to wandb\n" in said
    assert "sightline sync RUN_DIR --to wandb" in sightline("adopt", "mllm-jax", "--help").replace("\n ", "")


@pytest.mark.parametrize("odd", ["folder", "dangling link", "pipe", "unreadable", "nested deeply"])
def test_what_cannot_be_read_is_passed_over(checkout: Path, odd: str) -> None:
    """All is written then, as the exit code says."""
    path = checkout / "plugins" / "training" / "x.py"
    if odd == "folder":
        path.mkdir()
    elif odd == "dangling link":
        path.symlink_to("nowhere.py")
    elif odd == "pipe":
        os.mkfifo(path)
    elif odd == "unreadable":
        path.write_text("import wandb\n")
        path.chmod(0)
    else:
        path.write_text("x = " + "-" * 100_000 + "1\n")
    said = sightline("adopt", "mllm-jax", str(checkout))
    assert "Wrote 6 files." in said
    assert "next: cd" in said


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ("from ..common.wandb_utils import maybe_init_wandb", True),
        ("from ..common import wandb_utils", True),
        ("from .common.wandb_utils import maybe_init_wandb", False),
        ("from ....common.wandb_utils import maybe_init_wandb", False),
    ],
)
def test_relative_imports_are_imports(checkout: Path, line: str, used: bool) -> None:
    (checkout / "scripts" / "run_training.py").unlink()
    (checkout / "plugins" / "training" / "grpo.py").write_text(f"{line}\n")
    said = sightline("adopt", "mllm-jax", str(checkout), "--dry-run")
    assert ("No file of the checkout imports these" in said) is not used


def test_a_checkout_that_does_not_import_the_files_is_told_so(checkout: Path) -> None:
    """Rather than where its journal would be, which it has none."""
    (checkout / "scripts" / "run_training.py").write_text("from plugins.sft.wandb_utils import helper\n")
    said = sightline("adopt", "mllm-jax", str(checkout))
    assert "No file of the checkout imports these: what it logs reaches no journal until one does" in said
    assert f"next: sightline lint '{checkout}'" in said


def test_the_written_files_give_what_they_say(checkout: Path) -> None:
    """Each of them is imported as the code base would."""
    sightline("adopt", "mllm-jax", str(checkout))
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in FILES]
    code = f"import importlib\nfor name in {modules!r}:\n"
    code += "    module = importlib.import_module(name)\n"
    code += "    assert all(hasattr(module, each) for each in module.__all__), name\n"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    ours = importlib.import_module("sightline.compat.mllm_jax").__all__
    assert {"maybe_init_wandb", "StatsLogger", "StatsTracker", "WandbRunSpec"} <= set(ours)
