"""What cannot be used is one clear line, and nothing that is there is touched."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runners.common.errors import CheckpointError
from runners.recommendation import synthetic
from runners.recommendation.policy import load_policy
from runners.recommendation.tasks import make_tokenizer
from runners.sid_sft.__main__ import main
from tests.runners.inputs import SIZES, change_metadata, contents, cut_in_half, file_settings, one_line
from tests.runners.jobs import ROOT, Finished
from tests.runners.sid_sft.conftest import SMOKE


@pytest.fixture
def run(one_process: Finished, tmp_path: Path) -> Path:
    """A copy of a finished run, to go on with."""
    shutil.copytree(one_process.dir, tmp_path / "out" / "run", symlinks=True)
    return tmp_path / "out" / "run"


def said(capsys: pytest.CaptureFixture[str], output: Path, *settings: str) -> str:
    return one_line(capsys, main, SMOKE, [f"output.dir={output}", "output.name=run", *settings])


def assert_refused(run: Path, capsys: pytest.CaptureFixture[str], message: str, *settings: str) -> None:
    """Going on with the run is refused with this pattern, and leaves it as it is."""
    before = contents(run)
    error = said(capsys, run.parent, "output.resume=must", *settings)
    assert re.search(message, error), error
    assert contents(run) == before


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train/shop.csv", None, r"train/shop.csv: cannot be read: No such file or directory"),
        ("train/shop.csv", (r"<c_\d+>\n", "<c_99>\n"), r"train/shop.csv:2: unknown SID"),
        ("test/shop.csv", (r"\]\"", '"'), r"test/shop.csv:2: history_item_sid: expected a list"),
        ("index/shop.index.json", (', "<c_[0-9]+>"', ""), r"index.json:2: item '0': expected 3 SID tokens"),
        ("index/shop.item.json", ('"title"', '"name"'), r"item.json:2: item '0': expected .\"title\""),
    ],
)
def test_a_bad_data_file_is_named_with_its_line_and_a_run_that_is_there_stays_as_it_is(
    file: str,
    change: tuple[str, str] | None,
    message: str,
    shop: Path,
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
    error = said(capsys, run.parent, "output.resume=must", *file_settings(tmp_path / "shop"))
    assert re.search(message, error), error
    assert contents(run) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["model.width=48"],
            r"p00000/4/state/arrays.npz: the checkpoint has shape \(32,\) for .*, this config needs shape "
            r"\(48,\): it was written with another config",
        ),
        (
            ["model.layers=2"],
            r"arrays.npz: the checkpoint has nothing for .*blocks_1.*, this config needs shape",
        ),
        (
            ["data.codes=16"],
            r"checkpoints/p00000/4: its vocabulary is not that of the data: SID token \d+ is '<.*>' in the "
            r"checkpoint and '<.*>' in the data",
        ),
        (
            ["data.max_words=60"],
            r"its vocabulary is not that of the data: word 60 is '.*' in the checkpoint and nothing",
        ),
    ],
)
def test_a_checkpoint_of_another_shape_or_vocabulary_is_named_and_stays_as_it_is(
    settings: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(run, capsys, message, *settings)


@pytest.mark.parametrize("file", ["state/arrays.npz", "meta/metadata"])
def test_a_damaged_checkpoint_is_named_and_stays_as_it_is(
    file: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_in_half(run / "checkpoints/p00000/4" / file)
    message = rf"p00000/4/{file.replace('/metadata', '')}: cannot be read, it may be damaged: "
    assert_refused(run, capsys, message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["seed=5", "sft.batch_size=8"],
            r"p00000/4: seed was 0 and is 5; sft.batch_size was 16 and is 8: other rows would come next; ",
        ),
        (["tasks.sid_to_title=1.5"], r"p00000/4: tasks.sid_to_title was [\d.]+ and is 1.5: other rows"),
        (
            ["data.train_users=39"],
            r"p00000/4: the training data was 241 rows, \w{12} and is 234 rows, \w{12}: other",
        ),
    ],
)
def test_a_run_goes_on_with_the_rows_that_it_began_with_or_not_at_all(
    settings: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(run, capsys, message, *settings)


def test_rows_in_another_order_are_other_rows(
    shop: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same data from files goes on; two lines that have changed places do not."""
    shutil.copytree(shop, tmp_path / "shop")
    files = ["output.resume=must", "output.sinks=[]", *file_settings(tmp_path / "shop")]
    longer = [word for setting in (*files, "sft.steps=5", "sft.learning_rate=0.1", "eval.every=1") for word in
              ("--set", setting)]  # fmt: skip
    output = ["--set", f"output.dir={run.parent}", "--set", "output.name=run"]
    assert main(["--config", str(SMOKE), *output, *longer]) == 0
    capsys.readouterr()
    path = tmp_path / "shop/train/shop.csv"
    header, one, other, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([header, other, one, *rest]))
    error = said(capsys, run.parent, *files)
    assert re.search(r"p00000/5: the training data was 241 rows, (\w{12}) and is 241 rows, (?!\1)", error), (
        error
    )


