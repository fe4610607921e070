"""Configurations as people write them, each with credentials in it, and what must be left of each.

A credential here is a marker, unlike anything else; :data:`MARKER` finds all of them in the bytes of a file.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import itertools
import json
import re
from argparse import Namespace
from collections import OrderedDict, namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MARKER = re.compile(rb"zq\d{3}[Xx]7k4p9")

#: What only sounds like a credential; these names and values are in every configuration.
LOOK_ALIKES = {
    "pad_token_id": 151643,
    "tokenizer": "byte-pair",
    "max_tokens": 4096,
    "num_key_value_heads": 8,
    "token_count": 77001,
    "tokens_per_step": 77002,
    "pad_token": "<pad-77003>",
    "key_size": 64,
    "sort_key": "length",
    "primary_key": "uid",
    "token_ids": [1, 2],
    "pw": 2.5,
}
_numbers = itertools.count()


def secret() -> str:
    """Another one, 12 characters."""
    return f"zq{next(_numbers):03d}X7k4p9w"


def _json_web_token() -> str:
    return f"eyJhbGciOiJIUzI1NiJ9.eyJ{secret()}.{secret()}"


class Vendor(enum.Enum):
    KEY = secret()
    PAIR = ("api_key", "public")


@dataclasses.dataclass
class Tracker:
    project: str = "grpo"
    api_key: str = dataclasses.field(default_factory=secret)


@dataclasses.dataclass
class Run:
    lr: float = 1e-3
    tracker: Tracker = dataclasses.field(default_factory=Tracker)
    trackers: list[Tracker] = dataclasses.field(default_factory=lambda: [Tracker(), Tracker()])


@dataclasses.dataclass(repr=False)
class Quiet:
    """One whose representation says nothing."""

    hub_token: str = dataclasses.field(default_factory=secret)


@dataclasses.dataclass
class Hidden:
    """One field is kept out of its representation, whatever it is called."""

    lr: float = 1e-3
    entrance: str = dataclasses.field(default_factory=secret, repr=False)


class Shown:
    """No kind of configuration that anyone knows; its representation is all there is."""

    def __init__(self) -> None:
        self.password = secret()

    def __repr__(self) -> str:
        return f"Shown(user='me', password={self.password!r}, depth=2)"


class ConfigDict:
    """As ml_collections and Hugging Face have it."""

    def to_dict(self) -> dict[str, Any]:
        return {"model": {"hf_token": secret(), "width": 8}, "lr": 0.1}


class Settings(dict[str, Any]):
    """A dict of a class of its own, as OmegaConf and others have them."""


Login = namedtuple("Login", "user password")


def _pydantic() -> Any:
    """Of pydantic if it is there: one nested in another, and a field that is kept out of sight."""
    try:
        pydantic = importlib.import_module("pydantic")
    except ImportError:
        return Run()
    inner = pydantic.create_model(
        "Inner", access_token=(str, secret()), door=(str, pydantic.Field(secret(), repr=False))
    )
    outer = pydantic.create_model(
        "Outer", inner=(inner, inner()), key=(pydantic.SecretStr, pydantic.SecretStr(secret()))
    )
    return outer(inner=inner())


def _collections() -> Any:
    """Of ml_collections if it is there."""
    try:
        config_dict = importlib.import_module("ml_collections").ConfigDict
    except ImportError:
        return ConfigDict()
    return config_dict({"optimizer": {"lr": 0.1}, "wandb": {"api_key": secret()}})


def _pem() -> str:
    return f"-----BEGIN RSA PRIVATE KEY-----\n{secret()}\n{secret()}\n-----END RSA PRIVATE KEY-----\n"


def hostile() -> dict[str, Any]:
    """More than thirty of them."""
    return {
        "mapping": {"model": "small", "api_key": secret(), "nested": {"deep": {"client_secret": secret()}}},
        "dataclasses": Run(),
        "dataclass without repr": Quiet(),
        "dataclass with a hidden field": Hidden(),
        "pydantic": _pydantic(),
        "ml_collections": _collections(),
        "to_dict": ConfigDict(),
        "argparse": Namespace(lr=0.1, hub_token=secret(), tracker=Namespace(password=secret())),
        "namespace": SimpleNamespace(auth=("me", secret()), passphrase=secret()),
        "dict of its own class": Settings(db=OrderedDict(db_password=secret(), port=5432)),
        "named tuple": {"logins": [Login("me", secret()), Login("you", secret())]},
        "dicts in lists": {
            "stages": [{"steps": 5}, [{"tokens": {"access_token": secret()}}], ({"pwd": secret()},)]
        },
        "lists under a name": {
            "api_keys": [secret(), secret()],
            "passwords": (secret(), [secret()]),
            "secrets": {"a": {"b": secret()}},
        },
        "camelCase": {
            "apiKey": secret(),
            "accessToken": secret(),
            "dbPassword": secret(),
            "clientSecret": secret(),
            "accountKey": secret(),
        },
        "kebab-case": {
            "api-key": secret(),
            "x-api-key": secret(),
            "private-key": secret(),
            "refresh-token": secret(),
        },
        "UPPER_CASE": {
            "APIKEY": secret(),
            "HF_TOKEN": secret(),
            "DB_PASSWORD_2": secret(),
            "X.API.KEY": secret(),
            "APIKey1": secret(),
        },
        "environment": {
            "env": {
                "WANDB_API_KEY": secret(),
                "AWS_SECRET_ACCESS_KEY": secret(),
                "OPENAI_API_KEY": secret(),
                "HUGGING_FACE_HUB_TOKEN": secret(),
                "DATABASE_URL": f"postgres://me:{secret()}@db:5432/x",
                "PATH": "/usr/bin",
            }
        },
        "environment of a container": {
            "env": [{"name": "API_KEY", "value": secret()}, {"name": "LR", "value": "0.1"}]
        },
        "environment file": {
            "dotenv": f"LR=0.1\nexport HF_TOKEN={secret()}\nSMTP_PASS = '{secret()} and {secret()}'\n"
        },
        "URLs with users": {
            "remote": f"https://me:{secret()}@github.com/a/b",
            "cache": f"redis://:{secret()}@cache:6379/0",
            "store": f"mongodb+srv://me:p/{secret()}@db/x",
            "clone": f"https://{secret() * 2}@github.com/a/b",
            "path": Path(f"https://me:{secret()}@host/x"),
            f"https://me:{secret()}@host": 1,
        },
        "URLs with queries": {
            "hook": f"https://host/x?user=a&access_token={secret()}&n=1",
            "maps": f"https://host/x?key={secret()}",
            "blob": f"https://x.blob.net/c?sv=2022&sig={secret()}%3D",
            "s3": f"s3://b/k?X-Amz-Signature={secret()}&X-Amz-Security-Token={secret()}",
        },
        "headers": {
            "headers": {
                "Authorization": f"Bearer {secret()}",
                "Cookie": f"session={secret()}",
                "X-Api-Key": secret(),
            },
            "curl": f"curl -H 'Authorization: Basic {secret()}' -H \"X-Api-Key: {secret()}\" -u me:{secret()} https://host",
            "extra": [f"Authorization: Bearer {secret()}", f"Proxy-Authorization: token {secret()}"],
        },
        "pairs": {
            "headers": [
                ("Authorization", f"Bearer {secret()}"),
                ("X-Api-Key", secret()),
                ["Accept", "text/html"],
            ]
        },
        "JSON in strings": {
            "service": json.dumps(
                {"type": "account", "private_key": secret(), "nested": [{"auth": {"password": secret()}}]}
            ),
            "twice": json.dumps({"inner": json.dumps({"api_key": secret(), "n": 1})}),
            "in text": f'sent {{"api_key": "{secret()}", "n": 1}} and {{\\"token\\": \\"{secret()}\\"}}',
            "python": f"{{'secret': '{secret()}', 'n': 1}} Config(api_key='{secret()}', n=1)",
        },
        "YAML in strings": {
            "file": f'wandb:\n  api_key: {secret()}\n  project: x\ndb: {{password: "{secret()}", n: 1}}\n'
        },
        "bytes and paths": {
            "password": secret().encode(),
            "raw": f"token={secret()}".encode(),
            "token": Path(secret()),
            "pem": _pem().encode(),
        },
        "enums and partials": {
            "credential": Vendor.KEY,
            "make": functools.partial(max, api_key=secret()),
            "object": Shown(),
        },
        "numbers": {"password": (10**17), "pins": {"passcode": [1234567, 0.5]}, "api_key": secret()},
        "command lines": {
            "argv": [
                "train.py",
                "--api-key",
                secret(),
                f"--hf_token={secret()}",
                "--lr",
                "0.1",
                f"wandb.api_key={secret()}",
            ],
            "command": f"python train.py --api-key {secret()} --password='{secret()} x' --lr 0.1",
        },
        "vendors' own names": {
            name: secret()
            for name in (
                *(
                    "PGPASSWORD",
                    "KAGGLE_KEY",
                    "GEMINI_KEY",
                    "DEEPSEEK_KEY",
                    "SERPAPI_KEY",
                    "AZURE_STORAGE_KEY",
                ),
                *("RABBITMQ_DEFAULT_PASS", "SSHPASS", "db_pw", "openai_key", "anthropic_key"),
            )
        },
        "names in strings that begin with underscores": {
            "call": f"_password={secret()} f(__api_key='{secret()}')",
            "npmrc": f"//localhost:4873/:_authToken={secret()}",
            "dsn": f"u:{secret()}@h:5432/db",
            "list": [{"a": 1}, ("token", secret())],
        },
        "tokens by their looks": {
            "note": f"use hf_{secret() * 2} or ghp_{secret() * 2} here",
            "key": _pem(),
            "jwt-like": _json_web_token(),
            "slack": f"xoxb-123-{secret()}",
            "model": f"sk-proj-{secret() * 2}",
            "text": [f"glpat-{secret() * 2}"],
        },
    }


def with_look_alikes(config: Any) -> dict[str, Any]:
    """The configuration under a name of its own, beside what only sounds like a credential."""
    return {**LOOK_ALIKES, "settings": config, "layers": [dict(LOOK_ALIKES)]}
