"""What a merge has found, and what it has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightline.files.file_lines import Unreadable, cut_said
from sightline.support.wording import counted, files_missing
from sightline.timeline.clocks import ProcessClock
from sightline.timeline.finding import Found, ProcessTrace
from sightline.tracing.session_files import Damage


@dataclass
class Report:
    """What a merge says at its end.

    Attributes:
        events: how many of each kind (``spans``, ``instants``, ``counters``, ``flow ends``) were written.
        processes: how many processes there are, of all runs.
        attempts: how many attempts, over all runs.
        clocks: how well the processes are aligned, in one line; empty where there is one process.
        notes: what is as it may be.
        cut: the same, of files whose last line is cut; in a run that goes on these are being written.
        problems: what was damaged or dropped, a line each.
        missing: of which processes files are not here, a line each.
    """

    events: Counter[str] = field(default_factory=Counter)
    processes: int = 0
    attempts: int = 0
    clocks: str = ""
    notes: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def note_found(self, found: Found) -> None:
        """Counts what there is, and says what is not."""
        self.processes = len({(trace.run, trace.process) for trace in found.traces})
        self.attempts = len({(trace.run, trace.attempt) for trace in found.traces})
        self.problems += [f"{path}: left out: {why}" for path, why in found.foreign]
        self.notes += [f"{path} holds nothing yet" for path in found.unbegun]
        for run, attempt in sorted({(trace.run, trace.attempt) for trace in found.traces}):
            here = [trace for trace in found.traces if (trace.run, trace.attempt) == (run, attempt)]
            expected = max(trace.processes for trace in here)
            absent = sorted(set(range(expected)) - {trace.process for trace in here})
            which = attempt if attempt > 1 else None
            self.missing += files_missing(here[0].run_dir, expected, absent, attempt=which)

    def note_clocks(self, traces: Sequence[ProcessTrace], clocks: Sequence[ProcessClock]) -> None:
        """Says how far off the processes may be."""
        others = [clock for trace, clock in zip(traces, clocks, strict=True) if trace.process != 0]
        known = [clock.uncertainty_ns for clock in others if clock.uncertainty_ns is not None]
        if known and not max(known):
            self.clocks = "all compared processes on one clock"
        elif known:
            self.clocks = f"aligned with process 0 within {max(known) / 1e6:.3g} ms"
        hosts = {trace.host for trace in traces}
        if len(known) < len(others) and len(hosts) > 1:
            self.problems.append(
                f"{counted(len(others) - len(known), 'process', 'processes')} went by the time of day of the "
                f"host: the clocks were not compared with process 0's (the run was short, or has no store)"
            )

    def note_read(self, trace: ProcessTrace, dropped: int) -> None:
        """Says what was wrong with a process's files."""
        for path, damage in trace.damage.items():
            if damage:
                self.problems.append(f"{path}: {damage}; the rest is merged")
            elif damage.is_cut:
                self.cut.append(f"{path}: {cut_said()}")
        numbers = [int(part) for path in trace.files if (part := path.stem.rpartition(".")[2]).isdigit()]
        gone = sorted(set(range(max(numbers, default=0))) - set(numbers))
        if gone:
            self.problems.append(
                f"{trace.files[0]}: {counted(len(gone), 'segment')} of this process gone (the oldest ones "
                f"are deleted beyond keep_mb)"
            )
        if dropped:
            self.problems.append(f"{trace.files[0]}: the process could not write {counted(dropped, 'event')}")

    def note_journal(self, path: Path, unreadable: Unreadable) -> None:
        """Says what was wrong with a journal."""
        if unreadable:
            self.problems.append(f"{path}: {unreadable.said()}")

    def note_sessions(self, damage: Damage) -> None:
        """Says what was wrong with a line of a file of sessions."""
        if damage.is_cut:
            self.cut.append(f"{damage.path}: {cut_said()}")
            return
        where = f"{damage.path}{f':{damage.line}' if damage.line else ''}"
        said = self.notes if damage.is_harmless else self.problems
        said.append(f"{where}: {damage.reason}; the rest is read")
