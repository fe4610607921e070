"""What it takes to merge the traces of a job: memory, which must not grow with them, and time, which may."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pairs import Figure, figure
from sightline.files.process_files import Place, ProcessFiles
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.spans import ASYNC, BASE_NS, COUNTER, FLOW, INSTANT, Record
from sightline.tracing.trace_writer import TraceWriter

PROCESSES = 8
FEW, MANY = 25_000, 250_000  # events of each
_AT_ONCE = 10_000

# A process of its own, whose peak of memory is its own.
_MERGE = """
import json, sys, time
from pathlib import Path
from sightline.timeline.merging import merge
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
start = time.process_time()
report = merge([Path(sys.argv[1])], Path(sys.argv[2]), sys.argv[3])
took = time.process_time() - start
print(json.dumps([peak(), took, sum(report.events.values())]))
"""


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder) / "few", Path(folder) / "many"
        write(few, FEW)
        write(many, MANY)
        for kind, bar in (("json", 300.0), ("pftrace", 300.0), ("jsonl", None), ("tar", None)):
            small_mb, small_s, small = _merged(few, kind)
            large_mb, large_s, large = _merged(many, kind)
            what = f"merging {PROCESSES} × {MANY} events into {kind}, resident"
            yield figure(what, [large_mb], bar, " MB", f"{PROCESSES} × {FEW}: {small_mb:.0f} MB")
            if kind != "tar":
                assert large > 9 * small
            # A start costs the same for both, so a line is below 1 here.
            slope = large_s / small_s / (MANY / FEW)
            yield figure(
                "  CPU for an event / with a tenth of the events", [slope], 1.2, note=f"{large_s:.1f} s"
            )


def write(run_dir: Path, events: int) -> None:
    """Traces of a run, as its processes write them: half of the events nested spans, the rest lanes, arrows
    (each tenth in no span), counters, instants."""
    place = Place(run_dir, "run", 1)
    for process in range(PROCESSES):
        files = ProcessFiles(lambda: place, process=process, processes=PROCESSES)
        writer = TraceWriter(PerfTracer(enabled=True), files)
        for first in range(0, events, _AT_ONCE):
            records = [
                record for i in range(first, min(first + _AT_ONCE, events), 10) for record in _ten(process, i)
            ]
            lines = writer.lines(records)
            writer._file.put("".join(lines).encode(), len(records))
            assert files.flush(60.0)
        assert writer.close(60.0)
        assert files.close()


def _ten(process: int, i: int) -> Iterator[Record]:
    """Ten events or so, in the order in which a tracer has them."""
    at, tid, step = BASE_NS + i * 10_000, 1 + i % 3, i // 1000
    phase, arrow = "f" if process % 2 else "s", (process // 2 << 40) + i + 1
    for k in range(4):
        yield f"inner {k}", tid, at + k * 2000 + 1001, at + k * 2000 + 2501, {"n": k}
    is_loose = i % 100 == 0
    if not is_loose:
        yield FLOW, (phase, arrow, tid, None, at + 50_000)
    yield COUNTER, ("queue", at, {"value": i % 7})
    yield INSTANT, ("mark", tid, at + 20_000, None)
    about = {"category": "compute", "tokens": i, "text": "some words"}
    yield "outer", tid, at, at + 95_000, about
    yield ASYNC, ("task", i % 16, tid, at, at + 90_000, None, step)
    if is_loose:
        yield FLOW, (phase, arrow, tid, None, at + 97_000)


def _merged(run_dir: Path, kind: str) -> tuple[float, float, int]:
    """Resident MB at the peak, seconds of CPU, events."""
    out = run_dir.parent / f"{run_dir.name}.{kind}{'.gz' if kind == 'json' else ''}"
    done = subprocess.run(
        [sys.executable, "-c", _MERGE, run_dir, out, kind], check=True, stdout=subprocess.PIPE
    )
    peak, took, events = json.loads(done.stdout)
    return peak, took, events
