"""YAML into frozen dataclasses, strictly: an unknown key or a wrong type is an error that names it.

A config is a tree of frozen dataclasses. `load` starts from the defaults, lays the file over them and then
each `--set a.b=c` in order, and builds the tree. Nothing is read from the environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """A config that cannot be used; the message names the key, what was found and what is possible."""


def load(cls: type[T], file: str | Path | None = None, overrides: Sequence[str] = ()) -> T:
    """The config of type `cls` from a YAML file (optional) and `key.path=value` overrides."""
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            read = _yaml(Path(file).read_text(encoding="utf-8"), str(file), has_lines=True)
        except OSError as e:
            raise ConfigError(f"cannot read the config file {str(file)!r}: {e.strerror}") from e
        except UnicodeDecodeError as e:
            raise ConfigError(f"{file}: cannot be read as UTF-8 text: {e}") from e
        if not isinstance(read, dict | None):
            raise ConfigError(f"{file}: expected a mapping of config keys, found {type(read).__name__}")
        tree = read or {}
    for override in overrides:
        _lay_over(cls, tree, override)
    return build(cls, tree)


def build(cls: type[T], tree: Mapping[str, Any], path: str = "") -> T:
    """`cls` from nested mappings, checking every key and value. `path` prefixes the names in errors."""
    hints = typing.get_type_hints(cls)
    known = {field.name: hints[field.name] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in tree:
        if key not in known:
            raise ConfigError(_unknown(f"{path}{key}", str(key), list(known)))
    values = {key: _convert(known[key], value, f"{path}{key}") for key, value in tree.items()}
    try:
        return cls(**values)
    except ConfigError as e:  # raised by a __post_init__, which does not know where its section sits
        raise ConfigError(f"{path}{e}") from e


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain nested dicts and lists, as YAML and JSON have them."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def to_yaml(config: Any) -> str:
    """What `--print-config` prints; it can be read back with `--config`."""
    text: str = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    return text


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; the first value would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml(text: str, where: str, *, has_lines: bool = False) -> Any:
    """What YAML says; an error is one line, with the line that is wrong if the text has lines."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as e:
        line = f":{e.problem_mark.line + 1}" if has_lines and e.problem_mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML: {e.problem}") from e
    except yaml.YAMLError as e:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(e).split())}") from e


def _lay_over(cls: type, tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: expected key.path=value, for example --set seed=1")
    value = _yaml(text, f"--set {override!r}")
    *sections, last = key.split(".")
    at: type = cls
    for depth, section in enumerate(sections):
        hints = typing.get_type_hints(at)
        name = ".".join(sections[: depth + 1])
        if section not in hints:
            raise ConfigError(_unknown(name, section, list(hints)))
        if not dataclasses.is_dataclass(hints[section]):
            raise ConfigError(f"config key {name!r} is a value, not a section: {key!r} does not exist")
        at = typing.cast(type, hints[section])
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"config key {name!r}: expected a mapping, found {tree!r}")
    tree[last] = value


def _unknown(name: str, key: str, possible: list[str]) -> str:
    close = difflib.get_close_matches(key, possible, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown config key {name!r}.{hint} Possible here: {', '.join(sorted(possible))}"


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"config key {name!r}: expected a mapping of keys, found {value!r}")
        return build(typing.cast(type, kind), value, f"{name}.")
    if origin is Literal:
        if value in options:
            return value
        raise ConfigError(f"config key {name!r}: found {value!r}, possible: {', '.join(map(repr, options))}")
    if origin in (Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        (inner,) = [option for option in options if option is not type(None)]
        return _convert(inner, value, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"config key {name!r}: expected a list, found {value!r}")
        return tuple(_convert(options[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    # YAML 1.1 reads 1e-3 (no dot) as a string; people write it, so it is a float here.
    if kind is float and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"config key {name!r}: expected a finite number, found {value}")
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"config key {name!r}: expected {kind.__name__}, found {value!r}")
