"""Rollout sessions: what became of them, how long each phase took, and what a few of them looked like."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.report.packing import Packer
from sightline.tracing.session_files import Damage, SessionRecord, read_sessions
from sightline.tracing.session_metrics import covered

SESSION_BYTES = 48 << 20  # of all processes, that are read: some seconds
_DOTS = 4000
_SHOWN = 120
_PHASES = 40
_TEXT = 300


def session_views(run_dirs: Sequence[Path], packer: Packer) -> tuple[dict[str, Any] | None, list[str]]:
    """What the page shows of them, and what was damaged; None where there are none."""
    paths = [path for run_dir in run_dirs for path in sorted(run_dir.glob("sessions/*.jsonl"))]
    size = sum(path.stat().st_size for path in paths)
    if not paths:
        return None, []
    if size > SESSION_BYTES:
        note = f"The files of sessions ({size / 1e6:.0f} MB) are too large for a page: see rollout/session/*."
        return {"note": note, "count": 0}, []
    damages: list[Damage] = []
    statuses: Counter[str] = Counter()
    phases: defaultdict[str, list[float]] = defaultdict(list)
    rows: list[tuple[float, float, int, str, float]] = []
    staleness: Counter[int] = Counter()
    kept: list[tuple[float, SessionRecord]] = []
    for session in read_sessions(paths, on_damage=damages.append):
        status = "running" if session.running else session.status
        statuses[status] += 1
        last = max((each.end or each.start for each in session.phases), default=session.start)
        end = session.end if session.end is not None else max(last, session.start)
        total = max(0, end - session.start) / 1e9
        spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for phase in session.phases:
            spans[phase.name].append((phase.start, phase.end or end))
        waiting = max(0.0, total - covered([span for of in spans.values() for span in of]) / 1e9)
        for name, of in spans.items():
            phases[name].append(covered(of) / 1e9)
        if session.staleness is not None:
            staleness[session.staleness] += 1
        rows.append((session.start / 1e9, total, session.step if session.step is not None else -1, status,
                     waiting))  # fmt: skip
        kept.append((total, session))
        if len(kept) > 8 * _SHOWN:
            kept = _most_telling(kept)
    if not rows:
        return None, _said(damages)
    rows.sort()
    totals = np.array([row[1] for row in rows])
    at = np.unique(np.linspace(0, len(rows) - 1, _DOTS).astype(int))
    at = np.union1d(at, np.argsort(-totals)[:200])
    return {
        "count": len(rows),
        "statuses": dict(statuses.most_common()),
        "phases": [
            {"phase": "total", **_latency(totals)},
            {"phase": "in no phase (waiting)", **_latency(np.array([row[4] for row in rows]))},
            *({"phase": name[:_TEXT], **_latency(np.array(took))}
              for name, took in sorted(phases.items(), key=lambda item: -sum(item[1]))[:_PHASES]),
        ],
        "staleness": sorted(staleness.items())[:200],
        "dots": {
            "time": packer.add(np.array([rows[i][0] for i in at])),
            "total": packer.add(totals[at]),
            "waiting": packer.add(np.array([rows[i][4] for i in at])),
            "step": packer.add(np.array([rows[i][2] for i in at], np.int64)),
            "status": [rows[i][3] for i in at],
        },
        "shown": [_shown(session) for _, session in _most_telling(kept)],
    }, _said(damages)  # fmt: skip


def _most_telling(kept: list[tuple[float, SessionRecord]]) -> list[tuple[float, SessionRecord]]:
    """The slowest, and the latest."""
    by_time = sorted(kept, key=lambda each: each[1].start)
    latest = by_time[-_SHOWN // 2 :]
    chosen = {id(each[1]) for each in latest}
    rest = [each for each in by_time if id(each[1]) not in chosen]
    slowest = sorted(rest, key=lambda each: -each[0])[: _SHOWN - len(latest)]
    return sorted([*slowest, *latest], key=lambda each: each[1].start)


def _latency(took: Any) -> dict[str, Any]:
    p50, p95, p99 = np.quantile(took, (0.5, 0.95, 0.99)).tolist()
    return {"n": len(took), "mean": float(took.mean()), "p50": p50, "p95": p95, "p99": p99,
            "max": float(took.max())}  # fmt: skip


def _shown(session: SessionRecord) -> dict[str, Any]:
    start = session.start
    return {
        "id": session.id[:64],
        "task": str(session.task)[:_TEXT],
        "status": "running" if session.running else session.status,
        "reason": None if session.reason is None else str(session.reason)[:_TEXT],
        "step": session.step,
        "staleness": session.staleness,
        "retries": len(session.retries),
        "start": start / 1e9,
        "total": None if session.end is None else (session.end - start) / 1e9,
        "processes": sorted({int(part.source.header.get("process", 0)) for part in session.parts}),
        "phases": [
            [phase.name[:_TEXT], (phase.start - start) / 1e9,
             None if phase.end is None else (phase.end - start) / 1e9,
             phase.error and str(phase.error)[:_TEXT]]
            for phase in session.phases[:60]
        ],
    }  # fmt: skip


def _said(damages: Sequence[Damage]) -> list[str]:
    return [
        f"{each.path}: {f'line {each.line}: ' if each.line else ''}{each.reason}" for each in damages[:20]
    ]