def test_titles_that_have_changed_places_are_another_catalogue(
    shop: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All words, tokens and rows are those of before, and mean other items."""
    shutil.copytree(shop, tmp_path / "shop")
    path = tmp_path / "shop/index/shop.item.json"
    items = json.loads(path.read_text())
    items["0"], items["1"] = items["1"], items["0"]
    path.write_text(json.dumps(items))
    message = (
        r"p00000/4: its semantic ids are not those of the data: it was trained with 80 items, (\w{12}), "
    )
    assert_refused(run, capsys, message, *file_settings(tmp_path / "shop"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("position", "x", r'p00000/4/meta: position: expected a count, found "x"; it may be damaged'),
        ("best", {"value": 0.5}, r"p00000/4/meta: best.step: there is none"),
        ("settings", 3, r"p00000/4/meta: settings: expected an object, found 3"),
        ("sightline", None, r"p00000/4/meta: sightline: expected an object, found null"),
    ],
)
def test_metadata_that_is_json_and_not_a_runs_is_named(
    name: str, value: object, message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_metadata(run / "checkpoints/p00000/4", {name: value})
    before = contents(run)
    error = said(capsys, run.parent, "output.resume=must")
    assert re.search(message, error), error
    assert contents(run) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": {"words": []}}, r"meta: sid_tokens: expected a list of strings, there is none"),
        ({"vocabulary": []}, r"meta: vocabulary: expected an object, found \[\]"),
        (
            {"vocabulary": {"words": [3], "sid_tokens": []}},
            r"meta: words: expected a list of strings, found \[3",
        ),
        ({"catalogue": 7}, r"meta: catalogue: expected a string, found 7"),
        (
            {"model": {"width": 32, "layers": 1, "heads": 3}},
            r"meta: model.width: must divide by 2 \* heads = 6",
        ),
        ({"model": {"width": "x", "layers": 1, "heads": 2}}, r"model.width': expected int, found 'x'"),
        ({"model": {"width": 32, "layers": 1, "heads": 2, "depth": 3}}, r"unknown config key 'model.depth'"),
        ({"model": {"width": 32, "layers": 1}}, r"meta: model.heads: there is none; it may be damaged"),
    ],
)
def test_a_policy_whose_metadata_is_json_and_no_policys_is_named(
    changes: dict[str, object], message: str, run: Path
) -> None:
    change_metadata(run / "checkpoints/p00000/4", changes)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_policy(run)
    assert str(raised.value).startswith(f"{run}/checkpoints/p00000/4/meta: ")
    assert "\n" not in str(raised.value)


def test_a_title_that_no_checkpoint_could_keep_is_refused_before_training(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    path = tmp_path / "shop/index/shop.item.json"
    path.write_text(path.read_text().replace('"title": "', '"title": "\\ud83d ', 1))
    error = said(capsys, tmp_path / "out", *file_settings(tmp_path / "shop"))
    assert "shop.item.json:2: item '0': expected a title that is text, without the lone surrogate" in error
    assert not (tmp_path / "out").exists()


def test_a_run_of_this_name_is_no_traceback_and_stays_as_it_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is a file where a directory belongs."""
    before = contents(run)
    assert "run holds an earlier run" in said(capsys, run.parent)
    assert contents(run) == before
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'}" in said(capsys, tmp_path / "file")


def test_a_bad_file_of_one_process_ends_the_job_with_its_line(shop: Path, tmp_path: Path) -> None:
    """At once: the other waits for it, and JAX would let both wait for minutes."""
    spoilt = tmp_path / "1.csv"
    shutil.copy(shop / "train/shop.csv", tmp_path / "0.csv")
    spoilt.write_text((shop / "train/shop.csv").read_text().replace("<c_", "<d_"))
    settings = [*file_settings(shop), f"output.dir={tmp_path}", "output.name=run"]
    words = [word for setting in settings for word in ("--set", setting)]
    python = [sys.executable, "-m", "runners.sid_sft", "--config", str(SMOKE), *words]
    code = 'exec "$@" --set "data.train_file=$0/$JAX_PROCESS_ID.csv"'
    launch = [sys.executable, "-m", "sightline.cli", "launch", "-n", "2", "--env", "JAX_PLATFORMS=cpu", "--"]
    command = [*launch, "sh", "-c", code, str(tmp_path), *python]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert f"[1] error: {spoilt}:2: unknown SID" in done.stderr
    assert "rank 1 exited with code 2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["sft.learning_rate=.nan"], "config key 'sft.learning_rate': expected a finite number, found nan"),
        (["seed=-1"], "seed: expected at least 0, found -1"),
        (["sft.learning_rate=-1"], "sft.learning_rate: expected at least 0, found -1"),
        (["sft.batch_size=15"], "sft.batch_size: 15 examples do not split evenly into 2"),
        (["eval.beams=81"], "eval.beams: 81 is more than the 80 items"),
        (["eval.beams=10"], "eval.beams: expected at least 20, found 10"),
        (
            ["data.train_file=x.csv"],
            "data.valid_file, test_file, index_file, item_file: missing; files",
        ),
        (["data.codes=2"], "items share the codes"),
        (["tasks.next_item=0"], "tasks.next_item: expected more than 0, found 0"),
    ],
)
def test_a_config_that_cannot_work_is_refused_before_anything_is_written(
    settings: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in said(capsys, tmp_path, *settings)
    assert list(tmp_path.iterdir()) == []


def test_a_policy_is_read_from_a_run_with_its_vocabulary_and_sizes(one_process: Finished) -> None:
    before = contents(one_process.dir)
    policy = load_policy(one_process.dir)
    catalogue = synthetic.generate(**SIZES, seed=0).catalogue
    needed = make_tokenizer(catalogue, 4096)
    assert (policy.tokenizer.words, policy.tokenizer.added) == (needed.words, needed.added)
    assert (policy.model.width, policy.model.layers, policy.model.heads) == (32, 1, 2)
    assert policy.params["embed"]["embedding"].shape == (needed.vocab_size, 32)
    assert policy.step == 4
    assert load_policy(one_process.dir, step=2).source == policy.source.parent / "2"
    assert contents(one_process.dir) == before


def test_what_is_no_policy_is_named(one_process: Finished, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no checkpoints in it"):
        load_policy(tmp_path / "nowhere")
    (tmp_path / "odd" / "checkpoints").mkdir(parents=True)
    (tmp_path / "odd" / "checkpoints" / "place.txt").touch()
    with pytest.raises(CheckpointError, match=r"odd: no checkpoints in it"):
        load_policy(tmp_path / "odd")
    with pytest.raises(CheckpointError, match=r"p00000/3: no such checkpoint"):
        load_policy(one_process.dir, step=3)
