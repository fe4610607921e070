"""What the lint finds: rules with stable codes, and their findings at places in files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One kind of finding. Codes stay; a rule that goes takes its code with it."""

    code: str
    name: str
    why: str  # one sentence


ALLOW_WITHOUT_REASON = Rule(
    "SL001",
    "allow-without-reason",
    "An allow without its reason cannot be judged by whoever reads the code next.",
)
UNUSED_ALLOW = Rule(
    "SL002",
    "unused-allow",
    "Nothing is found here that this allow would permit.",
)
SINK_CALL = Rule(
    "SL101",
    "sink-call",
    "A tracker that is called directly sees this process alone, has its own keys and steps, and can hold or "
    "end training.",
)
GATHERED_METRIC = Rule(
    "SL102",
    "gathered-metric",
    "A collective for a metric holds every process until the slowest is there, and moves whole arrays for a "
    "few numbers.",
)
BLOCKING_READ = Rule(
    "SL103",
    "blocking-read",
    "Reading a step's output holds the loop until the device is done, so that it cannot run ahead.",
)
HAND_MADE_TIMING = Rule(
    "SL104",
    "hand-made-timing",
    "A difference of clocks is this process's alone, measures the dispatch of what JAX runs asynchronously, "
    "and is lost on an exception.",
)
UNCONVENTIONAL_KEY = Rule(
    "SL105",
    "unconventional-key",
    "The key is outside the naming conventions.",
)

RULES = (
    ALLOW_WITHOUT_REASON,
    UNUSED_ALLOW,
    SINK_CALL,
    GATHERED_METRIC,
    BLOCKING_READ,
    HAND_MADE_TIMING,
    UNCONVENTIONAL_KEY,
)


@dataclass(frozen=True, order=True)
class Finding:
    """One thing to change, or to allow.

    Args:
        path: the file, as it was named or found.
        line, column: from 1; columns count characters.
        code, name: of the rule.
        why: one sentence.
        instead: what to write in its place, one or more lines.
        note: said for the reader, without failing the check.
    """

    path: str
    line: int
    column: int
    code: str
    name: str
    why: str
    instead: str
    note: bool = False


@dataclass(frozen=True, order=True)
class Failure:
    """A file that could not be checked.

    Args:
        path: the file.
        line: where it is wrong, from 1; 0 where that is not known.
        message: what is wrong.
    """

    path: str
    line: int
    message: str


def codes(choices: Iterable[str]) -> frozenset[str]:
    """The codes that are meant by codes, beginnings of codes and names.

    Raises:
        ValueError: one that is none of these.

    Example:
        >>> sorted(codes(["SL101", "blocking-read"])), len(codes(["SL1"]))
        (['SL101', 'SL103'], 5)
    """
    chosen: set[str] = set()
    for choice in choices:
        wanted = choice.strip()
        found = {
            rule.code for rule in RULES if wanted and (rule.code.startswith(wanted) or rule.name == wanted)
        }
        if not found:
            known = ", ".join(f"{rule.code} ({rule.name})" for rule in RULES)
            raise ValueError(f"{choice!r} is no rule; there are {known}")
        chosen |= found
    return frozenset(chosen)
