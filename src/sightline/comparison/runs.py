"""Two or more runs beside each other: metrics at equal steps and times, settings, time for each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sightline.aliases import alias_targets
from sightline.comparison.levels import Difference, at_step, at_times, order
from sightline.sinks.commits import flat
from sightline.sinks.syncing import facts_of
from sightline.tables.table import matching
from sightline.views.history import History
from sightline.views.run_clock import RunClock

_NO_METRICS = ("*_s_slowest", "*_s_max", "obs/sink/*", "host/*")  # unless they are asked for
_NAMED = 3  # old names of a run
_FACTS = ("versions", "git", "host", "devices", "processes", "command", "cwd")


class Setting(NamedTuple):
    """A setting or a fact in which runs differ.

    Attributes:
        name: as in ``"config.model.width"``.
        values: of each run; None where it has none.
        has: whether each run has it.
    """

    name: str
    values: list[Any]
    has: list[bool]


class Stage(NamedTuple):
    """A timing.

    Attributes:
        key: as in ``"time/train/rollout_s"``.
        seconds: of each run, the mean over the steps that all have; None where a run has none.
        matters: of each run but the first, as in :class:`Difference`; None where it has none.
    """

    key: str
    seconds: list[float | None]
    matters: list[bool | None]


class Row(NamedTuple):
    """A metric at one place.

    Attributes:
        key: the metric.
        differences: of each run but the first from the first; None where one of the two has no value.
    """

    key: str
    differences: list[Difference | None]


@dataclass
class Comparison:
    """What runs differ in; the first one is what the others are compared with.

    Attributes:
        names: of the runs.
        step: the last step that all have reached, or the one that was asked for; None: not compared by step.
        elapsed: seconds that all have run for, or those asked for; None: not compared by time.
        at_step: the metrics at that step, those that matter first.
        at_time: the metrics after that time, in the same order.
        stages: timings, by how far they are apart.
        settings: configuration that is not the same.
        facts: versions, git, host, command that are not the same.
        only: for each run keys that another one lacks.
        notes: what whoever reads it should know.
        missing: runs whose ``run.json`` is not here.
    """

    names: list[str]
    step: int | None
    elapsed: float | None
    at_step: list[Row] = field(default_factory=list)
    at_time: list[Row] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    facts: list[Setting] = field(default_factory=list)
    only: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def compare(
    histories: Sequence[History],
    *,
    metrics: Sequence[str] = (),
    step: int | None = None,
    elapsed: float | None = None,
) -> Comparison:
    """Compares runs with the first of them.

    Args:
        histories: of the runs, read.
        metrics: patterns of keys; none: all but process numbers, maxima of timings, what
            hosts are like, and old names.
        step: compare at this step only.
        elapsed: compare after so many seconds only.

    Example:
        >>> import sightline as sl, tempfile
        >>> histories = []
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for rate in (1, 2):
        ...         with sl.start(folder, config={"rate": rate}, sinks=[], naming="off") as run:
        ...             for number in run.steps(20):
        ...                 sl.scalar(loss=number * rate)
        ...                 run.commit(number)
        ...         histories.append(History(run.dir))
        ...         _ = histories[-1].update()
        ...     found = compare(histories)
        >>> found.step, found.at_step[0].key, found.at_step[0].differences[0].matters
        (19, 'loss', True)
        >>> found.settings
        [Setting(name='rate', values=[1, 2], has=[True, True])]
    """
    names = [history.run_dir.resolve().name for history in histories]
    last_steps = [history.last_step for history in histories]
    clocks = [RunClock(history) for history in histories]
    reached = [each for each in last_steps if each is not None]
    everywhere = len(reached) == len(histories)
    if step is None and elapsed is None and everywhere:
        step, elapsed = min(reached), min(clock.total for clock in clocks)
    found = Comparison(names, step, elapsed)
    for name, last in zip(names, last_steps, strict=True):
        if last is None:
            found.notes.append(f"{name} has no commits yet")
    old_names = list(map(_old_names, histories))
    keys = _wanted(histories, old_names, metrics)
    common = set(keys[0]).intersection(*keys[1:])
    paired = [{key for old, key in names.items() if old in common} for names in old_names]
    found.only = [sorted(set(own) - common - under) for own, under in zip(keys, paired, strict=True)]
    for name, own in zip(names, old_names, strict=True):
        old = [each for each in own if each in common]
        if old and not metrics:
            more = f" and {len(old) - _NAMED} more" if len(old) > _NAMED else ""
            shown = ", ".join(f"{each} is {own[each]}" for each in old[:_NAMED])
            found.notes.append(f"by old names, which another run has alone: in {name} {shown}{more}")
    others_have = set().union(*keys[1:])
    shared = [key for key in keys[0] if key in others_have]
    for key in shared:
        series = [history.series(key) for history in histories]
        first, *others = series
        if step is not None:
            differences = [at_step(key, first, other, step) for other in others]
            if any(differences):
                row = Row(key, differences)
                if _is_timing(key) and not metrics:
                    matters = [each.matters if each else None for each in differences]
                    found.stages.append(Stage(key, _means(series, step), matters))
                else:
                    found.at_step.append(row)
        if elapsed is not None and not (_is_timing(key) and not metrics):
            passed = [clock(each.times) for clock, each in zip(clocks, series, strict=True)]
            differences = [
                at_times(key, first, other, passed[0], its, elapsed)
                for other, its in zip(others, passed[1:], strict=True)
            ]
            if any(differences):
                found.at_time.append(Row(key, differences))
    found.at_step.sort(key=_order)
    found.at_time.sort(key=_order)
    found.stages.sort(key=_apart, reverse=True)
    _compare_facts(found, [history.run_dir for history in histories])
    return found


def matters(row: Row) -> bool | None:
    """Of any of the runs: whether a difference matters; None: that cannot be told of one, and none does."""
    verdicts = [each.matters for each in row.differences if each is not None]
    return True if True in verdicts else None if None in verdicts else False


def _order(row: Row) -> tuple[int, float, str]:
    return min(order(each) for each in row.differences if each is not None)


def _apart(stage: Stage) -> float:
    first = stage.seconds[0] or 0.0
    return max((abs(each - first) for each in stage.seconds[1:] if each is not None), default=0.0)


def _is_timing(key: str) -> bool:
    return key.startswith("time/") and key.endswith("_s")


def _means(series: Sequence[Any], step: int) -> list[float | None]:
    """The means over the steps up to one that all runs have that have any."""
    some = [each for each in series if len(each.steps)]
    common = some[0].steps
    for each in some[1:]:
        common = np.intersect1d(common, each.steps, assume_unique=True)
    common = common[common <= step]
    means: list[float | None] = []
    for each in series:
        values = each.values[np.isin(each.steps, common)]
        values = values[np.isfinite(values)]
        means.append(float(np.mean(values)) if len(values) else None)
    return means


def _old_names(history: History) -> dict[str, str]:
    """The keys of a run that are old names, each with the key that it mirrors."""
    aliases = history.runs[-1].get("aliases") if history.runs else None
    if not isinstance(aliases, Mapping):
        return {}
    table = {str(key): tuple(names) for key, names in aliases.items()}
    has = set(history.keys)
    return {name: key for key in history.keys for name in alias_targets(key, table) if name in has}


def _wanted(
    histories: Sequence[History], old_names: Sequence[Mapping[str, str]], metrics: Sequence[str]
) -> list[list[str]]:
    """Of each run the keys that are compared.

    An old name is one of them where another run has it as a key of its own: so a run before a renaming is
    compared with one after it.
    """
    if metrics:
        fits = matching(metrics)
        return [[key for key in history.keys if fits(key)] for history in histories]
    plain = {
        key
        for history, old in zip(histories, old_names, strict=True)
        for key in history.keys
        if key not in old
    }
    return [
        [
            key
            for key in history.keys
            if (key in plain or key not in old) and not any(fnmatchcase(key, each) for each in _NO_METRICS)
        ]
        for history, old in zip(histories, old_names, strict=True)
    ]


def _compare_facts(found: Comparison, run_dirs: Sequence[Path]) -> None:
    facts = [facts_of(each) for each in run_dirs]
    for name, own in zip(found.names, facts, strict=True):
        if not own:
            found.missing.append(name)
    known = [dict(flat(own.get("config"))) if own.get("config") is not None else {} for own in facts]
    found.settings = _differing(known)
    others = []
    for own in facts:
        leaves = dict(flat({name: own[name] for name in _FACTS if own.get(name) is not None}))
        if isinstance(command := leaves.get("command"), list):
            leaves["command"] = " ".join(map(str, command))
        others.append(leaves)
    found.facts = _differing(others)
    if len(run_dirs) > 1 and all(own.get("git.dirty") is True for own in others):
        found.notes.append("all runs had changes that were not committed: their code may differ unseen")


def _differing(known: Sequence[Mapping[str, Any]]) -> list[Setting]:
    names = dict.fromkeys(name for own in known for name in own)
    settings = [
        Setting(name, [own.get(name) for own in known], [name in own for own in known]) for name in names
    ]
    return [
        each
        for each in settings
        if not all(each.has) or any(value != each.values[0] for value in each.values[1:])
    ]
