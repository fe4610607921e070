"""What ``wandb.log`` takes, as names with numbers and short texts: what a journal holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sightline.compat.mllm_jax.media import Histogram, Media
from sightline.compat.mllm_jax.saying import say_once
from sightline.values.host_values import to_number, to_numbers, where_are
from sightline.values.naming import COUNT_SUFFIX, check_key, folders_among

_LONGEST_TEXT = 10_000


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
    more, or a ``Histogram``, becomes its ``/mean``, ``/std``, ``/min`` and ``/max``; media become texts, also
    a list of them; None is left out. What cannot be held is left out with a warning, said once for the key.

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
    if isinstance(value, Histogram) and value.values is not None:
        yield from _of_array(key, value.values)
    elif isinstance(value, Media):
        yield key, value.describe()[:_LONGEST_TEXT]
    elif isinstance(value, (list, tuple)) and value and all(isinstance(each, Media) for each in value):
        yield key, "; ".join(each.describe() for each in value)[:_LONGEST_TEXT]
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
