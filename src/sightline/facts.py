"""What a run was: its configuration as plain data without secrets, versions, command, git, host."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
import os
import platform
import re
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence, Set
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

_PACKAGES = ("sightline", "jax", "jaxlib", "flax", "optax", "numpy")
_SECRET_WORDS = frozenset(
    ("apikey", "authorization", "credential", "credentials", "passphrase", "passwd", "password", "pwd")
).union(("secret", "secrets", "token"))
_SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")}
_VOCABULARY = frozenset(("bos", "cls", "eos", "mask", "pad", "sep", "stop", "unk"))  # of pad_token, …
_IN_STRINGS = (
    re.compile(r"(?<=://)(?P<kept>[^/@\s:]*:)[^/\s]+(?=@)"),  # https://user:password@host
    re.compile(r"(?<=://)(?P<kept>)[^/@\s:]{20,}(?=@)"),  # https://token@host
    re.compile(r"(?P<kept>[?&](?:api_?key|\w*token|secret|password|sig|signature)=)[^&#\s]+", re.IGNORECASE),
    re.compile(r"(?P<kept>\b(?:authorization: *\w+|bearer) +)[\w.~+/=-]{8,}", re.IGNORECASE),
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SMALL = 16  # elements of an array that is written out
REDACTED = "[redacted]"


def plain(config: Any) -> Any:
    """A configuration as JSON data.

    Takes dataclasses, mappings, sequences, sets, enums, namespaces, named tuples, pydantic models, whatever
    has ``to_dict``, NumPy and JAX numbers and small arrays; large arrays by dtype and shape, and anything
    else as its string. Never raises.

    Example:
        >>> plain({"lr": 1e-3, "out": Path("runs"), "layers": (1, 2), "init": np.zeros((64, 64))})
        {'lr': 0.001, 'out': 'runs', 'layers': [1, 2], 'init': 'float64[64, 64]'}
    """
    return _plain(config, ())


def _plain(config: Any, inside: tuple[int, ...]) -> Any:
    if config is None or type(config) in (bool, float, str):
        return config
    if isinstance(config, enum.Enum):
        return _plain(config.value, inside)
    if isinstance(config, int):
        return int(config) if -(2**63) <= config < 2**64 else str(int(config))
    if isinstance(config, float):
        return float(config)
    if isinstance(config, str):
        return str(config)
    if id(config) in inside:
        return "[recursive]"
    inside = (*inside, id(config))
    try:
        children = _children(config)
        if isinstance(children, Mapping):
            return {str(name): _plain(value, inside) for name, value in children.items()}
        if isinstance(children, Sequence) and not isinstance(children, str):
            return [_plain(value, inside) for value in children]
        return _plain(children, inside)
    except Exception:  # noqa: BLE001 - a foreign object's own code, and no reason to stop a training run
        return f"[{type(config).__name__}]"


def _children(config: Any) -> Any:
    """A mapping, a list, or something plainer than ``config``."""
    if isinstance(config, type):
        return config.__qualname__
    if dataclasses.is_dataclass(config):
        return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    if isinstance(config, (Namespace, SimpleNamespace)):
        return vars(config)
    if hasattr(config, "shape") and hasattr(config, "dtype"):
        small = math.prod(config.shape) <= _SMALL
        return np.asarray(config).tolist() if small else f"{config.dtype}{list(config.shape)}"
    for method in ("model_dump", "to_dict", "_asdict"):  # pydantic, ml_collections and others, named tuples
        if callable(getattr(config, method, None)):
            return getattr(config, method)()
    if isinstance(config, (Mapping, list, tuple)):
        return config
    if isinstance(config, Set):
        return sorted(config, key=str)
    if isinstance(config, Sequence) and not isinstance(config, (bytes, bytearray, memoryview)):
        return list(config)
    if callable(config):
        return str(getattr(config, "__qualname__", config))
    return str(config)


def redacted(config: Any, *, _secret: bool = False) -> Any:
    """Plain data with credentials taken out: by whole words of their names, and in URLs and header lines.

    Example:
        >>> redacted({"api_key": "abc", "pad_token_id": 0, "max_tokens": 8, "tokenizer": "byte"})
        {'api_key': '[redacted]', 'pad_token_id': 0, 'max_tokens': 8, 'tokenizer': 'byte'}
        >>> redacted({"url": "https://me:hunter2@host/x"})
        {'url': 'https://me:[redacted]@host/x'}
    """
    if isinstance(config, dict):
        return {
            name: redacted(value, _secret=_secret or _names_secret(name)) for name, value in config.items()
        }
    if isinstance(config, list):
        return [redacted(value, _secret=_secret) for value in config]
    if _secret and config and not isinstance(config, bool):
        return REDACTED
    if isinstance(config, str):
        for pattern in _IN_STRINGS:
            config = pattern.sub(rf"\g<kept>{REDACTED}", config)
    return config


def _names_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in ("id", "ids"):
        return False
    pairs = list(itertools.pairwise(["", *words]))
    if any(first in _VOCABULARY and second == "token" for first, second in pairs):
        return False
    return any(pair in _SECRET_PAIRS or pair[1] in _SECRET_WORDS for pair in pairs)


def run_facts() -> dict[str, Any]:
    """Versions, command, git state and host of this process, as plain data."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "command": _redacted_command(sys.orig_argv),
        "cwd": os.getcwd(),
        "git": _git(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": time.time(),
    }


def _redacted_command(arguments: list[str]) -> list[str]:
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        secret = argument.startswith("-") and _names_secret(name)
        if hide_next:
            shown.append(REDACTED)
        elif (secret or _names_secret(name)) and equals and value:
            shown.append(f"{name}={REDACTED}")
        else:
            shown.append(redacted(argument))
        hide_next = secret and not equals
    return shown


def _git() -> dict[str, Any] | None:
    def ask(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()

    if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        return None
    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "branch": ask("rev-parse", "--abbrev-ref", "HEAD"),
            "dirty": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None
