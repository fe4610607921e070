"""An object that stands for the ``wandb`` module: what it keeps, how it counts, and that nothing raises."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.compat.mllm_jax import JournalWandb, maybe_init_wandb, saying
from sightline.compat.mllm_jax.wandb_module import SETTINGS

Begin = Callable[..., JournalWandb]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once a process may be said by each test."""
    monkeypatch.setattr(saying, "_said", set())


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun = []

    def begin(**given: Any) -> Any:
        settings = dataclasses.replace(SETTINGS, log_dir=tmp_path)
        options = {"cfg": {"lr": 0.1}, "project": "p", "name": "n", "mode": "online", "settings": settings}
        begun.append(maybe_init_wandb(**{**options, **given}))
        return begun[-1]

    yield begin
    for wandb in filter(None, begun):
        wandb.finish()


def journal(wandb: JournalWandb, kind: str = "commit") -> list[dict[str, Any]]:
    """The lines of one type, once the run has ended."""
    folder = wandb.dir
    assert folder is not None
    wandb.finish()
    return [record for record in sl.read_journal(folder) if record["type"] == kind]


def test_steps_count_as_with_wandb(begin: Begin) -> None:
    """Without a step each call is the next one; with one, or commit=False, the step stays open."""
    wandb = begin()
    wandb.log({"a": 0})
    wandb.log({"a": 1})
    wandb.log({"a": 5}, step=5)
    wandb.log({"b": 5}, step=np.int64(5))
    wandb.log({"c": 5}, commit=False)
    wandb.log({"d": 5})
    wandb.log({"a": 6})
    wandb.log({"a": 9}, step=9, commit=True)
    wandb.log({"a": 10})
    assert wandb.step == 11
    steps = [(commit["step"], *commit["values"].values()) for commit in journal(wandb)]
    assert steps == [(0, 0), (1, 1), (5, 5), (5, 5), (5, 5), (5, 5), (6, 6), (9, 9), (10, 10)]


