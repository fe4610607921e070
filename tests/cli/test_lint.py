"""`sightline lint` as typed."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
HAND_LOGGED = """\
import time

import wandb

from lib import train_step

for step, batch in enumerate(loader):
    t0 = time.perf_counter()
    state, metrics = train_step(state, batch)
    loss = float(metrics["loss"])
    wandb.log({"train/loss": loss, "time/step_s": time.perf_counter() - t0}, step=step)
"""


def lint(*arguments: Any, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-m", "sightline.cli", "lint", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One file by hand, one clean, one broken."""
    (tmp_path / "train.py").write_text(HAND_LOGGED)
    (tmp_path / "clean.py").write_text("import sightline as sl\n\nsl.scalar('train/loss', 0.5)\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "broken.py").write_text("def f(:\n")
    return tmp_path


def test_findings_are_printed_with_place_reason_and_call(project: Path) -> None:
    """Exit code 1, and the next useful thing at the end."""
    done = lint("train.py", "clean.py", cwd=project)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "next: sightline lint train.py clean.py  # again, when that is mended; docs/"
    )
    lines = done.stdout.splitlines()
    places = [line.split(" ")[:2] for line in lines if line.startswith("train.py")]
    assert places == [["train.py:10:12:", "SL103"], ["train.py:11:5:", "SL101"], ["train.py:11:51:", "SL104"]]
    assert 'sl.scalar("train/loss", loss)' in done.stdout
    assert "run.commit(step)" in done.stdout
    assert lines[-1] == "2 files checked, 3 findings in 1 file."


def test_a_clean_file_exits_with_0(project: Path) -> None:
    """And says that it was looked at."""
    done = lint("clean.py", cwd=project)
    assert (done.returncode, done.stdout) == (0, "1 file checked, nothing found.\n")
    assert done.stderr.startswith("next: sightline doctor  #")


def test_a_file_that_does_not_parse_is_one_line_and_the_others_are_checked(project: Path) -> None:
    """Exit code 2."""
    done = lint(".", cwd=project)
    assert done.returncode == 2
    (error,) = [line for line in done.stdout.splitlines() if "error" in line]
    assert error.startswith("sub/broken.py:1: error: is no Python")
    assert "train.py:11:5: SL101" in done.stdout


def test_json_is_all_of_stdout(project: Path) -> None:
    """For programs, with --json and with --format json."""
    done = lint("--json", ".", cwd=project)
    report = json.loads(done.stdout)
    assert done.returncode == 2
    assert [each["code"] for each in report["findings"]] == ["SL103", "SL101", "SL104"]
    assert [each["path"] for each in report["failures"]] == ["sub/broken.py"]
    assert report["files"] == 2
    assert lint("--format", "json", ".", cwd=project).stdout == done.stdout


def test_github_gets_annotations(project: Path) -> None:
    """With paths relative to the checkout, also where they were given whole."""
    for path in (".", project):
        done = lint("--format", "github", path, cwd=project)
        assert done.returncode == 2
        lines = done.stdout.splitlines()
        assert [line.partition(",title")[0] for line in lines] == [
            "::error file=train.py,line=10,col=12",
            "::error file=train.py,line=11,col=5",
            "::error file=train.py,line=11,col=51",
            "::error file=sub/broken.py,line=1",
        ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--select", "SL101"], ["SL101"]),
        (["--select", "SL103,SL104"], ["SL103", "SL104"]),
        (["--select", "SL1", "--ignore", "hand-made-timing"], ["SL103", "SL101"]),
        (["--ignore", "SL101", "--ignore", "SL103"], ["SL104"]),
        (["--ignore", "SL"], []),
    ],
)
def test_rules_are_chosen_by_code_beginning_and_name(
    project: Path, options: list[str], expected: list[str]
) -> None:
    """And a choice that leaves nothing exits with 0."""
    done = lint("--json", *options, "train.py", cwd=project)
    assert [each["code"] for each in json.loads(done.stdout)["findings"]] == expected
    assert done.returncode == bool(expected)


def test_a_choice_of_rules_makes_no_allow_unused(tmp_path: Path) -> None:
    """What an allow permits counts, whether it is looked for or not."""
    (tmp_path / "a.py").write_text("import wandb\nwandb.log({})  # sightline: allow the sweep\n")
    done = lint("--select", "SL103,SL002", "a.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1 file checked, nothing found.\n")


def test_globs_are_left_out(project: Path) -> None:
    """Files and directories, by name and by path."""
    done = lint(".", "--exclude", "sub", "--exclude", "tr*.py", cwd=project)
    assert (done.returncode, done.stdout) == (0, "1 file checked, nothing found.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'PATH…'"),
        (["nowhere.py"], "'nowhere.py' does not exist"),
        (["--select", "SL999", "clean.py"], "'SL999' is no rule; there are SL001 (allow-without-reason)"),
        (["--format", "xml", "clean.py"], "'xml' is not one of"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_was_expected(
    project: Path, arguments: list[str], said: str
) -> None:
    """On stderr, with nothing on stdout."""
    done = lint(*arguments, cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_our_runners_are_clean() -> None:
    """What CI asks of them."""
    done = lint("runners")
    assert done.returncode == 0, done.stdout


def test_nothing_heavy_is_imported(project: Path) -> None:
    """Neither what the code imports nor an SDK: it is read, not run."""
    code = textwrap.dedent(
        """
        import sys
        from sightline.lint import check_paths
        assert len(check_paths(["."]).findings) == 3
        heavy = {"jax", "torch", "wandb", "rich", "tensorflow", "lib", "yaml"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_hook_for_pre_commit_names_the_command() -> None:
    """Under the id that users put into their configuration."""
    yaml = pytest.importorskip("yaml")
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (hook["id"], hook["entry"], hook["language"]) == ("sightline-lint", "sightline lint", "python")


def test_a_directory_without_python_is_no_success(tmp_path: Path) -> None:
    """Most likely its name is wrong, and a check that looks at nothing would pass for ever."""
    done = lint(tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}: error: no Python files are in it to be checked" in done.stdout


def test_a_fault_of_the_lint_itself_leaves_the_other_files_checked(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named, and the check fails."""
    from sightline.lint import check_paths, checking

    def torn(source: Any) -> Any:
        if source.path.endswith("clean.py"):
            raise IndexError("list index out of range")
        return check(source)

    check = checking.check
    monkeypatch.setattr(checking, "check", torn)
    report = check_paths([str(project / "clean.py"), str(project / "train.py")])
    assert [failure.message for failure in report.failures] == [
        "cannot be checked: IndexError: list index out of range"
    ]
    assert (len(report.findings), report.exit_code) == (3, 2)
