"""What a commit's line of the journal says, as sinks without kinds of their own take it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sightline.sinks.base import Record
from sightline.support.foreign_numbers import position, seconds, whole

SEQ = "sightline/seq"  #: under this name each record in a back end has the seq of its commit
KINDS = {"nan", "inf", "-inf"}


class Lines(NamedTuple):
    """The lines of one commit.

    Attributes:
        commit: the one with its values and texts.
        histograms, samples: the lines of these types.
    """

    commit: Record
    histograms: list[Record]
    samples: list[Record]


def together(records: Iterable[Record]) -> Iterator[Lines]:
    """The commits among some records, each with all of its lines.

    Example:
        >>> lines = [("run", None), ("commit", 1), ("sample", 1), ("commit", 2)]
        >>> for each in together({"type": kind, "seq": seq} for kind, seq in lines):
        ...     each.commit["seq"], len(each.samples)
        (1, 1)
        (2, 0)
    """
    for seq, lines in itertools.groupby(records, key=lambda record: record.get("seq")):
        by_type: dict[Any, list[Record]] = {}
        for line in lines:
            by_type.setdefault(line.get("type"), []).append(line)
        for commit in by_type.get("commit", ()) if seq is not None else ():
            yield Lines(commit, by_type.get("histogram", []), by_type.get("sample", []))


def is_commit(record: Mapping[str, Any]) -> bool:
    """Whether a record is a commit's line, with all that one has."""
    return (
        record.get("type") == "commit"
        and position(record.get("seq")) is not None
        and isinstance(record.get("step"), int)
        and isinstance(record.get("values"), dict)
    )


def is_sound(commit: Record) -> bool:
    """Whether what a commit has besides its values is of the right kinds: anybody may edit a file."""
    moment, attempt = commit.get("time") or 0.0, commit.get("attempt") or 1
    nonfinite, missing, texts = (commit.get(name) or () for name in ("nonfinite", "missing", "texts"))
    return (
        is_number(commit["step"])
        and is_number(attempt)
        and seconds(moment) is not None
        and (
            nonfinite == ()
            or (isinstance(nonfinite, dict) and KINDS.issuperset(map(str, nonfinite.values())))
        )
        and (missing == () or (isinstance(missing, list) and all(map(is_number, missing))))
        and (texts == () or (isinstance(texts, dict) and all(isinstance(e, str) for e in texts.values())))
    )


def is_number(value: Any) -> bool:
    """Whether it is one of a step, an attempt or a process: of a size that NumPy's integers have."""
    return whole(value) is not None


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
