"""What a run was: any configuration becomes JSON, and no credential gets into it."""

import dataclasses
import enum
import json
import math
import os
import subprocess
import sys
from argparse import Namespace
from collections import OrderedDict, namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest

from sightline.committing.facts import plain, redacted, run_facts, without_secrets


class Colour(enum.Enum):
    RED = "red"
    MIXED = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Model:
    layers: int = 2
    activation: Any = max
    out: Path = Path("runs")


class ConfigDict:
    """As ml_collections and Hugging Face have it."""

    def to_dict(self) -> dict[str, Any]:
        return {"lr": np.float32(0.5), "model": Model()}


class Broken:
    def to_dict(self) -> dict[str, Any]:
        raise RuntimeError("no")


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None),
        (True, True),
        (2**70, str(2**70)),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
        ({"\ud800": "\ud800"}, {"\\ud800": "\\ud800"}),
        ({"a": {1: 10**5000}}, {"a": {"1": "[int]"}}),  # more digits than Python writes
        (Model(), {"layers": 2, "activation": "max", "out": "runs"}),
        (Model, "Model"),
        (
            Namespace(lr=0.1, model=Model()),
            {"lr": 0.1, "model": {"layers": 2, "activation": "max", "out": "runs"}},
        ),
        (SimpleNamespace(a=1), {"a": 1}),
        (ConfigDict(), {"lr": 0.5, "model": {"layers": 2, "activation": "max", "out": "runs"}}),
        (OrderedDict({1: (2, 3)}), {"1": [2, 3]}),
        (Point(1, [2]), {"x": 1, "y": [2]}),
        ({"b", "a"}, ["a", "b"]),
        (range(3), [0, 1, 2]),
        (Colour.RED, "red"),
        (Colour.MIXED, [1, 2]),
        (Level.HIGH, 3),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(3), 3),
        (np.array([[0.9, 0.95]]), [[0.9, 0.95]]),
        (np.ones(2, ml_dtypes.bfloat16), [1.0, 1.0]),
        (np.zeros((64, 64), np.float32), "float32[64, 64]"),
        (np.dtype("float32"), "float32"),
        (np.float32, "float32"),
        (b"ab", "b'ab'"),
        (Broken(), "[Broken]"),
        (lambda x: x, "<lambda>"),
    ],
)
def test_any_configuration_becomes_json(config: Any, expected: Any) -> None:
    """Whatever people keep their settings in; the result is what a JSON writer takes."""
    result = plain(config)
    if callable(config) and not isinstance(config, type):
        assert result.endswith(expected)
    else:
        assert result == expected
        assert type(result) is type(expected)
    assert orjson.loads(orjson.dumps(result)) == result


def test_pydantic_models_become_dicts() -> None:
    """And their secrets stay hidden."""
    pydantic = pytest.importorskip("pydantic")
    fields = {"lr": (float, 0.1), "key": (pydantic.SecretStr, pydantic.SecretStr("abc"))}
    model = pydantic.create_model("Settings", **fields)
    assert plain(model()) == {"lr": 0.1, "key": "**********"}
    assert plain(model) == "Settings"


def test_jax_arrays_become_numbers_and_dtypes_names() -> None:
    """Small ones by value, large ones by dtype and shape."""
    jnp = pytest.importorskip("jax.numpy")
    config = {
        "lr": jnp.float32(0.5),
        "betas": jnp.array([1.0, 2.0]),
        "w": jnp.ones((8, 8)),
        "t": jnp.bfloat16,
    }
    assert plain(config) == {"lr": 0.5, "betas": [1.0, 2.0], "w": "float32[8, 8]", "t": "bfloat16"}


def test_a_configuration_that_holds_itself_ends() -> None:
    """At the place where it comes round; the same object twice is no recursion."""
    shared = [1]
    config: dict[str, Any] = {"a": shared, "b": shared}
    config["self"] = [config]
    assert plain(config) == {"a": [1], "b": [1], "self": ["[recursive]"]}


