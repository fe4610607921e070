"""What it takes to merge the traces of a job: memory, which must not grow with them, and time, which may."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pairs import Figure, figure

PROCESSES = 8
FEW, MANY = 25_000, 250_000  # events of each

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
    """Traces of a run: half of the events nested spans, the rest lanes, arrows, counters, instants."""
    (run_dir / "traces").mkdir(parents=True)
    for process in range(PROCESSES):
        pid = process + 1
        header = {
            "format": 1, "base_ns": 0, "run_id": "run", "attempt": 1, "process": process,
            "processes": PROCESSES, "host": "host", "perf_counter_ns": 0, "time_ns": 1_800_000_000 * 10**9,
        }  # fmt: skip
        with open(run_dir / "traces" / f"p{process:05d}.a01.0000.json", "w") as file:
            about = json.dumps(header)
            file.write(f'[\n{{"ph":"M","name":"sightline","pid":{pid},"tid":1,"args":{about}}},\n')
            for i in range(0, events, 10):
                at, place = i * 10, f'"pid":{pid},"tid":{1 + i % 3},"ts"'
                for k in range(4):
                    file.write(
                        f'{{"ph":"X","name":"inner {k}",{place}:{at + k * 2 + 1}.001,"dur":1.500,'
                        f'"args":{{"step":{i // 1000}}}}},\n'
                    )
                flow = f'"id":"0x{(process // 2 << 40) + i:x}"'
                phase = "f" if process % 2 else "s"
                file.write(f'{{"ph":"{phase}","cat":"flow","name":"flow",{flow},{place}:{at + 50}.000}},\n')
                file.write(
                    f'{{"ph":"X","name":"outer","cat":"compute",{place}:{at}.000,"dur":95.000,'
                    f'"args":{{"step":{i // 1000},"tokens":{i},"text":"some words"}}}},\n'
                )
                lane = f'"cat":"lane","id2":{{"local":"0x{pid:x}{i % 16:08x}"}}'
                file.write(f'{{"ph":"b","name":"task",{lane},{place}:{at}.000}},\n')
                file.write(f'{{"ph":"e","name":"task",{lane},{place}:{at + 90}.000}},\n')
                file.write(
                    f'{{"ph":"C","name":"queue","pid":{pid},"ts":{at}.000,"args":{{"value":{i % 7}}}}},\n'
                )
                file.write(f'{{"ph":"i","name":"mark",{place}:{at + 20}.000,"s":"t"}},\n')


def _merged(run_dir: Path, kind: str) -> tuple[float, float, int]:
    """Resident MB at the peak, seconds of CPU, events."""
    out = run_dir.parent / f"{run_dir.name}.{kind}{'.gz' if kind == 'json' else ''}"
    done = subprocess.run(
        [sys.executable, "-c", _MERGE, run_dir, out, kind], check=True, stdout=subprocess.PIPE
    )
    peak, took, events = json.loads(done.stdout)
    return peak, took, events
