"""What ``wandb.log`` takes, as names with numbers and short texts: what a journal holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sightline.host_values import to_number, to_numbers, where_are
from sightline.naming import COUNT_SUFFIX, check_key, folders_among

log = logging.getLogger("sightline")

_LONGEST_TEXT = 10_000
_said: set[str] = set()


def say_once(about: str, message: str, *arguments: object, exc_info: bool = False) -> None:
    """A warning in the log, once a process for what it is about."""
    if about not in _said:
        _said.add(about)
        log.warning("sightline: " + message, *arguments, exc_info=exc_info)


class Nothing:
    """Takes every call and attribute, and does nothing."""

    def __call__(self, *_: Any, **__: Any) -> Nothing:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False


class Media(Nothing):
    """A picture, film or other thing that a journal does not hold; logged as the text that describes it.

    Args:
        kind: what W&B calls it.
    """

    def __init__(self, kind: str, *arguments: Any, **options: Any) -> None:
        self.kind = kind
        self.arguments = arguments
        self.caption = options.get("caption")

    def describe(self) -> str:
        """``Image (64, 64, 3): a cat``."""
        first = self.arguments[0] if self.arguments else ""
        found = first if isinstance(first, str) else getattr(first, "shape", getattr(first, "size", ""))
        caption = "" if self.caption is None else f": {self.caption}"
        return f"{self.kind} {found}".rstrip() + caption

    def __bool__(self) -> bool:
        return True


class Table(Media):
    """Rows under columns, as far as callers build them; logged as how many there are, the rows not."""

    def __init__(self, columns: Any = None, data: Any = None, rows: Any = None, **options: Any) -> None:
        super().__init__("Table", **options)
        self.columns: list[Any] = []
        self.data: list[list[Any]] = []
        try:
            frame = options.get("dataframe")
            if frame is not None:
                columns, data = frame.columns, frame.to_numpy().tolist()
            self.columns = list(("Input", "Output", "Expected") if columns is None else columns)
            given = data if data is not None else rows if rows is not None else ()
            self.data = [list(row) for row in given]
        except Exception as error:  # noqa: BLE001 - into training
            say_once("table", "wandb.Table: not all of it is understood: %s", error)

    def add_data(self, *row: Any) -> None:
        """One row more."""
        self.data.append(list(row))

    def add_column(self, name: Any, data: Any) -> None:
        """One column more."""
        values = list(data)
        self.data = self.data or [[] for _ in values]
        self.columns.append(name)
        for row, value in zip(self.data, values, strict=False):
            row.append(value)

    def describe(self) -> str:
        """``Table of 12 rows: prompt, reward``."""
        return f"Table of {len(self.data)} rows: {', '.join(map(str, self.columns))}"


def flattened(data: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested dicts, the names joined by dots as W&B joins them.

    Example:
        >>> dict(flattened({"a": {"b": 1, "c": {"d": 2}}, "e/f": 3}))
        {'a.b': 1, 'a.c.d': 2, 'e/f': 3}
    """
    for name, value in data.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flattened(value, f"{key}.")
        else:
            yield key, value


def as_stats(data: Mapping[Any, Any]) -> dict[str, Any]:
    """The names and values of one ``log``, ready to be committed.

    Numbers, arrays of one element (on devices too, which are not waited for) and strings stay. An array of
    more becomes its ``/mean``, ``/std``, ``/min`` and ``/max``; media become texts; None is left out. What
    cannot be held is left out with a warning, said once for the key.

    Example:
        >>> as_stats({"loss": 0.5, "ok": True, "note": "x", "none": None, "a": [1, 3]})
        {'loss': 0.5, 'ok': 1, 'note': 'x', 'a/mean': 2.0, 'a/std': 1.0, 'a/min': 1.0, 'a/max': 3.0}
    """
    stats: dict[str, Any] = {}
    for key, value in flattened(data):
        try:
            found = dict(_of(key, value))
            for name in found:
                check_key(name.removesuffix(COUNT_SUFFIX))
        except Exception as error:  # noqa: BLE001 - of a foreign object; it must not reach the training loop
            say_left_out(key, error)
        else:
            stats.update(found)
    return stats


def say_left_out(key: str, error: Exception) -> None:
    """Once for the key."""
    say_once(f"value {key}", "%r is left out of what is logged: %s (said once)", key, error)


def without_folders(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same, divided so that in no part one key is the folder of another.

    Example:
        >>> without_folders({"accuracy": 1, "accuracy/pass_at_1": 2, "loss": 3})
        [{'accuracy/pass_at_1': 2, 'loss': 3}, {'accuracy': 1}]
    """
    folders = folders_among(key for key in stats if not key.endswith(COUNT_SUFFIX))
    rest = {key: value for key, value in stats.items() if key not in folders}
    return [rest, *without_folders({key: stats[key] for key in folders})] if folders else [rest]


def _of(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What one value becomes, by what it is."""
    where = where_are([[value]])
    if value is None:
        return
    if isinstance(value, Media):
        yield key, value.describe()[:_LONGEST_TEXT]
    elif isinstance(value, str):
        yield key, value[:_LONGEST_TEXT]
    elif where == "tracer":
        raise ValueError("it is a traced value, without a number; return it from the jitted function")
    elif where == "device" and value.size == 1 and not key.endswith(COUNT_SUFFIX):
        yield key, value
    elif isinstance(value, (list, tuple)) or getattr(value, "shape", ()) != ():
        yield from _of_array(key, value)
    elif key.endswith(COUNT_SUFFIX):
        if not float(value).is_integer():
            raise ValueError(f"{value!r} is no whole number, and {COUNT_SUFFIX!r} is kept for counts")
        yield key, int(value)
    elif isinstance(value, (int, float, np.generic, np.ndarray)):
        number = to_number("log", key, value)
        yield key, int(number) if isinstance(number, bool) else number
    elif hasattr(value, "__float__"):
        yield key, float(value)
    else:
        yield key, type(value).__name__


def _of_array(key: str, values: Any) -> Iterator[tuple[str, float]]:
    numbers = to_numbers("log", key, values).astype(np.float64)
    if numbers.size == 1:
        yield key, float(numbers.item())
    elif numbers.size:
        for name in ("mean", "std", "min", "max"):
            yield f"{key}/{name}", float(getattr(numbers, name)())