@pytest.mark.parametrize(
    "name",
    [
        "password", "db_password", "PASSWORD", "dbPassword", "passwd", "secret", "client_secret", "secrets",
        "api_key", "apiKey", "apikey", "WANDB_API_KEY", "hf_token", "HF_TOKEN", "accessToken", "token",
        "authorization", "Authorization", "credentials", "aws_secret_access_key", "private-key", "x.api_key",
    ],
)  # fmt: skip
def test_what_names_a_secret_is_taken_out(name: str) -> None:
    """Strings, numbers where they can be one, and all that is nested below."""
    assert redacted({name: "abc"}) == {name: "[redacted]"}
    number = 123456 if "token" in name.lower() else "[redacted]"  # a number under "token" is of a vocabulary
    assert redacted({name: 123456}) == {name: number}
    assert redacted({"a": [{name: ["x", {"y": "z"}]}]}) == {
        "a": [{name: ["[redacted]", {"y": "[redacted]"}]}],
    }
    assert redacted({name: None, "b": {name: ""}}) == {name: None, "b": {name: ""}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pad_token_id", 0), ("tokenizer", "byte"), ("max_tokens", 8), ("num_key_value_heads", 4),
        ("pad_token", "<pad>"), ("eos_token", "</s>"), ("tokens_per_step", 3), ("keys", ["a"]),
        ("secretary", "x"), ("use_token", True), ("stop_token_ids", [1, 2]), ("access_key_id", "A"),
        ("key", "loss"), ("monkey", "x"), ("", "x"),
    ],
)  # fmt: skip
def test_what_only_sounds_like_a_secret_stays(name: str, value: Any) -> None:
    """Whole words count, and vocabularies have tokens that anyone may know."""
    assert redacted({name: value}) == {name: value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:hunter2@host/x", "https://me:[redacted]@host/x"),
        ("redis://:pw@host:6379", "redis://:[redacted]@host:6379"),
        ("postgres://u:p@ss@host/db", "postgres://u:[redacted]@host/db"),
        ("https://ghp_0123456789abcdefghij@github.com/a/b", "https://[redacted]@github.com/a/b"),
        ("ssh://git@github.com/a/b", "ssh://git@github.com/a/b"),
        ("https://host/x?user=a&token=abc&n=1", "https://host/x?user=a&token=[redacted]&n=1"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
        ("basic training, step 1", "basic training, step 1"),
    ],
)
def test_credentials_in_strings_are_taken_out(text: str, expected: str) -> None:
    """In URLs and header lines, wherever in the configuration they stand."""
    assert redacted(plain({"a": [text]})) == {"a": [expected]}


def test_a_configuration_of_any_depth_becomes_json() -> None:
    """Down to where JSON's writers and Python's stack end."""
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"x": deep}
    shown = without_secrets({"deep": deep, "lr": 0.1})
    assert shown["lr"] == 0.1
    assert orjson.loads(orjson.dumps(shown)) == shown
    levels = 0
    while isinstance(shown, dict):
        shown, levels = shown.get("deep", shown.get("x")), levels + 1
    assert (shown, levels) == ("[dict]", 100)


def test_of_json_in_a_text_that_is_deeper_than_pythons_stack_only_the_upper_levels_are_shown() -> None:
    text = '[{"a":' * 450 + '{"api_key":"hunter3"}' + "}]" * 450
    assert orjson.loads(text)
    shown = without_secrets({"text": text, "password": "hunter2", "lr": 0.1})
    assert (shown["password"], shown["lr"]) == ("[redacted]", 0.1)
    assert shown["text"].startswith('[{"a":')
    assert "hunter3" not in shown["text"]


def facts_of_a_process(folder: Path, *arguments: str | bytes, delete: bool = False) -> dict[str, Any]:
    """What ``run_facts`` says in a process that runs in a folder, which may be gone then."""
    code = "import json, os; from sightline.committing.facts import run_facts; "
    code += "os.rmdir(os.getcwd()); " if delete else ""
    code += "print(json.dumps(run_facts()))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=True, cwd=folder
    )
    facts: dict[str, Any] = orjson.loads(done.stdout)
    return facts


def test_facts_that_are_no_utf8_are_escaped(tmp_path: Path) -> None:
    """The command line, the directory, the branch: all of them are bytes."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for arguments in (
        ["init", "-q"],
        ["-c", "user.email=a@b", "-c", "user.name=n", "commit", "-q", "--allow-empty", "-m", "x"],
        ["checkout", "-q", "-b", os.fsdecode(b"caf\xe9")],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    facts = facts_of_a_process(folder, b"--data=caf\xe9.txt")
    assert facts["command"][-1] == "--data=caf\\udce9.txt"
    assert facts["cwd"].endswith("/caf\\udce9")
    assert facts["git"]["branch"] == "caf\\xe9"


def test_facts_that_cannot_be_had_are_left_out(tmp_path: Path) -> None:
    """As the working directory is where somebody has deleted it."""
    (tmp_path / "gone").mkdir()
    facts = facts_of_a_process(tmp_path / "gone", delete=True)
    assert "cwd" not in facts
    assert {"versions", "command", "host", "pid", "started"} <= set(facts)


def test_facts_of_a_run_are_json_and_name_it() -> None:
    """Versions, command, git, host, process."""
    facts = json.loads(json.dumps(run_facts()))
    assert facts["pid"] == os.getpid()
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert math.isfinite(facts["started"])
    assert facts["git"] is None or set(facts["git"]) == {"commit", "branch", "dirty"}


def test_the_command_is_kept_without_its_secrets(tmp_path: Path) -> None:
    """As an option with ``=``, as an option and its value, and as an override."""
    code = "import json; from sightline.committing.facts import run_facts; print(json.dumps(run_facts()))"
    arguments = [
        "--api-key",
        "abc",
        "--hf_token=def",
        "--set",
        "wandb.api_key=ghi",
        "--lr=0.1",
        "--max-tokens",
        "8",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    command = json.loads(done.stdout)["command"]
    assert command[-8:] == [
        "--api-key", "[redacted]", "--hf_token=[redacted]", "--set", "wandb.api_key=[redacted]",
        "--lr=0.1", "--max-tokens", "8",
    ]  # fmt: skip
    assert json.loads(done.stdout)["git"] is None
