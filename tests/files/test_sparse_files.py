"""Holes of files, and that nobody who reads a run takes one into memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sightline.files.sparse_files import data_from, data_until, last_data
from tests.holes import HOLE, put_hole

READ_ALL = """
import resource, sys
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))  # a hole has more

import sightline as sl
from sightline.doctor.a_run import ARun
from sightline.gathering import carry_out, plan
from sightline.views.history import History
from sightline.report.log_lines import log_lines
from sightline.run_logs.merging import RunLogs
from sightline.sinks.jsonl import JSONLSink
from sightline.sinks.syncing import Replay
from sightline.tables.metrics import long_table, metrics_table, process_table
from sightline.tables.samples import sample_table
from sightline.timeline.merging import merge
from tests.holes import read_bytes

run, copy = map(Path, sys.argv[1:])
begin = read_bytes()
assert [r["step"] for r in sl.read_journal(run) if r["type"] == "commit"] == [0, 1, 2]
history = History(run)
history.update()
assert history.commits == 3
assert len(list(metrics_table(run).rows())) == 3
assert list(long_table(run).rows())
process_table(run)
assert len(list(sample_table(run, "rollouts").rows())) == 3
assert len(list(sl.read_sessions(run))) == 3
assert [line for line in RunLogs([run]).lines() if line.record.get("message") == "said"]
assert [said for said in log_lines([run]).said if said.line.record.get("message") == "said"]
for _, check in ARun(run).checks():
    check()
merge([run], copy.with_suffix(".json"), "json")
replay = Replay(run, JSONLSink())
assert replay.unreadable.zeros >= 8 << 30
assert replay.unreadable == history.unreadable == metrics_table(run).unreadable
assert replay.unreadable.torn == 1
assert replay.missing() == (3, 0, 2)
for _ in replay.run():
    pass
assert replay.handed == (3, 0, 2)
for _ in carry_out(plan(copy, [str(run)]), copy):
    pass
assert read_bytes() - begin < int(4e8), read_bytes() - begin
"""


def test_the_last_bytes_are_counted_without_holes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 5000)
    put_hole(path, b"b" * 5000)
    put_hole(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        number = file.fileno()
        assert data_until(number, size) <= size - HOLE + (64 << 10)
        assert data_from(number, 1 << 20) >= HOLE
        assert last_data(number, size, 1 << 20) == 0
        begin = last_data(number, size, 2000)
        assert HOLE < begin < HOLE + (64 << 10)


def test_whoever_reads_a_run_passes_over_holes_in_all_of_its_files(tmp_path: Path) -> None:
    """None of them takes a hole into memory, where there is no room for one; nor reads it."""
    code = """
import sightline as sl
with sl.start(".", name="run", sinks=[]) as run:
    for step in run.steps(3):
        with sl.session(task=step) as session, sl.trace_scope("work"):
            session.accept()
        sl.get_logger("a").warning("said")
        sl.sample("rollouts", prompt=["x"])
        sl.scalar(loss=1.0)
        run.commit(step)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    run = tmp_path / "run"
    files = [each for each in run.rglob("p*.a*.json*") if each.is_file()]
    assert {each.parent.name for each in files} >= {"logs", "traces", "sessions"}
    for path in [run / "metrics.jsonl", *files, *run.rglob("*.p*.jsonl")]:
        whole = path.read_bytes()
        middle = whole.index(b"\n", len(whole) // 2) + 1
        put_hole(path, b"\n" + whole[middle:], at=middle)
        put_hole(path)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, run, tmp_path / "copy"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
