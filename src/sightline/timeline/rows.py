"""How processes are numbered and named in a merged trace, so that none is taken for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.timeline.finding import ProcessTrace

_MOST = 100_000  # threads of a process


@dataclass(frozen=True)
class Row:
    """A process as a viewer shows it.

    Attributes:
        pid: a number of its own.
        name: what it is called.
        order: its place among the others.
        group: which arrows may meet: those of one run and attempt.
        threads: how many numbers there are for its threads.
        process, role: of the process; None and empty for a row that is none.
    """

    pid: int
    name: str
    order: int
    group: int = 0
    threads: int = _MOST
    process: int | None = None
    role: str = ""

    def tid(self, tid: int) -> int:
        """The number of a thread, in no other process the same; the first one is the main thread's."""
        return self.pid + max(0, tid - 1) % self.threads

    def flow(self, flow: int) -> int:
        """The number of an arrow, in no other run and attempt the same: the tracers' own are below 2^52."""
        return (flow ^ self.group << 52) % (1 << 64)


def rows_of(traces: Sequence[ProcessTrace], extra: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """The rows of processes, and of what else there is to show, which comes first.

    Args:
        traces: in the order in which they are shown.
        extra: names of rows that are no processes.
    """
    # As many numbers for each as 32 bits allow, in decimals that people can read.
    threads = min(_MOST, 10 ** (len(str((1 << 32) // (len(traces) + len(extra) + 1))) - 1))
    runs = {trace.run for trace in traces}
    attempts = {run: {trace.attempt for trace in traces if trace.run == run} for run in runs}
    groups: dict[tuple[int, int], int] = {}
    rows = []
    for i, trace in enumerate(traces, 1):
        parts = [f"process {trace.process}", trace.role, trace.host]
        if len(attempts[trace.run]) > 1:
            parts.append(f"attempt {trace.attempt}")
        if len(runs) > 1:
            parts.append(trace.run_dir.resolve().name)
        group = groups.setdefault((trace.run, trace.attempt), len(groups))
        name = " · ".join(filter(None, parts))
        rows.append(Row(i * threads + 1, name, len(extra) + i - 1, group, threads, trace.process, trace.role))
    begin = len(traces) + 1
    others = [Row((begin + i) * threads + 1, name, i, 0, threads) for i, name in enumerate(extra)]
    return rows, others