def test_a_lower_step_is_kept_under_the_last_one(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """W&B would drop it."""
    wandb = begin()
    wandb.log({"a": 1}, step=5)
    wandb.log({"a": 2}, step=3)
    assert [(commit["step"], commit["values"]["a"]) for commit in journal(wandb)] == [(5, 1), (5, 2)]
    assert "step 3 after step 5: counted as step 5" in caplog.text


def test_values_of_all_kinds_are_kept_as_what_a_journal_holds(begin: Begin) -> None:
    """Numbers of Python, NumPy and JAX, strings, nested dicts, counts, and arrays by their statistics."""
    import jax.numpy as jnp

    wandb = begin()
    wandb.log(
        {
            "int": 3, "bool": True, "numpy": np.float32(0.5), "one": np.array([2.0]), "none": None,
            "device": jnp.array(1.5), "bf16": jnp.array([2.5], jnp.bfloat16), "nan": float("nan"),
            "text": "hello", "nested": {"a": {"b": 1}, "c": 2}, "loss__count": 4.0, "loss": 0.5,
            "array": np.array([[1.0, 3.0]]), "devices": jnp.array([1.0, 3.0]), "list": [1, 3], "empty": [],
            7: 8,
        },
        step=1,
    )  # fmt: skip
    (commit,) = journal(wandb)
    statistics = {"mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0}
    assert commit["values"] == {
        "int": 3, "bool": 1, "numpy": 0.5, "one": 2.0, "device": 1.5, "bf16": 2.5, "nan": None, "loss": 0.5,
        "nested.a.b": 1, "nested.c": 2, "7": 8, "obs/nonfinite": 1,
        **{f"{key}/{name}": n for key in ("array", "devices", "list") for name, n in statistics.items()},
    }  # fmt: skip
    assert commit["counts"] == {"loss__count": 4}
    assert commit["texts"] == {"text": "hello"}


def test_media_are_described(begin: Begin) -> None:
    """The pixels are not kept; the rows of a table are, in full, apart; a histogram's values as a list's."""
    wandb = begin()
    table = wandb.Table(columns=["prompt", "reward"], data=[["a", 1]])
    table.add_data("b", 2)
    table.add_column("length", [3, 4])
    wandb.log(
        {
            "table": table,
            "image": wandb.Image(np.zeros((4, 5, 3)), caption="a cat"),
            "page": wandb.Html("<b>x</b>"),
            "images": [wandb.Image("a.png"), wandb.Image("b.png")],
            "histogram": wandb.Histogram([1, 3]),
            "bins": wandb.Histogram(np_histogram=([1], [0, 1])),
            "object": object(),
        }
    )
    table.get_column("prompt")
    assert wandb.dir is not None
    header, *rows = map(
        json.loads, (Path(wandb.dir) / "samples/table.p00000.a01.jsonl").read_text().splitlines()
    )
    assert (header["type"], header["table"]) == ("header", "table")
    assert [(each["step"], each["row"]) for each in rows] == [
        (0, {"prompt": "a", "reward": 1, "length": 3}),
        (0, {"prompt": "b", "reward": 2, "length": 4}),
    ]
    (commit,) = journal(wandb)
    assert commit["values"] == {
        f"histogram/{n}": v for n, v in zip(("mean", "std", "min", "max"), (2, 1, 1, 3), strict=True)
    }
    assert commit["texts"] == {
        "table": "Table of 2 rows: prompt, reward, length",
        "image": "Image (4, 5, 3): a cat",
        "page": "Html <b>x</b>",
        "images": "Image a.png; Image b.png",
        "bins": "Histogram",
        "object": "object",
    }


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", "b"]), np.array("x"), [1, "b"], [[1], [1, 2]], 10**400, {"a/": 1},
        np.array([object()]), np.array([1j, 2]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_kept_takes_nothing_else_with_it(
    begin: Begin, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    """And is said once, with its key."""
    wandb = begin()
    for step in (1, 2):
        wandb.log({"good": step, "bad": value}, step=step)
    assert [commit["values"] for commit in journal(wandb)] == [{"good": 1}, {"good": 2}]
    assert len([message for message in caplog.messages if "is left out of what is logged" in message]) == 1
    assert "bad" in caplog.text


def test_an_array_that_was_donated_takes_nothing_else_with_it(begin: Begin) -> None:
    """It is seen only when its value is fetched."""
    import jax.numpy as jnp

    wandb = begin()
    gone = jnp.array(1.0) + 1
    gone.delete()
    wandb.log({"good": 1, "gone": gone, "device": jnp.array(2.0)})
    values: dict[str, Any] = {}
    for commit in journal(wandb):
        values |= commit["values"]
    assert {key: values.get(key) for key in ("good", "gone", "device")} == {
        "good": 1, "gone": None, "device": 2.0,
    }  # fmt: skip


def test_a_value_inside_jit_is_left_out(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """It has no number."""
    import jax

    wandb = begin()

    @jax.jit
    def step(x: Any) -> Any:
        wandb.log({"good": 1, "traced": x})
        return x

    step(1.0)
    assert [commit["values"] for commit in journal(wandb)] == [{"good": 1}]
    assert "'traced' is left out of what is logged: it is a traced value" in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        lambda wandb: wandb.log([1, 2]),
        lambda wandb: wandb.log({"a": 1}, step="x"),
        lambda wandb: wandb.log(None),
        lambda wandb: wandb.Artifact("model", type="model").add_file("x").wait(),
        lambda wandb: list(wandb.Api().runs("p")),
        lambda wandb: wandb.save("*.py", base_path="x"),
        lambda wandb: wandb.watch(object(), log="all"),
        lambda wandb: wandb.define_metric("*", step_metric="step"),
        lambda wandb: wandb.Table(columns=3, data=4).add_data(1),
        lambda wandb: wandb.config.update(3),
        lambda wandb: wandb.init(config=object(), reinit=True, id="x", resume="allow", tags=["a"]),
        lambda wandb: wandb.alert(title="t", text="x"),
        lambda wandb: wandb.run.log_code("."),
        lambda wandb: wandb.finish(exit_code=1),
        lambda wandb: len(wandb.Api().runs("p")),
        lambda wandb: wandb.Api().run("p/x").summary["loss"],
        lambda wandb: wandb.Api().runs("p")[0].history(),
        lambda wandb: wandb.init("entity"),
    ],
)
def test_no_call_of_the_module_raises(begin: Begin, call: Callable[[Any], Any]) -> None:
    """Whatever it is called with; and the run goes on."""
    wandb = begin()
    call(wandb)
    wandb.init()
    wandb.log({"a": 1}, step=3)
    assert [commit["step"] for commit in journal(wandb)] == [3]


def test_rows_that_cannot_be_kept_are_said(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """Short rows can; what a table is called must be a file's name."""
    wandb = begin()
    wandb.log({"short": wandb.Table(columns=["a", "b"], data=[[1], [2, 3]])})
    wandb.log({"..": wandb.Table(columns=["a"], data=[[1]])})
    assert wandb.dir is not None
    (file,) = (Path(wandb.dir) / "samples").iterdir()
    rows = [json.loads(line)["row"] for line in file.read_text().splitlines()[1:]]
    assert rows == [{"a": 1, "b": None}, {"a": 2, "b": 3}]
    assert "rows of '..' are not kept: sample('..'): expected the name of a table" in caplog.text


def test_what_callers_ask_for_is_what_it_looks_like(begin: Begin) -> None:
    """Classes for `isinstance`, exceptions for `except`, no page to be printed."""
    wandb = begin()
    assert isinstance(wandb.Image("x.png"), wandb.Image)
    assert not isinstance(wandb.Table(), (wandb.Image, wandb.Histogram))
    for error in (wandb.errors.CommError, wandb.errors.WaitTimeoutError, wandb.Error, wandb.CommError):
        assert issubclass(error, wandb.errors.Error)
        assert issubclass(error, Exception)
    assert wandb.run.get_url() is wandb.get_url() is None


def test_a_mode_that_is_none_is_said(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """And the run is kept, for it is what was wanted."""
    assert begin(mode="bogus") is not None
    assert "wandb mode 'bogus' is none that W&B has" in caplog.text


def test_names_that_do_nothing_are_said_once(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody shall take them for kept."""
    wandb = begin()
    for _ in range(2):
        wandb.log_artifact("x")
    assert [m for m in caplog.messages if "log_artifact" in m] == [
        "sightline: wandb.log_artifact does nothing here: the journal holds numbers and texts"
    ]
    with pytest.raises(AttributeError):
        _ = wandb.__wrapped__  # as inspect and copy ask every object
    wandb.finish()


def test_copies_of_config_and_summary_are_plain_dicts(begin: Begin) -> None:
    """Runners copy and pickle them; what is changed in a copy is not in the journal."""
    wandb = begin(cfg={"model": {"layers": 2}})
    for copied in (
        copy.copy(wandb.config),
        copy.deepcopy(wandb.config),
        pickle.loads(pickle.dumps(wandb.config)),
    ):
        assert type(copied) is dict
        assert copied == {"model": {"layers": 2}}
    assert copy.deepcopy(wandb.summary) == {}


def test_config_and_summary_are_dicts_whose_changes_are_in_the_journal(begin: Begin) -> None:
    """Credentials not."""
    wandb = begin(cfg=Namespace(lr=0.1, layers=2))
    assert (wandb.config.lr, wandb.config["layers"], wandb.run.config.get("x")) == (0.1, 2, None)
    with pytest.raises(AttributeError):
        _ = wandb.config.missing
    wandb.config.update({"seed": 1, "api_key": "abc"}, allow_val_change=True)
    wandb.config.batch = 8
    wandb.config.setdefaults({"batch": 1, "warm": 2})
    assert wandb.config.as_dict() == {
        "lr": 0.1,
        "layers": 2,
        "seed": 1,
        "api_key": "abc",
        "batch": 8,
        "warm": 2,
    }
    wandb.log({"loss": 0.5})
    wandb.summary["best"] = 0.25
    assert (wandb.summary["loss"], wandb.summary.best) == (0.5, 0.25)
    events = [(e["event"], e["values"]) for e in journal(wandb, "event") if "values" in e]
    assert events == [
        ("config", {"seed": 1, "api_key": "[redacted]"}),
        ("config", {"batch": 8}),
        ("config", {"warm": 2}),
        ("summary", {"best": 0.25}),
    ]


def test_the_run_is_there_until_it_is_finished_and_init_makes_another(
    begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As `wandb.run` is; what is logged in between is said to be lost."""
    wandb = begin(name="a/b")
    run = wandb.run
    assert run is not None
    assert (run.name, run.project, run.mode, run.url) == ("a/b", "p", "online", None)
    assert wandb.dir == str(tmp_path / "p" / "a-b")
    assert wandb.init() is run
    first = wandb.id
    wandb.finish()
    assert (wandb.run, wandb.id, wandb.dir) == (None, None, None)
    wandb.log({"a": 1})
    assert "wandb.log after wandb.finish" in caplog.text
    with wandb.init(name="a/b", config={"lr": 1}) as again:
        again.log({"a": 2})
        assert again.id != first
        assert again.dir is not None
        assert Path(again.dir).name.startswith("a-b-")
        assert again.config == {"lr": 1}
    assert wandb.run is None


@pytest.mark.parametrize("mode", ["disabled", " OFF "])
def test_init_after_finish_keeps_nothing_where_the_mode_is_off(
    begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """As with W&B: calls do nothing, and nobody is told; until one asks for a run again."""
    wandb = begin()
    assert wandb.init(mode=mode).mode == "online"  # the open run stays
    wandb.finish()
    with wandb.init(name="off", mode=mode, config={"lr": 1}) as off:
        off.log({"a": 1})
        assert (off.mode, off.name, off.run, off.dir, off.config) == (
            "disabled",
            "off",
            None,
            None,
            {"lr": 1},
        )
    assert "wandb.log after" not in caplog.text
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["latest", "n"]
    off.log({"a": 1})
    assert "wandb.log after wandb.finish" in caplog.text
    with wandb.init(name="on") as again:
        again.log({"a": 2})
        assert [line["values"] for line in journal(again)] == [{"a": 2}]


def test_the_line_that_says_where_calls_are_kept_says_how_to_upload_them(
    begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks for "online" expects a page at W&B."""
    with caplog.at_level(logging.INFO, "sightline"):
        begin(name="a b", mode="online")
    run = tmp_path / "p" / "a b"
    said = f"wandb.log calls are kept in {run}, and nothing is uploaded: sightline sync '{run}' --to wandb"
    assert said in caplog.text


@pytest.mark.parametrize("mode", ["disabled", "disable", "off", " OFF "])
def test_a_mode_that_is_off_gives_none(begin: Begin, tmp_path: Path, mode: str) -> None:
    """And makes nothing."""
    assert begin(mode=mode) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("process_index", [1, np.int32(3)])
def test_only_the_first_process_gets_it(begin: Begin, tmp_path: Path, process_index: int) -> None:
    """The others get None, as before."""
    assert begin(process_index=process_index) is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_started_is_no_end_of_training(
    begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Best effort: a warning, and None."""
    (tmp_path / "p").write_text("a file")
    with caplog.at_level(logging.WARNING, "sightline"):
        assert begin() is None
    assert "wandb calls are not kept: no run could be started" in caplog.text


@pytest.mark.parametrize("name", ["latest", "..", "x/../y", "", None, "x" * 20])
def test_any_name_makes_a_run(begin: Begin, tmp_path: Path, name: str | None) -> None:
    """One folder below the project's, whatever W&B let pass."""
    wandb = begin(name=name, project="a/b")
    assert wandb.dir is not None
    assert Path(wandb.dir).parent == tmp_path / "a-b"
    wandb.finish()


@pytest.mark.parametrize("project", [None, "", "  "])
def test_a_run_of_no_project_lies_among_those_of_wandb(
    begin: Begin, tmp_path: Path, project: str | None
) -> None:
    """As a config gives it that leaves it out."""
    wandb = begin(project=project)
    assert wandb.dir is not None
    assert Path(wandb.dir).parent == tmp_path / "wandb"
    wandb.finish()
