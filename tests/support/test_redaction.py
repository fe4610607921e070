"""No credential is left in what a configuration becomes, and what only sounds like one stays."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from sightline.committing.facts import plain
from sightline.support.redaction import names_secret, redacted, redacted_command
from tests.hostile_configs import LOOK_ALIKES, MARKER, hostile, with_look_alikes

HOSTILE = hostile()


def test_there_are_many_of_them_and_each_has_secrets_of_its_own() -> None:
    """As they stand, before anything is taken out; or the tests below would hold for nothing."""
    assert len(HOSTILE) == 32
    found: list[bytes] = []
    for name, config in HOSTILE.items():
        mine = MARKER.findall(orjson.dumps(plain(config), default=str))
        is_hidden = name in ("dataclass with a hidden field",)  # is taken out at once
        assert mine or is_hidden, name
        found += set(mine)
    assert len(set(found)) == len(found) > 60


@pytest.mark.parametrize("name", HOSTILE)
def test_no_secret_of_a_hostile_configuration_is_left(name: str) -> None:
    shown = redacted(plain(with_look_alikes(HOSTILE[name])))
    assert MARKER.findall(orjson.dumps(shown)) == []
    assert {key: shown[key] for key in LOOK_ALIKES} == LOOK_ALIKES == shown["layers"][0]


def test_what_stands_beside_a_secret_stays() -> None:
    shown = redacted(plain(HOSTILE))
    assert shown["mapping"]["model"] == "small"
    assert shown["dataclasses"]["tracker"] == {"project": "grpo", "api_key": "[redacted]"}
    assert shown["dataclass with a hidden field"] == {"lr": 1e-3, "entrance": "[redacted]"}
    assert shown["named tuple"]["logins"][0] == {"user": "me", "password": "[redacted]"}
    assert shown["environment"]["env"]["PATH"] == "/usr/bin"
    assert shown["environment"]["env"]["DATABASE_URL"] == "postgres://me:[redacted]@db:5432/x"
    assert shown["environment of a container"]["env"][1] == {"name": "LR", "value": "0.1"}
    assert shown["environment file"]["dotenv"].startswith("LR=0.1\nexport HF_TOKEN=[redacted]\nSMTP_PASS = ")
    assert shown["URLs with queries"]["hook"] == "https://host/x?user=a&access_token=[redacted]&n=1"
    assert shown["pairs"]["headers"][2] == ["Accept", "text/html"]
    assert orjson.loads(shown["JSON in strings"]["service"])["type"] == "account"
    assert shown["JSON in strings"]["python"] == (
        "{'secret': '[redacted]', 'n': 1} Config(api_key='[redacted]', n=1)"
    )
    assert shown["YAML in strings"]["file"] == (
        'wandb:\n  api_key: [redacted]\n  project: x\ndb: {password: "[redacted]", n: 1}\n'
    )
    assert shown["enums and partials"]["object"] == "Shown(user='me', password='[redacted]', depth=2)"
    assert shown["command lines"] == {
        "argv": [
            "train.py", "--api-key", "[redacted]", "--hf_token=[redacted]", "--lr", "0.1",
            "wandb.api_key=[redacted]",
        ],
        "command": "python train.py --api-key [redacted] --password='[redacted]' --lr 0.1",
    }  # fmt: skip
    assert shown["tokens by their looks"]["note"] == "use [redacted] or [redacted] here"


@pytest.mark.parametrize(
    "text",
    [
        "tokenizer: byte, pad_token=<pad>, max_tokens=8",
        "s3://bucket/key/x",
        "https://host:8080/a@b",
        "a/b:c@sha256:00ff",
        "12:30:15",
        "git@github.com:a/b",
        "key=value&n=1",
        "hf_internal_testing/tiny",
        "task-sk-learn",
        "{not json",
        '{"n": 1,  "tokens": [1, 2]}',
        "[1,  2]",
        "-",
        "",
        "basic training",
        "--max-tokens 8 --tokenizer byte",
        "lr=0.1\nseed=3",
        "x" * 300_000,
        "a:" * 50_000,
        "a-" * 50_000,
        "a.a --" * 20_000,
        "\n" * 100_000,
        "\\" * 100_000,
        "https://" + "a" * 100_000,
        "login a " * 50_000,
        "_" * 1_000_000,
        "_a-" * 100_000,
        "a:_" * 100_000,
        "a@b:" * 75_000,
        "a:b@c" * 60_000,
        " a:b@c.d-e" * 100_000,
        "a%:" * 300_000,
        "me:you@host.org",
        "repo/image:tag@sha256:0011",
        "12:30@08:15h",
        "_pad_token=<pad> _max_tokens=8",
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode(),
)
def test_strings_without_credentials_stay_as_they_are(text: str) -> None:
    """However long they are: nothing here takes long."""
    assert redacted({"a": [text], text: 1}) == {"a": [text], text: 1}


@pytest.mark.parametrize(
    "name",
    [
        "token_count",
        "num_token",
        "max_token",
        "token_type",
        "token_budget",
        "image_token",
        "auth_method",
        "n_tokens",
        "forward_pass",
        "shared_key_heads",
        "key_size",
        "monkey",
        "keys",
        "author",
        "token_ids",
        "passage",
        "pw",
        "total_pw",
        "sort_key",
        "primary_key",
        "storage_key",
        "num_key_value_heads",
        "pad_token_id",
        "_tokenizer",
        "default_pass",
        "azure_blob_key",
    ],
)
def test_names_that_only_sound_like_it(name: str) -> None:
    assert not names_secret(name)
    assert redacted({name: 8, "a": {name: "word"}}) == {name: 8, "a": {name: "word"}}


@pytest.mark.parametrize(
    "name",
    [
        "wandb_key",
        "api_keys",
        "auth",
        "smtp_pass",
        "password2",
        "APIKey",
        "hfToken3",
        "secret_id",
        "jwt",
        "AUTH_TOKENS",
        "PGPASSWORD",
        "SSHPASS",
        "KAGGLE_KEY",
        "GEMINI_KEY",
        "DEEPSEEK_KEY",
        "SERPAPI_KEY",
        "AZURE_STORAGE_KEY",
        "RABBITMQ_DEFAULT_PASS",
        "db_pw",
        "wandbapikey",
        "CLIENTSECRET",
        "license_key",
        "_password",
    ],
)
def test_names_that_say_it_in_other_ways(name: str) -> None:
    assert redacted({name: "abc", "b": [{name: ["abc"]}]}) == {
        name: "[redacted]",
        "b": [{name: ["[redacted]"]}],
    }


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({"pass": "abc"}, {"pass": "[redacted]"}),
        ({"wandb": {"key": "abc"}, "a": {"key": "b"}}, {"wandb": {"key": "[redacted]"}, "a": {"key": "b"}}),
        ({"apikeys": ["abc"], "creds": "abc"}, {"apikeys": ["[redacted]"], "creds": "[redacted]"}),
        ({"tokens": "abcdefgh1234"}, {"tokens": "[redacted]"}),
        ({"tokens": ["abcdefgh1234", "the"]}, {"tokens": ["[redacted]", "the"]}),
        ({"pat": "abcdefgh1234", "github_pat": "abc"}, {"pat": "[redacted]", "github_pat": "[redacted]"}),
        ({"passkey": "abc", "otp": "123456"}, {"passkey": "[redacted]", "otp": "[redacted]"}),
        ("id AKIAIOSFODNN7EXAMPLE", "id [redacted]"),
        ("wandb_v1_" + "a1b2" * 10, "[redacted]"),
        ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/services/[redacted]"),
        ("machine a.b login me password abc", "machine a.b login me password [redacted]"),
        ("machine a.b\n  login me\n  password abc", "machine a.b\n  login me\n  password [redacted]"),
        ("https://0123456789abcdefg@sentry.io/1", "https://[redacted]@sentry.io/1"),
        ([{"key": "HF_TOKEN", "val": "abc"}], [{"key": "HF_TOKEN", "val": "[redacted]"}]),
        ("wrong password: hunter2", "wrong password: [redacted]"),
        ("_password=hunter2abc", "_password=[redacted]"),
        ("f(__api_key='abc', n=1)", "f(__api_key='[redacted]', n=1)"),
        ("//localhost:4873/:_authToken=abc", "//localhost:4873/:_authToken=[redacted]"),
        ("run --_token abcdef --n 1", "run --_token [redacted] --n 1"),
        ("u:hunter2abc@h:5432/db", "u:[redacted]@h:5432/db"),
        ("at u:hunter2@h.org:5432, or :b@h:6379", "at u:[redacted]@h.org:5432, or :[redacted]@h:6379"),
        ([{"a": 1}, ["token", "abcdefgh1234"]], [{"a": 1}, ["token", "[redacted]"]]),
        ([1, ["api_key", "abc"], ["n", "m"]], [1, ["api_key", "[redacted]"], ["n", "m"]]),
    ],
    ids=str,
)  # fmt: skip
def test_credentials_as_they_are_also_written(config: Any, shown: Any) -> None:
    assert redacted(config) == shown


@pytest.mark.parametrize(
    "config",
    [
        {"token_entropy_coef": 0.01, "token_clip": 0.2, "clip_token_ratio": 0.2, "token_reward": 0.5},
        {"token_shift": 1, "predict_token": 1, "password_len": 3, "eot_token": 151643, "pass": 1},
        {"think_token": "<think>", "boi_token": "<boi>", "eot_token": "<eot>", "sid_token": "<a_1>"},
        {
            "user_token": "<|user|>",
            "video_token": {"content": "<video>", "special": True},
            "a_token": "[SEP]",
        },
        {"tokens": ["<a>", "the", "cat"], "pat": "*.py"},
        {"columns": [["token", "text"], ["a", "b", "c"]], "names": ["token", "text"]},
        [["think_token", "<think>"], ["token_clip", 0.2]],
        ["--think-token", "<think>", "--token-clip", "0.2", "token_reward=0.5"],
        "token_clip=0.2 think_token=<think> --user-token <|user|> --token-shift 1",
        "step={step} tokens={train/completion_length/p95:.1f} token=${HF_TOKEN}",
        "AKIA is a prefix, wandb_v1_ too",
        "What is the password: swordfish?",
        "token: the smallest unit",
        "Authorization: none needed",
        "a password: b " * 20_000,
    ],
    ids=lambda config: str(config)[:30],
)
def test_words_of_language_models_and_sentences_stay(config: Any) -> None:
    assert redacted(config) == config


def test_words_of_language_models_stay_in_command_lines() -> None:
    given = ["train.py", "--think-token", "<think>", "--token-clip", "0.2", "token_reward=0.5"]
    assert redacted_command([*given, "--hf-token", "abc"]) == [*given, "--hf-token", "[redacted]"]


def test_a_second_time_changes_nothing() -> None:
    """What was taken out is not taken for a credential, nor does it lose its frame."""
    once = redacted(plain(HOSTILE))
    assert redacted(once) == once


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--password", "--lr", "1"], ["--password", "[redacted]", "1"]),
        (["--config", '{"api_key": "a", "n": 1}'], ["--config", '{"api_key":"[redacted]","n":1}']),
        (
            ["sh", "-c", "run --api-key a --password=b"],
            ["sh", "-c", "run --api-key [redacted] --password=[redacted]"],
        ),
        (["python", "-c", "f(password='a', n=1)"], ["python", "-c", "f(password='[redacted]', n=1)"]),
    ],
)
def test_command_lines(given: list[str], shown: list[Any]) -> None:
    """What follows an option for a credential is one, whatever it looks like."""
    assert redacted_command(given) == shown


def nested(inside: Any, levels: int, *, in_lists: bool) -> Any:
    for _ in range(levels):
        inside = [inside] if in_lists else {"a": inside}
    return inside


def depth_of(shown: Any) -> int:
    levels = 0
    while isinstance(shown, dict | list):
        shown, levels = next(iter(shown.values() if isinstance(shown, dict) else shown)), levels + 1
    return levels


@pytest.mark.parametrize("in_lists", [True, False])
@pytest.mark.parametrize("levels", [90, 400, 900, 5000])
def test_data_of_any_depth_is_taken_and_too_deep_parts_are_named_by_their_type(
    levels: int, in_lists: bool
) -> None:
    """As itself and, where JSON's reader takes it, as a text in an exception's message."""
    config = nested({"api_key": "hunter2", "lr": 0.5}, levels, in_lists=in_lists)
    shown = redacted(config)
    assert "hunter2" not in repr(shown)
    assert depth_of(shown) == min(levels + 1, 100)
    assert repr(shown).count("[list]" if in_lists else "[dict]") == (levels > 100)
    opening, closing = ("[", "]") if in_lists else ('{"a":', "}")
    text = opening * levels + '{"api_key":"hunter2"}' + closing * levels
    assert "hunter2" not in redacted(text)


def test_json_in_json_is_looked_into_no_deeper_in_all() -> None:
    text = json.dumps(nested({"api_key": "hunter2"}, 60, in_lists=True))
    both = json.dumps(nested(text, 60, in_lists=False))
    assert "hunter2" not in redacted(both)
    assert "[list]" in redacted(both)


def test_a_full_stack_is_no_reason_to_raise() -> None:
    """An exception of a deep recursion is shown without its text rather than with another exception."""

    def call(levels: int) -> Any:
        return call(levels - 1) if levels else redacted({"a": {"b": [["api_key", {"c": ["hunter2"]}]]}})

    shown = []
    for levels in range(700, 1000):
        try:
            shown.append(call(levels))
        except RecursionError:
            break
    assert shown
    assert "hunter2" not in repr(shown)
