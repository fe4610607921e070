"""Merging: all files of some run directories into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from sightline.errors import RunDirectoryError
from sightline.timeline.archive import write_archive
from sightline.timeline.chrome_json import ChromeJson
from sightline.timeline.clocks import clocks_of
from sightline.timeline.events import Counter, Event, Flow, Instant, Span, Thread
from sightline.timeline.finding import find, scan
from sightline.timeline.flows import FlowStarts
from sightline.timeline.jsonl import JsonLines
from sightline.timeline.metrics import USUAL, counters
from sightline.timeline.pftrace import Pftrace
from sightline.timeline.reading import Reader
from sightline.timeline.report import Report
from sightline.timeline.rows import rows_of
from sightline.timeline.sessions import sessions_of
from sightline.timeline.writing import TraceFile

Format = Literal["json", "jsonl", "pftrace", "tar"]
WRITERS: dict[str, type[TraceFile]] = {"json": ChromeJson, "jsonl": JsonLines, "pftrace": Pftrace}
_KINDS: dict[type, str] = {Instant: "instants", Counter: "counters", Flow: "flow ends", Thread: ""}
Advance = Callable[[int], object]
#: More events than the trace files have, each with the place of its process in ``traces``.
Source = Callable[["Timeline"], Iterable[tuple[int, Event]]]


class Timeline:
    """The traces of some run directories, with their clocks, ready to be read.

    Args:
        run_dirs: of one run (of each of its hosts), or of several.
        advance: told how many bytes have been read; all files are read once here, and again by ``events``.
        sources: what there is besides trace files.

    Attributes:
        traces: a process of an attempt each.
        clocks: of these.
        report: what has been found so far.

    Raises:
        RunDirectoryError: a directory without traces.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[]), sl.trace_scope("load"):
        ...         pass
        ...     timeline = Timeline([Path(folder) / "run"])
        ...     "load" in [event.name for _, event in timeline.events() if isinstance(event, Span)]
        True
    """

    def __init__(
        self,
        run_dirs: Iterable[Path],
        *,
        advance: Advance = lambda size: None,
        sources: Sequence[Source] = (sessions_of,),
    ) -> None:
        found = find(run_dirs)
        if not found.traces:
            said = [*found.foreign, *((path, "it holds nothing yet") for path in found.unbegun)]
            first = {why: path for path, why in reversed(said)}  # of each reason
            shown = "; ".join(f"{path}: {why}" for why, path in reversed(first.items()))
            raise RunDirectoryError(f"no trace file of {len(said)} can be read: {shown}")
        self.traces = found.traces
        self.report = Report()
        self.report.note_found(found)
        self._sources = sources
        for trace in self.traces:
            scan(trace, advance)
        self.clocks = clocks_of(self.traces)
        self.report.note_clocks(self.traces, self.clocks)

    @property
    def zero_ns(self) -> int:
        """The earliest time that any process counts from, in ns since the epoch."""
        return min(clock.zero_ns for clock in self.clocks)

    def run_dirs(self) -> list[Path]:
        """A directory of each run."""
        return list({trace.run: trace.run_dir for trace in reversed(self.traces)}.values())[::-1]

    def events(self, advance: Advance = lambda size: None) -> Iterator[tuple[int, Event]]:
        """All events, each with the place of its process in ``traces``: by process, then the sources'."""
        starts = self._flow_starts()
        for i, (trace, clock) in enumerate(zip(self.traces, self.clocks, strict=True)):
            reader = Reader(trace, clock, starts[trace.run, trace.attempt])
            for event in reader.read(advance):
                yield i, event
            self.report.note_read(trace, reader.dropped)
        for source in self._sources:
            yield from source(self)

    def _flow_starts(self) -> dict[tuple[int, int], FlowStarts]:
        starts = {}
        for group in dict.fromkeys((trace.run, trace.attempt) for trace in self.traces):
            members = [i for i, trace in enumerate(self.traces) if (trace.run, trace.attempt) == group]
            starts[group] = FlowStarts([self.traces[i] for i in members], [self.clocks[i] for i in members])
        return starts


def merge(
    run_dirs: Sequence[Path],
    out: Path,
    kind: Format = "json",
    *,
    metrics: Sequence[str] = (),
    advance: Advance = lambda size: None,
    sources: Sequence[Source] = (sessions_of,),
) -> Report:
    """Merges the traces of run directories into one file. Memory does not grow with them.

    Args:
        run_dirs: of one run (of each of its hosts), or of several.
        out: the file; compressed where its name ends in ``.gz``.
        kind: Chrome's JSON (``"json"``), an event a line (``"jsonl"``), Perfetto's own (``"pftrace"``), or
            the files as they are in an archive that says how they belong together (``"tar"``).
        metrics: keys of the journal to be shown as curves; none: a few usual ones.
        advance: told how many bytes have been read, of twice the size of all files.
        sources: what there is besides trace files.

    Raises:
        RunDirectoryError: a directory without traces.
        ConfigurationError: ``pftrace`` without the extra.
        OSError: ``out`` cannot be written.
    """
    timeline = Timeline(run_dirs, advance=advance, sources=sources)
    report = timeline.report
    if kind == "tar":
        write_archive(out, timeline.traces, timeline.clocks, advance)
        for trace in timeline.traces:
            report.note_read(trace, 0)
        return report
    directories = timeline.run_dirs()
    names = [
        "metrics" if len(directories) == 1 else f"metrics · {each.resolve().name}" for each in directories
    ]
    rows, metric_rows = rows_of(timeline.traces, names)
    about = {
        "runs": sorted({trace.run_id for trace in timeline.traces}),
        "begins_ns": timeline.zero_ns,
        "clocks": report.clocks,
    }
    with WRITERS[kind](out, timeline.zero_ns, about) as file:
        missing = set(metrics)
        for row, directory in zip(metric_rows, directories, strict=True):
            is_first = True
            for counter in counters(directory, metrics or USUAL, report.note_journal):
                if is_first:
                    file.row(row)
                    is_first = False
                missing.discard(counter.name)
                file.write(row, counter)
                report.events["counters"] += 1
        report.problems += [f"--metric {key}: no commit has it" for key in sorted(missing)]
        for row in rows:
            file.row(row)
        count = report.events
        for i, event in timeline.events(advance):
            file.write(rows[i], event)
            if isinstance(event, Span):
                count["spans"] += 1
                if event.flows:
                    count["flow ends"] += len(event.flows)
            else:
                count[_KINDS[type(event)]] += 1
    del count[""]
    return report
