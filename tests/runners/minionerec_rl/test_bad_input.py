"""What cannot be used is one clear line, and nothing that is there is touched."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from runners.common.checkpoint import Checkpoints
from runners.minionerec_rl.__main__ import main
from tests.runners.inputs import change_metadata, contents, cut_in_half, file_settings, one_line
from tests.runners.jobs import Finished
from tests.runners.minionerec_rl.conftest import SMOKE, settings


@pytest.fixture
def run(one_process: Finished, tmp_path: Path) -> Path:
    """A copy of a finished run, to go on with."""
    shutil.copytree(one_process.dir, tmp_path / "out" / "run", symlinks=True)
    return tmp_path / "out" / "run"


@pytest.fixture
def policy(start: Path, tmp_path: Path) -> Path:
    """A copy of the run to begin with, to be spoilt."""
    shutil.copytree(start, tmp_path / "sft", symlinks=True)
    return tmp_path / "sft"


def said(capsys: pytest.CaptureFixture[str], output: Path, start: Path, *overrides: str) -> str:
    return one_line(capsys, main, SMOKE, [*settings(output, start), *overrides])


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train/shop.csv", None, r"train/shop.csv: cannot be read: No such file or directory"),
        ("train/shop.csv", (r"<c_\d+>\n", "<c_99>\n"), r"train/shop.csv:2: unknown SID"),
        ("valid/shop.csv", (r"\]\"", '"'), r"valid/shop.csv:2: history_item_sid: expected a list"),
        ("index/shop.index.json", (r", \"<c_\d+>\"", ""), r"shop.index.json:2: item '0': expected 3 SID"),
    ],
)
def test_a_bad_data_file_is_named_with_its_line_and_a_run_that_is_there_stays_as_it_is(
    file: str,
    change: tuple[str, str] | None,
    message: str,
    shop: Path,
    start: Path,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    path = tmp_path / "shop" / file
    if change is None:
        path.unlink()
    else:
        path.write_text(re.sub(*change, path.read_text()))
    before = contents(run)
    error = said(capsys, run.parent, start, "output.resume=must", *file_settings(tmp_path / "shop"))
    assert re.search(message, error), error
    assert contents(run) == before


def no_checkpoint(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def of_another_runner(run: Path) -> None:
    no_checkpoint(run)
    other = Checkpoints(run, keep=1)
    other.save(7, {"params": np.zeros(3)}, {"position": 0})
    other.close()


def of_another_shape(run: Path) -> None:
    """The metadata says one size, the arrays have another."""
    change_model(run, "width", 48)


def of_more_layers(run: Path) -> None:
    change_model(run, "layers", 2)


def of_half_its_arrays(run: Path) -> None:
    cut_in_half(run / "checkpoints/p00000/1/state/arrays.npz")


def of_half_its_metadata(run: Path) -> None:
    cut_in_half(run / "checkpoints/p00000/1/meta/metadata")


def change_model(run: Path, size: str, value: int) -> None:
    file = run / "checkpoints/p00000/1/meta/metadata"
    meta = json.loads(file.read_text())
    meta["model"][size] = value
    file.write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_checkpoint, r"sft: no checkpoints in it; expected .*sft/checkpoints/p00000/"),
        (
            of_another_runner,
            r"p00000/7: no model, vocabulary and catalogue .*expected a checkpoint of a recomm",
        ),
        (
            of_another_shape,
            r"p00000/1/state/arrays.npz: the checkpoint has shape .*32.* for .*needs shape .*48",
        ),
        (of_more_layers, r"p00000/1/state/arrays.npz: the checkpoint has nothing for .*blocks_1"),
        (of_half_its_arrays, r"p00000/1/state/arrays.npz: cannot be read, it may be damaged: "),
        (of_half_its_metadata, r"p00000/1/meta: cannot be read, it may be damaged: "),
    ],
)
def test_a_policy_that_cannot_be_begun_with_is_named_before_anything_is_written(
    spoil: Callable[[Path], None],
    message: str,
    policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(policy)
    before = contents(policy)
    error = said(capsys, tmp_path / "out", policy)
    assert re.search(message, error), error
    assert not (tmp_path / "out").exists()
    assert contents(policy) == before


def test_a_start_is_needed_and_a_step_that_is_not_there_is_named(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert "nowhere: no checkpoints in it" in said(capsys, out, tmp_path / "nowhere")
    assert "p00000/3: no such checkpoint" in said(capsys, out, start, "start.step=3")
    assert "start.run: expected the directory of a run" in said(capsys, out, start, "start.run=null")
    assert not out.exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.max_words=60"],
            r"vocabulary is not that of the data: word 60 is '.*' in the check.* and nothing",
        ),
        (
            ["data.codes=10"],
            r"p00000/1: its vocabulary is not that of the data: SID token \d+ is '.*' in the",
        ),
    ],
)
def test_another_vocabulary_is_named_by_its_first_difference(
    overrides: list[str], message: str, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = said(capsys, tmp_path / "out", start, *overrides)
    assert re.search(message, error), error
    assert not (tmp_path / "out").exists()


def test_the_same_tokens_for_other_items_are_another_catalogue(
    shop: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two items change places in the index and in every row: no token is new, and all is well-formed."""
    shutil.copytree(shop, tmp_path / "shop")
    index = json.loads((tmp_path / "shop/index/shop.index.json").read_text())
    one, other = "".join(index["3"]), "".join(index["4"])
    index["3"], index["4"] = index["4"], index["3"]
    (tmp_path / "shop/index/shop.index.json").write_text(json.dumps(index))
    for split in ("train", "valid", "test"):
        path = tmp_path / "shop" / split / "shop.csv"
        path.write_text(path.read_text().replace(one, "<both>").replace(other, one).replace("<both>", other))
    error = said(capsys, tmp_path / "out", start, *file_settings(tmp_path / "shop"))
    assert re.search(r"p00000/1: its semantic ids are not those of the data: .* 80 items, \w{12}, the", error)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_configuration_is_named_and_stays_as_it_is(
    start: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    error = said(capsys, run.parent, start, "output.resume=must", "data.max_words=60")
    assert re.search(r"run/checkpoints/p00000/4: its vocabulary is not that of the data", error), error
    without_reference = shutil.copytree(run, run.parent.parent / "other" / "run")
    arrays = next(without_reference.glob("checkpoints/p00000/4/state/arrays.npz"))
    kept = {name: x for name, x in np.load(arrays).items() if "reference" not in name}
    np.savez(arrays, **kept)
    error = said(capsys, without_reference.parent, start, "output.resume=must")
    assert re.search(r"arrays.npz: the checkpoint has nothing for \['reference'\]", error), error
    assert contents(run) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["grpo.seed=3", "grpo.prompts_per_step=4", "seed=1"],
            r"p00000/4: grpo.seed was 0 and is 3; grpo.prompts_per_step was 8 and is 4; seed was 0 and is 1",
        ),
        (
            ["data.train_users=39"],
            r"p00000/4: the training data was \d+ rows, \w{12} and is \d+ rows, \w{12}",
        ),
        (
            ["data.test_users=11"],
            r"p00000/4: the test data was 12 rows, \w{12} and is 11 rows, \w{12}: other",
        ),
    ],
)
def test_a_run_goes_on_with_the_rows_that_it_began_with_or_not_at_all(
    settings: list[str], message: str, start: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Test users too: those of before are compared with those of the end, one by one."""
    before = contents(run)
    error = said(capsys, run.parent, start, "output.resume=must", *settings)
    assert re.search(message, error), error
    assert contents(run) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": None}, r"p00000/4/meta: position: expected a count, found null"),
        ({"before": ["a"]}, r'p00000/4/meta: before: expected a list of whole numbers .*, found \["a"\]'),
        ({"model": {"width": 32}}, r"p00000/4/meta: model.layers: there is none"),
    ],
)
def test_metadata_that_is_json_and_not_a_runs_is_named(
    changes: dict[str, object], message: str, start: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_metadata(run / "checkpoints/p00000/4", changes)
    error = said(capsys, run.parent, start, "output.resume=must")
    assert re.search(message, error), error


def test_the_same_data_from_files_is_what_the_policy_was_trained_with(
    shop: Path, start: Path, tmp_path: Path
) -> None:
    from runners.common.config import load
    from runners.minionerec_rl.config import Config
    from runners.minionerec_rl.train import train

    overrides = [*settings(tmp_path, start), *file_settings(shop), "output.sinks=[]", "grpo.steps=0"]
    outcome = train(load(Config, SMOKE, [*overrides, "eval.full=false", "checkpoint.enabled=false"]))
    assert outcome.step == 0
    assert jax.tree.leaves(outcome.params)
