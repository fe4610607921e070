"""Where the time of each step goes: from traces if they are small enough to be read, else from timings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.analysis.critical_path import main_parts
from sightline.analysis.run_analysis import Analysis, analyse
from sightline.analysis.stage_kinds import OTHER
from sightline.errors import RunDirectoryError
from sightline.report.other_names import alias_names
from sightline.report.packing import Packer
from sightline.views.history import History
from sightline.views.step_time import step_time

TRACE_BYTES = 24 << 20  # of all processes, that are read: some seconds
_BUCKETS = 300
_STAGES = 12  # drawn by themselves


class Shares(NamedTuple):
    """Where the time went.

    Attributes:
        source: ``"traces"`` or ``"timings"``.
        note: what is to be known of it.
        kinds: share of the steps' wall time by kind; they add up to 1 with ``other``.
        stages: rows of a table, the longest first: name, kind, share, seconds a step, slow process.
        steps: int64 ``[n]``, each the first of those joined.
        seconds: by stage float64 ``[n]``, a step's, with ``other``.
        critical: what the longest step waited for, see :func:`sightline.analysis.critical_path.main_parts`.
        problems: what could not be read.
    """

    source: str
    note: str
    kinds: dict[str, float]
    stages: list[dict[str, Any]]
    steps: NDArray[np.int64]
    seconds: dict[str, NDArray[np.float64]]
    critical: dict[str, Any] | None
    problems: list[str]


def shares(history: History, run_dirs: Sequence[Path]) -> Shares | None:
    """The best that can be said; None where nothing was timed."""
    traces = [path for run_dir in run_dirs for path in run_dir.glob("traces/*.json")]
    size = sum(path.stat().st_size for path in traces)
    why = ""
    if traces and size <= TRACE_BYTES:
        found, problems = _of_traces([each for each in run_dirs if any(each.glob("traces/*.json"))])
        if found is not None:
            return found
    elif traces:
        problems = []
        why = (
            f"The traces ({size / 1e6:.0f} MB) are too large for a page; `sightline trace summary` reads "
            f"them exactly. "
        )
    else:
        problems = []
    timings = _of_timings(history)
    if timings is None:
        return None
    return timings._replace(note=why + timings.note, problems=problems)


def _of_traces(run_dirs: Sequence[Path]) -> tuple[Shares | None, list[str]]:
    from sightline.timeline.stages import one_run, stage_spans

    try:
        timeline = one_run(run_dirs)
        found = analyse(stage_spans(timeline))
    except (RunDirectoryError, ValueError) as error:
        return None, [str(error)]
    report = timeline.report
    if not found.steps:
        return None, report.problems
    longest = max(found.steps, key=lambda step: step.wall_s)
    steps = np.array([step.step for step in found.steps], np.int64)
    names = dict.fromkeys(name for step in found.steps for name in step.stages)
    seconds = {
        name: np.array([step.stages.get(name, 0.0) for step in found.steps], np.float64) for name in names
    }
    processes = f"{len(found.processes)} process{'es' if len(found.processes) > 1 else ''}"
    note = f"From the traces of {processes}: each stage's own time, without the stages in it."
    if report.attempts > 1:
        note += " Of the last attempt."
    path = main_parts(longest.critical)
    critical = {
        "step": longest.step,
        "wall": longest.wall_s,
        "parts": [list(part) for part in path.parts],
        "is_in_order": path.is_in_order,
        "rest": path.rest_s,
        "count": path.parts_in_all,
    }
    return (
        Shares("traces", note, found.kinds, _stage_rows(found), *_thinned(steps, seconds), critical, []),
        report.problems,
    )


def _stage_rows(found: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "stage": stage.name, "kind": stage.kind, "share": stage.share, "spans": stage.spans,
            "own": stage.exclusive_s / max(1, found.loops),
            "mean": stage.mean_s, "p50": stage.p50_s, "p95": stage.p95_s,
            "slow": None if stage.slow is None else stage.slow._asdict() | {"chronic": stage.slow.is_chronic},
        }
        for stage in found.stages
    ]  # fmt: skip


def _of_timings(history: History) -> Shares | None:
    """By the timings that every commit has, as `sightline watch` goes by."""
    others = alias_names(history)
    found = step_time(history, [key for key in history.keys if key not in others])
    if found is None:
        return None
    rows = [
        {"stage": stage.name, "kind": stage.kind, "share": stage.own_share,
         "own": stage.own_s, "whole": stage.share if stage.seconds > stage.own_s else None, "slow": None}
        for stage in sorted(found.stages, key=lambda stage: -stage.own_s) if stage.key
    ]  # fmt: skip
    note = "From the timings of the commits, against the time between commits"
    if history.commits > 1:
        note += ", without the first step of each attempt"
    note += ": each stage's own time, without the stages that lie in it by their names."
    if found.overlaps:
        note += (
            " They overlap, so together they are longer than the steps: shares are of their sum. Traces tell "
            "them apart."
        )
    return Shares("timings", note, found.kinds, rows, *_thinned(found.steps, found.own), None, [])


def _thinned(
    steps: NDArray[np.int64], seconds: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """At most some hundred columns, each the mean of neighbours; small stages together."""
    by_size = sorted((name for name in seconds if name != OTHER), key=lambda name: -seconds[name].sum())
    shown = {name: seconds[name] for name in by_size[:_STAGES]}
    if len(by_size) > _STAGES:
        rest = by_size[_STAGES:]
        shown[f"{len(rest)} more stages"] = np.sum([seconds[name] for name in rest], axis=0)
    if OTHER in seconds:
        shown[OTHER] = seconds[OTHER]
    size = -(-len(steps) // _BUCKETS)
    starts = np.arange(0, len(steps), size)
    counts = np.diff(np.append(starts, len(steps)))
    return steps[starts], {name: np.add.reduceat(each, starts) / counts for name, each in shown.items()}


def packed(found: Shares, packer: Packer) -> dict[str, Any]:
    """As the page takes it."""
    return {
        "source": found.source, "note": found.note, "stages": found.stages, "critical": found.critical,
        "steps": packer.add(found.steps),
        "seconds": {name: packer.add(each) for name, each in found.seconds.items()},
    }  # fmt: skip
