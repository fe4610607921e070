"""What `sightline trace summary` says of rollout sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.cli.showing import seconds, shown
from sightline.wording import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sightline.session_analysis import SessionAnalysis, SlowSession

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


def show_sessions(found: SessionAnalysis, console: Console) -> None:
    """Prints it."""
    statuses = ", ".join(f"{number} {status}" for status, number in found.statuses.items())
    retries = f"; {counted(found.retries, 'retry', 'retries')}" if found.retries else ""
    console.print(f"\n{counted(found.sessions, 'session')}: {statuses}{retries}")
    if found.latency is not None:
        console.print(_times(found))
    if (stale := found.staleness) is not None:
        console.print(
            f"staleness of {counted(stale.sessions, 'session')}, in versions of the policy: "
            f"mean {stale.mean:.3g}, p50 {stale.p50:.3g}, p95 {stale.p95:.3g}, max {stale.max}"
        )
    for title, sessions in (("slowest sessions", found.slowest), ("in flight at the end", found.in_flight)):
        if sessions:
            console.print(_slowest(title, sessions))


def _times(found: SessionAnalysis) -> Table:
    from rich.table import Table

    table = Table("sessions and their phases")
    for heading in ("share", "sessions", "total", "p50", "p95", "max"):
        table.add_column(heading, justify="right")
    rows = [("all that ended", found.latency)]
    if len(found.by_status) > 1:
        rows += [(f"  {status}", times) for status, times in found.by_status.items()]
    rows += [(f"· {shown(name)}", times) for name, times in list(found.phases.items())[:_ROWS]]
    for name, times in rows:
        assert times is not None  # it is asked for only where something has ended
        took = [seconds(each) for each in (times.total_s, times.p50_s, times.p95_s, times.max_s)]
        table.add_row(name, f"{times.share:.1%}", str(times.sessions), *took)
    if (more := len(found.phases) - _ROWS) > 0:
        table.add_row(f"· {counted(more, 'phase')} more", *[""] * 6)
    return table


def _slowest(title: str, sessions: Sequence[SlowSession]) -> Table:
    from rich.table import Table

    table = Table(title, "status", "where", "phases")
    table.add_column("took", justify="right")
    for each in sessions:
        step = "" if each.step is None else f", step {each.step}"
        where = "process " + " → ".join(map(str, each.processes)) + step
        phases = [f"{shown(name, 30)} {seconds(took)}" for name, took in list(each.phases.items())[:_PHASES]]
        if (more := len(each.phases) - _PHASES) > 0:
            phases.append(f"{more} more")
        if each.open_phases:
            phases.append(f"now in {', '.join(shown(name, 30) for name in each.open_phases)}")
        status = each.status if each.reason is None else f"{each.status}: {shown(each.reason, 40)}"
        table.add_row(shown(each.task, 40), status, where, ", ".join(phases), seconds(each.took_s))
    return table
