"""What a commit's line of the journal says, as sinks without kinds of their own take it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sightline.sinks.base import Record

SEQ = "sightline/seq"  #: under this name each record in a back end has the seq of its commit


def commits_in(records: Iterable[Record]) -> Iterator[Record]:
    """The commit lines among some records."""
    return (record for record in records if record.get("type") == "commit")


def values_of(commit: Record) -> dict[str, float]:
    """A commit's values as numbers, those that are not finite too.

    Example:
        >>> values_of({"values": {"loss": 0.5, "kl": None}, "nonfinite": {"kl": "-inf"}})
        {'loss': 0.5, 'kl': -inf}
    """
    kinds = commit.get("nonfinite") or {}
    return {
        key: float(kinds.get(key, "nan")) if value is None else value
        for key, value in commit["values"].items()
    }


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, under dotted names; lists are leaves.

    Example:
        >>> list(flat({"lr": 0.1, "model": {"width": 8, "heads": [1, 2]}}))
        [('lr', 0.1), ('model.width', 8), ('model.heads', [1, 2])]
    """
    if isinstance(config, Mapping) and config:
        for name, value in config.items():
            yield from flat(value, f"{prefix}.{name}" if prefix else str(name))
    elif config is not None or prefix:
        yield prefix or "config", config
