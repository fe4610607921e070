"""The figures at the top: how far a run is, whether it learns, and how well it uses its time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from sightline.analysis.stage_kinds import of_no_kind
from sightline.report.other_names import alias_names
from sightline.runs.run_state import RunState
from sightline.views.history import History
from sightline.views.run_clock import RunClock
from sightline.views.step_time import run_time
from sightline.views.troubles import absences

_WORD = r"(?:^|[/_]){}(?:$|[/_@])"
_LOWER = _WORD.format(
    r"(?:loss|perplexity|ppl|errors?|wer|cer|nll|invalid|duplicates?|failures?|failed|bits_per_byte)"
)
_HIGHER = _WORD.format(
    r"(?:accuracy|acc|rewards?|score|pass|hr|recall|precision|ndcg|mrr|map|auc|success|win_rate|win|f1|bleu|rouge"
    r"|correct|solved|exact_match|return)"
)
_BEST = 40
_LEARNT = (
    r"^train/reward/total/mean$", r"^train/reward(/mean)?$", r"reward.*mean$", r"^train/loss(/mean)?$",
    r"(^|/)loss(/mean)?$", r"reward", r"accuracy",
)  # fmt: skip
_ENDS = 0.1  # of the steps, at either end, that are compared
_LINE = 80


def headline(history: History, stands: RunState) -> dict[str, Any]:
    """Plain data, also for other programs.

    Times are in s: ``wall_s`` of all attempts together, ``elapsed_s`` with the pauses between them.
    ``goodput`` and ``kinds`` are shares of ``wall_s``, see :class:`sightline.views.step_time.RunTime`;
    ``of_no_kind`` says beside it which stages are of no known kind, where they take much.
    """
    away = absences(history)
    first = next((run.get("started") for run in history.runs), None)
    last = history.last_time
    _, times, _ = history.rows()
    if not isinstance(first, (int, float)):
        first = float(times[0]) if len(times) else None
    others = alias_names(history)
    clock, spent = RunClock(history), run_time(history, [key for key in history.keys if key not in others])
    return {
        "state": shown_state(stands),
        "reason": _reason(stands),
        "attempts": max(1, len(history.runs)),
        "processes": history.processes,
        "reported": history.reported,
        "out": {str(process): step for process, step in sorted(history.out.items())} if away else {},
        "away": [each.text for each in away],
        "commits": history.commits,
        "last_step": history.last_step,
        "total_steps": stands.total_steps,
        "started": first,
        "last_time": last,
        "wall_s": None if last is None else clock.wall,
        "elapsed_s": None if first is None or clock.end is None else max(0.0, clock.end - first),
        "best": _best(history),
        "learnt": _learnt(history),
        "throughput": _throughput(history),
        "goodput": None if spent is None else spent.goodput,
        "of_no_kind": "" if spent is None else of_no_kind(spent.unknown),
        "kinds": {} if spent is None else spent.kinds,
    }


def shown_state(stands: RunState) -> str:
    """How a run stands; one that an exception ended has failed."""
    return "failed" if stands.state == "finished" and stands.error is not None else stands.state


def _reason(stands: RunState) -> str:
    if stands.error is not None:
        return f"{stands.reason}: {stands.error}"
    return "" if stands.state == "finished" and not stands.missing else stands.reason


def _best(history: History) -> list[dict[str, Any]]:
    """Of every metric of an evaluation of which more, or less, is better: the first best value.

    What matters most of each evaluation comes first.
    """
    ranked: list[tuple[bool, bool, int, dict[str, Any]]] = []
    others = alias_names(history)
    for key in history.keys:
        if key in others:
            continue
        parts = key.split("/")
        if not re.match(r"(eval|valid|test)", parts[0]) or parts[-1] in ("std", "min", "max", "count", "sum"):
            continue
        name = "/".join(parts[1:])
        is_low = re.search(_LOWER, name) is not None
        is_high = not is_low and re.search(_HIGHER, name) is not None
        if not is_high and not is_low:
            continue
        series = history.series(key)
        finite = np.flatnonzero(np.isfinite(series.values))
        if not len(finite):
            continue
        values = series.values[finite]
        at = finite[int(values.argmax() if is_high else values.argmin())]
        ranked.append(
            (not is_high, not name.startswith("accuracy"), len(name), {
                "key": key, "value": float(series.values[at]), "step": int(series.steps[at]),
                "last": float(values[-1]), "first": float(values[0]), "higher": is_high,
                "over": len(values),
            })
        )  # fmt: skip
    ranked.sort(key=lambda each: each[:3])
    seen: set[str] = set()
    first: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for _, _, _, found in ranked:
        of = found["key"].split("/")[0]
        (rest if of in seen else first).append(found)
        seen.add(of)
    return [*first, *rest][:_BEST]


def _learnt(history: History) -> dict[str, Any] | None:
    """The metric that training is for, at its beginning and at its end."""
    others = alias_names(history)
    key = next(
        (key for pattern in _LEARNT for key in history.keys if re.search(pattern, key)
         and key not in others and not key.startswith(("eval", "time/", "obs/", "throughput/"))), None,
    )  # fmt: skip
    if key is None:
        return None
    series = history.series(key)
    values = series.values[np.isfinite(series.values)]
    if not len(values):
        return None
    ends = max(1, int(len(values) * _ENDS))
    at = np.linspace(0, len(values), min(_LINE, len(values)) + 1).astype(int)
    line = np.add.reduceat(values, at[:-1]) / np.diff(at)
    return {
        "key": key,
        "first": float(values[:ends].mean()),
        "last": float(values[-ends:].mean()),
        "over": ends,
        "line": [float(f"{each:.5g}") for each in line],
    }


def _throughput(history: History) -> dict[str, Any] | None:
    others = alias_names(history)
    keys = [
        key
        for key in history.keys
        if key not in others
        and (key.startswith("throughput/") or (key.endswith("_per_s") and not key.startswith("host/")))
    ]
    keys.sort(key=lambda key: (not key.startswith("throughput/"), "tokens" not in key, len(key)))
    for key in keys:
        values = history.series(key).values
        values = values[np.isfinite(values)]
        if len(values):
            recent = values[-max(1, len(values) // 10) :]
            return {"key": key, "last": float(values[-1]), "median": float(np.median(recent))}
    return None
