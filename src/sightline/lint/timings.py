"""SL104: times that are taken by hand and become metrics.

A difference of two readings of a clock counts once it stands in a dict of metrics, is logged or recorded. One
that is only printed, compared or waited for (a deadline, a back-off) does not. A benchmark may time itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sightline.lint import advice, words
from sightline.lint.findings import HAND_MADE_TIMING, Finding
from sightline.lint.source import Source
from sightline.lint.values import Kind, Origin, Use

_RATE = re.compile(r"(\w+?)_?(?:per|/)_?(?:s|sec|second)|throughput|tps|\w+_throughput")


def findings(source: Source, origins: Iterable[Origin]) -> Iterator[Finding]:
    """The differences of clocks that become metrics, and the timings to record instead."""
    found = [origin for origin in origins if origin.kind is Kind.ELAPSED and Use.METRIC in origin.uses]
    for origin in found:
        if origin.inner not in found:
            yield source.finding(HAND_MADE_TIMING, origin.node, _instead(origin))


def _is_container(name: str) -> bool:
    """Whether a variable is the dict in which a time stands, and not the time."""
    return words.is_metrics_class(name) or (words.is_metrics(name) and not words.is_time(name))


def _instead(origin: Origin) -> str:
    keys = list(origin.keys)
    name = advice.timing_name(
        [key for key in keys if words.is_time(key) or words.is_counter(key)],
        [name for name in origin.names if not _is_container(name)],
    )
    timing = (
        f'with sl.record_timing("{name}"): …  # until a device is done: … as timing; timing.until(result)'
    )
    for key in keys:
        last = key.rpartition("/")[2]
        if found := _RATE.fullmatch(last):
            amount = found[1] or "tokens"
            return f'{timing}\nsl.rate("{amount}", {amount}, over="{name}")'
    return timing
