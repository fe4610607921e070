"""What a report costs for a long run: time and memory to make it, and how long a browser takes to show it."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from benchmarks.pairs import Figure, figure

STEPS, KEYS, STAGES, PROCESSES = 100_000, 290, 10, 8
_SHOWN = """
import json, sys, time
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[2], args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    begin = time.perf_counter()
    page.goto("file://" + sys.argv[1])
    page.wait_for_selector("#metrics .plot path.js-line", timeout=300_000)
    print(json.dumps(time.perf_counter() - begin))
"""
# A process of its own, whose peak of memory is its own.
_MADE = """
import json, sys, time
from pathlib import Path
from sightline.report import gather, page
begin = time.perf_counter()
found = gather([Path(sys.argv[1])])
Path(sys.argv[2]).write_bytes(page(found.names, found.data))
took = time.perf_counter() - begin
lines = Path("/proc/self/status").read_text().splitlines()
print(json.dumps([took, next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))]))
"""


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        run, out = Path(folder) / "run", Path(folder) / "report.html"
        run.mkdir()
        write(run, STEPS)
        took, peak = json.loads(_ran(_MADE, run, out))
        size = out.stat().st_size / 1e6
        what = f"report of {STEPS} steps × {KEYS + STAGES} metrics"
        journal = (run / "metrics.jsonl").stat().st_size / 1e9
        yield figure(f"{what}, made in", [took], 60.0, " s", f"a journal of {journal:.1f} GB")
        yield figure("  resident", [peak], 1000.0, " MB", f"the page has {size:.0f} MB")
        chromium = shutil.which("chromium")
        if chromium is not None:
            shown = [json.loads(_ran(_SHOWN, out, Path(chromium))) for _ in range(3)]
            yield figure("  opened, until curves are drawn", shown, 3.0, " s")


def write(run_dir: Path, steps: int) -> None:
    """A journal with waves and noise, one peak, and timings of each process."""
    draw = random.Random(0)
    keys = [f"train/group{k // 10}/metric_{k}" for k in range(KEYS)]
    place = {"attempt": 1, "k": 0}
    with open(run_dir / "metrics.jsonl", "wb") as file:
        start = {
            "type": "run",
            "format": 1,
            "run_id": "x",
            "attempt": 1,
            "started": 1e9,
            "processes": PROCESSES,
        }
        file.write(orjson.dumps({**start, "starts": [[1, 0, None]]}) + b"\n")
        for step in range(steps):
            values = {key: math.sin(step / 1000 + i) + draw.random() for i, key in enumerate(keys)}
            values |= {f"time/train/stage{j}_s": 0.1 * j + draw.random() for j in range(STAGES)}
            if step == steps // 2:
                values[keys[0]] = 1e6
            of = {**place, "seq": step + 1, "step": step}
            commit = {
                "type": "commit",
                **of,
                "time": 1e9 + 6 * step,
                "expected": 8,
                "reported": 8,
                "values": values,
            }
            rows = {
                f"time/train/stage{j}_s": [draw.random() for _ in range(PROCESSES)] for j in range(STAGES)
            }
            by_process = {"type": "process_values", **of, "processes": list(range(PROCESSES)), "values": rows}
            file.write(orjson.dumps(commit) + b"\n" + orjson.dumps(by_process) + b"\n")


def _ran(script: str, *arguments: Path) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], check=True, stdout=subprocess.PIPE
    )
    return done.stdout
