"""SL102: collectives that feed a metric.

What decides is where the gathered values go. Into a metric: a finding. Into a size (the padded length of a
batch), into a decision, or whole into a computation that needs them (advantages over all processes): none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sightline.lint import advice, words
from sightline.lint.findings import GATHERED_METRIC, Finding
from sightline.lint.libraries import EXTREMES, MEANS, SUMS
from sightline.lint.source import Source
from sightline.lint.syntax import last_name
from sightline.lint.values import Kind, Origin, Use

_NEEDED = {Use.SIZE, Use.NEEDED}
_WORDS = {
    "process_allgather": "process_allgather moves every process's values to all of them",
    "all_gather": "all_gather moves every device's values to all of them",
}


def findings(source: Source, origins: Iterable[Origin]) -> Iterator[Finding]:
    """The collectives whose values become metrics, and the recording calls that need none."""
    found = [origin for origin in origins if origin.kind is Kind.GATHERED and _feeds_a_metric(origin)]
    outer = {origin.inner for origin in found}
    found = [origin for origin in found if origin not in outer or not _is_only_returned(origin)]
    for origin in found:
        if origin.inner not in found:
            yield source.finding(
                GATHERED_METRIC, origin.node, advice.instead_of_gathering(source, origin), _why(origin)
            )


def _why(origin: Origin) -> str:
    moved = _WORDS.get(origin.how, f"{origin.how} exchanges values over all processes")
    return f"{moved}, and holds each until the slowest is there, for numbers that a commit merges anyway."


def _is_only_returned(origin: Origin) -> bool:
    """Whether it is a helper's, whose callers say what becomes of it."""
    return origin.is_ratio and not origin.uses & {Use.METRIC, Use.PRINT}


def _keys(origin: Origin) -> Iterator[str]:
    """Under which keys it was found, also in the function that gathers."""
    inner: Origin | None = origin
    while inner is not None:
        yield from inner.keys
        inner = inner.inner


def _feeds_a_metric(origin: Origin) -> bool:
    uses = origin.uses
    if uses & _NEEDED and not (Use.METRIC in uses and origin.of_metrics):
        return False
    if Use.METRIC in uses:
        return True
    if origin.how.startswith("comm."):
        return False  # MPI has many other uses
    if origin.how == "all_gather" or uses & {Use.CONTROL, Use.PASSED}:
        return False
    named = [*origin.names, last_name(origin.operand) if origin.operand is not None else ""]
    if origin.reduces and any("norm" in words.words(name) for name in named):
        return False  # of gradients in shards, by which they are clipped
    if origin.few and origin.is_ratio and uses & {Use.PRINT, Use.RETURNED, Use.NUMBER}:
        return True  # hits over answers, whatever these are called
    if origin.reduces and uses & {Use.NUMBER, Use.PRINT}:
        return True
    if origin.reductions & MEANS:
        return True
    if any(map(words.is_size, [*named, *_keys(origin)])):
        return False
    if origin.reductions & SUMS:
        return True
    return bool(origin.reductions & EXTREMES) and Use.NUMBER in uses
