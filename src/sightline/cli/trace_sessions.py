"""What `sightline trace summary` says of rollout sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.cli.cells import Cell, Heading, print_lines, show
from sightline.support.foreign_text import one_line
from sightline.support.wording import counted, duration

if TYPE_CHECKING:
    from sightline.analysis.session_analysis import SessionAnalysis, SlowSession, Times

_ROWS = 10
_PHASES = 4  # of a session, in its row


def sessions_as_data(found: SessionAnalysis | None) -> dict[str, Any] | None:
    """All of it, for JSON; None if there are no sessions."""
    if found is None:
        return None
    return {
        **found._asdict(),
        "latency": found.latency and found.latency._asdict(),
        "by_status": {name: times._asdict() for name, times in found.by_status.items()},
        "phases": {name: times._asdict() for name, times in found.phases.items()},
        "staleness": found.staleness and found.staleness._asdict(),
        "slowest": [each._asdict() for each in found.slowest],
        "in_flight": [each._asdict() for each in found.in_flight],
    }


def show_sessions(found: SessionAnalysis) -> None:
    """Prints it."""
    statuses = ", ".join(f"{number:,} {status}" for status, number in found.statuses.items())
    retries = f"; {counted(found.retries, 'retry', 'retries')}" if found.retries else ""
    print_lines(["", f"{counted(found.sessions, 'session')}: {statuses}{retries}"])
    if found.latency is not None:
        _show_times(found)
    if (stale := found.staleness) is not None:
        print_lines(
            [
                f"staleness of {counted(stale.sessions, 'session')}, in versions of the policy: "
                f"mean {stale.mean:.3g}, p50 {stale.p50:.3g}, p95 {stale.p95:.3g}, max {stale.max}"
            ]
        )
    tables = (
        ("slowest sessions", found.slowest, "took"),
        ("in flight where the files of their processes end", found.in_flight, "at least"),
    )
    for title, sessions, took in tables:
        if sessions:
            print_lines(["", title])
            _show_slowest(sessions, took)


def _show_times(found: SessionAnalysis) -> None:
    rows: list[tuple[str, Times | None]] = [("all that ended", found.latency)]
    if len(found.by_status) > 1:
        rows += [(f"  {status}", times) for status, times in found.by_status.items()]
    rows += [(f"· {one_line(name)}", times) for name, times in list(found.phases.items())[:_ROWS]]
    cells: list[list[Cell]] = []
    for name, times in rows:
        assert times is not None  # it is asked for only where something has ended
        took = [duration(each) for each in (times.total_s, times.p50_s, times.p95_s, times.max_s)]
        cells.append([name, f"{times.share:.1%}", f"{times.sessions:,}", *took])
    if (more := len(found.phases) - _ROWS) > 0:
        cells.append([f"· {counted(more, 'phase')} more", *[""] * 6])
    numbers = [Heading(name, True) for name in ("share", "sessions", "total", "p50", "p95", "max")]
    show([Heading("sessions, phases", shrinks_to=16), *numbers], cells, indent="  ")


def _show_slowest(sessions: Sequence[SlowSession], took: str) -> None:
    rows: list[list[Cell]] = []
    for each in sessions:
        step = "" if each.step is None else f", step {each.step}"
        where = "process " + " → ".join(map(str, each.processes)) + step
        phases = [
            f"{one_line(name, 30)} {duration(took)}" for name, took in list(each.phases.items())[:_PHASES]
        ]
        if (more := len(each.phases) - _PHASES) > 0:
            phases.append(f"{more} more")
        if each.open_phases:
            phases.append(f"now in {', '.join(one_line(name, 30) for name in each.open_phases)}")
        status = each.status if each.reason is None else f"{each.status}: {one_line(each.reason, 40)}"
        rows.append([one_line(each.task, 40), status, duration(each.took_s), where, ", ".join(phases)])
    headings = [
        Heading("task", shrinks_to=12),
        Heading("status", shrinks_to=12),
        Heading(took, True),
        Heading("where", rank=1),
        Heading("phases", shrinks_to=32),
    ]
    show(headings, rows, indent="  ")
