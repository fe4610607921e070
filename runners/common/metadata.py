"""A checkpoint's metadata: fields of the kinds that they should be, and whether the data is what it was.

`position` in it counts rows of an order that follows from settings and data. So a run goes on with those
that it began with, or not at all: with others, rows would come twice and others never, without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from runners.common.config import ConfigError, build
from runners.common.errors import CheckpointError

T = TypeVar("T")


def field(
    source: Path, meta: Mapping[str, Any], name: str, right: Callable[[Any], bool], expected: str
) -> Any:
    """One field.

    Args:
        source: the directory of the checkpoint, for the message.
        right: whether a value can be this field's.
        expected: what `right` asks for, in words.

    Raises:
        CheckpointError: it is missing, or it is something else.
    """
    if name in meta and right(meta[name]):
        return meta[name]
    found = f"found {_short(meta[name])}" if name in meta else "there is none"
    raise CheckpointError(f"{source}/meta: {name}: expected {expected}, {found}; it may be damaged")


def count(source: Path, meta: Mapping[str, Any], name: str) -> int:
    """A field that counts. Raises as `field`."""
    number: int = field(source, meta, name, lambda n: _is_int(n) and n >= 0, "a count")
    return number


def numbers(source: Path, meta: Mapping[str, Any], name: str, most: int = 2**31) -> list[int] | None:
    """A field with a number from 0 to `most` for each row of an evaluation, or none. Raises as `field`."""
    found: list[int] | None = field(
        source,
        meta,
        name,
        lambda x: x is None or _is_list(x, lambda n: _is_int(n) and 0 <= n <= most),
        f"a list of whole numbers up to {most}, or null",
    )
    return found


def mapping(source: Path, meta: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that is a JSON object. Raises as `field`."""
    found: dict[str, Any] = field(source, meta, name, lambda x: isinstance(x, dict), "an object")
    return found


def texts(source: Path, meta: Mapping[str, Any], name: str) -> list[str]:
    """A field that is a list of strings. Raises as `field`."""
    found: list[str] = field(
        source, meta, name, lambda x: _is_list(x, lambda each: isinstance(each, str)), "a list of strings"
    )
    return found


def section(source: Path, meta: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A field with all that a dataclass has, and nothing else. Raises as `field`."""
    found = mapping(source, meta, name)
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name not in found:
            raise CheckpointError(f"{source}/meta: {name}.{each.name}: there is none; it may be damaged")
    try:
        return build(kind, found, f"{name}.")
    except ConfigError as e:
        raise CheckpointError(f"{source}/meta: {e}; it may be damaged") from e


def check_same(source: Path, meta: Mapping[str, Any], name: str, now: Mapping[str, object]) -> None:
    """Whether the values under a field are those of now, as far as both have them.

    Raises:
        CheckpointError: they are not; those that differ are named with both values.
    """
    if name not in meta:
        return  # from before this was kept
    saved = mapping(source, meta, name)
    differing = [
        f"{key} was {saved[key]} and is {value}"
        for key, value in now.items()
        if key in saved and saved[key] != value
    ]
    if differing:
        raise CheckpointError(
            f"{source}: {'; '.join(differing)}: other rows would come next; go on with what it was, or begin "
            f"another run"
        )


def describe_rows(rows: Iterable[str]) -> str:
    """How many there are, and a digest of all of them in their order.

    Example:
        >>> describe_rows(["a b", "c"]), describe_rows(["c", "a b"])
        ('2 rows, 31dc3c05031d', '2 rows, d451c34e13b1')
    """
    digest, number = hashlib.sha256(), 0
    for row in rows:
        digest.update(row.encode() + b"\0")
        number += 1
    return f"{number} rows, {digest.hexdigest()[:12]}"


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(of, value))


def _short(value: object, limit: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= limit else text[:limit] + "…"
