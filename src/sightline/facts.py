"""What a run was: its configuration as plain data without secrets, versions, command, git, host."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("sightline", "jax", "jaxlib", "flax", "optax", "numpy")
_SECRET_WORDS = {"password", "passwd", "secret", "secrets", "authorization", "credential", "credentials", "token"}
_SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")}
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]+):([^/@\s]+)(?=@)")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
REDACTED = "[redacted]"


def plain(config: Any) -> Any:
    """A configuration as JSON data: dataclasses, mappings, pydantic models, namespaces, paths, arrays' shapes.

    Example:
        >>> plain({"lr": 1e-3, "out": Path("runs"), "layers": (1, 2)})
        {'lr': 0.001, 'out': 'runs', 'layers': [1, 2]}
    """
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Namespace):
        return plain(vars(config))
    if hasattr(config, "model_dump"):
        return plain(config.model_dump())
    if hasattr(config, "to_dict"):
        return plain(config.to_dict())
    if isinstance(config, Mapping):
        return {str(key): plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple, set, frozenset)):
        return [plain(value) for value in config]
    if callable(config):
        return getattr(config, "__qualname__", repr(config))
    return str(config)


def redacted(config: Any, *, _secret: bool = False) -> Any:
    """Plain data with credentials taken out, by whole words of their names and in URLs; strings only.

    Example:
        >>> redacted({"api_key": "abc", "pad_token_id": 0, "max_tokens": 8, "tokenizer": "byte"})
        {'api_key': '[redacted]', 'pad_token_id': 0, 'max_tokens': 8, 'tokenizer': 'byte'}
        >>> redacted({"url": "https://me:hunter2@host/x"})
        {'url': 'https://me:[redacted]@host/x'}
    """
    if isinstance(config, dict):
        return {key: redacted(value, _secret=_secret or _names_secret(key)) for key, value in config.items()}
    if isinstance(config, list):
        return [redacted(value, _secret=_secret) for value in config]
    if isinstance(config, str):
        return REDACTED if _secret and config else _URL_PASSWORD.sub(rf"\1:{REDACTED}", config)
    return config


def _names_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    return (
        any(word in _SECRET_WORDS for word in words) or any(pair in _SECRET_PAIRS for pair in zip(words, words[1:]))
    ) and words[-1] not in ("id", "ids")


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
