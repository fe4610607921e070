"""What a run was: its configuration as plain data without secrets, versions, command, git, host."""

from __future__ import annotations

import dataclasses
import enum
import math
import os
import platform
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sightline.support.redaction import REDACTED, redacted, redacted_command

__all__ = ["REDACTED", "plain", "redacted", "run_facts"]

_PACKAGES = ("sightline", "jax", "jaxlib", "flax", "optax", "numpy")
_SMALL = 16  # elements of an array that is written out
_DEEPEST = 100  # levels of a configuration; JSON's writer takes 254


def plain(config: Any) -> Any:
    """A configuration as JSON data.

    Takes dataclasses, mappings, sequences, sets, enums, namespaces, named tuples, pydantic models, whatever
    has ``to_dict``, NumPy and JAX numbers and small arrays; large arrays by dtype and shape, and anything
    else as its string. What UTF-8 cannot hold, as in file names of other encodings, is escaped, and what lies
    deeper than 100 levels is named by its type. Never raises.

    Example:
        >>> plain({"lr": 1e-3, "out": Path("runs"), "layers": (1, 2), "init": np.zeros((64, 64))})
        {'lr': 0.001, 'out': 'runs', 'layers': [1, 2], 'init': 'float64[64, 64]'}
    """
    return _plain(config, ())


def _plain(config: Any, inside: tuple[int, ...]) -> Any:
    if config is None or type(config) in (bool, float):
        return config
    if id(config) in inside:
        return "[recursive]"
    if len(inside) >= _DEEPEST:
        return f"[{type(config).__name__}]"
    inside = (*inside, id(config))
    try:
        if isinstance(config, enum.Enum):
            return _plain(config.value, inside)
        if isinstance(config, int):
            return int(config) if -(2**63) <= config < 2**64 else str(int(config))
        if isinstance(config, float):
            return float(config)
        if isinstance(config, str):
            return _utf8(config)
        children = _children(config)
        if isinstance(children, Mapping):
            return {_utf8(str(name)): _plain(value, inside) for name, value in children.items()}
        if isinstance(children, Sequence) and not isinstance(children, str):
            return [_plain(value, inside) for value in children]
        return _plain(children, inside)
    except Exception:  # noqa: BLE001 - a foreign object's own code, and no reason to stop a training run
        return f"[{_utf8(type(config).__name__)}]"


def _utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _children(config: Any) -> Any:
    """A mapping, a list, or something plainer than ``config``."""
    if isinstance(config, type):
        return config.__qualname__
    if dataclasses.is_dataclass(config):
        return {f.name: _shown(getattr(config, f.name), is_shown=f.repr) for f in dataclasses.fields(config)}
    if isinstance(config, (Namespace, SimpleNamespace)):
        return vars(config)
    if hasattr(config, "shape") and hasattr(config, "dtype"):
        small = math.prod(config.shape) <= _SMALL
        return np.asarray(config).tolist() if small else f"{config.dtype}{list(config.shape)}"
    if callable(getattr(config, "model_dump", None)):
        return _children_of_model(config)
    for method in ("to_dict", "_asdict"):  # ml_collections and others, named tuples
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


def _children_of_model(model: Any) -> Any:
    """Of pydantic's: as it dumps itself, the models in it by themselves."""
    dumped = model.model_dump()
    for name, field in getattr(type(model), "model_fields", {}).items():
        if name in dumped:
            value = getattr(model, name)
            inside = value if callable(getattr(value, "model_dump", None)) else dumped[name]
            dumped[name] = _shown(inside, is_shown=getattr(field, "repr", True))
    return dumped


def _shown(value: Any, *, is_shown: bool) -> Any:
    """A text that its class keeps out of its representation (``repr=False``) is kept out here too."""
    return REDACTED if not is_shown and value and isinstance(value, (str, bytes)) else value


def without_secrets(config: Any) -> Any:
    """A configuration as JSON data with credentials taken out. Never raises.

    Example:
        >>> without_secrets({"out": Path("runs"), "api_key": "abc"})
        {'out': 'runs', 'api_key': '[redacted]'}
    """
    try:
        return redacted(plain(config))
    except Exception:  # noqa: BLE001 - as it cannot be said that there is no credential in it
        return f"[{_utf8(type(config).__name__)}]"


def run_facts() -> dict[str, Any]:
    """Versions, command, git state and host of this process, as plain data; without what cannot be had."""
    asked: dict[str, Callable[[], Any]] = {
        "versions": _versions,
        "command": lambda: redacted_command(sys.orig_argv),
        "cwd": os.getcwd,  # may have been deleted
        "git": _git,
        "host": socket.gethostname,
        "pid": os.getpid,
        "started": time.time,
    }
    facts: dict[str, Any] = {}
    for name, ask in asked.items():
        with suppress(Exception):
            facts[name] = plain(ask())
    return facts


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git() -> dict[str, Any] | None:
    def ask(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, timeout=5, check=True,
            encoding="utf-8", errors="backslashreplace",  # names of branches are bytes
        )  # fmt: skip
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
