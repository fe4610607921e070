"""Traces of real processes: killed, started again, on clocks that are wrong; Perfetto's engine judges."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.analysis.run_analysis import analyse
from sightline.timeline.clocks import ProcessClock
from sightline.timeline.events import Instant
from sightline.timeline.merging import Timeline, merge
from sightline.timeline.stages import one_run, stage_spans
from tests.harness import Worker, Workers, until, workers_of
from tests.multiprocess.workers import tracing as script
from tests.perfetto import Engine, Trace

ROOT = Path(__file__).parent.parent.parent
PYTHONPATH = {"PYTHONPATH": f"{Path(script.sl.__file__).parent.parent}:{ROOT}"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as started:
        yield started


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The events of a live file, by a reader of the test's own."""
    events = []
    for line in path.read_bytes().split(b"\n")[1:]:
        try:
            events.append(json.loads(line.removesuffix(b",")))
        except ValueError:
            assert line in (b"", path.read_bytes().split(b"\n")[-1]), "only the last line may be cut"
    return events


def expected(run_dir: Path) -> Counter[str]:
    """How many spans of each name the files of a run hold; each has a number of its own in its attempt."""
    spans = {
        (path.name.split(".")[1], event["name"], event["args"]["n"])
        for path in run_dir.glob("traces/*.json")
        for event in whole_lines(path)
        if event["ph"] in ("X", "B", "b") and "n" in event["args"]
    }
    return Counter(name for _, name, _ in spans)


def slices(trace: Trace) -> Counter[str]:
    rows = trace.query(
        "select name, count(*) as n from slice where name not in ('flow', 'step') group by name"
    )
    return Counter({row["name"]: row["n"] for row in rows})


def trace_bytes(worker: Worker) -> int:
    return sum(path.stat().st_size for path in worker.disk.glob("runs/run/traces/*.json"))


def killed(workers: Workers, seed: int, *, disk: str = "p0") -> Worker:
    """A run that was killed at a random moment."""
    rng = random.Random(seed)
    worker = workers.start("endless", disk=disk, env=PYTHONPATH)
    until(lambda: worker.notes("started"))
    before = trace_bytes(worker)
    until(lambda: trace_bytes(worker) > before + rng.randrange(300_000))
    time.sleep(rng.random() / 4)
    worker.kill()
    return worker


def check_merged(engine: Engine, run_dir: Path, out: Path) -> Trace:
    """Every span is there once, none is open, and nothing had to be left out."""
    report = merge([run_dir], out)
    assert report.problems == []
    trace = engine.load(out)
    assert trace.errors() == {}
    assert slices(trace) == expected(run_dir)
    assert trace.column("select count(*) from slice where dur < 0") == [0]
    return trace


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(s, marks=pytest.mark.long) for s in range(5, 50))]
)
def test_a_trace_that_was_cut_by_a_kill_loads_live_and_merged(
    workers: Workers, engine: Engine, tmp_path: Path, seed: int
) -> None:
    worker = killed(workers, seed)
    (run_dir,) = worker.runs
    for path in run_dir.glob("traces/*.json"):
        if not whole_lines(path):
            continue  # killed as it was made
        live = engine.load(path)
        assert live.errors() == {}
        counts = Counter(event["ph"] for event in whole_lines(path))
        assert live.column("select count(*) from slice") == [sum(counts[each] for each in "XBbi")]
        assert live.column("select count(*) from counter") == [counts["C"]]
    trace = check_merged(engine, run_dir, tmp_path / "out.json.gz")
    flows = {
        phase: {e["id"] for path in run_dir.glob("traces/*") for e in whole_lines(path) if e["ph"] == phase}
        for phase in "sf"
    }
    assert trace.counts().flows == len(flows["s"] & flows["f"])


def test_a_run_that_was_killed_and_started_again_is_one_timeline(
    workers: Workers, engine: Engine, tmp_path: Path
) -> None:
    killed(workers, 100)
    worker = killed(workers, 101)
    assert worker.notes("started") == [1, 2]
    (run_dir,) = worker.runs
    trace = check_merged(engine, run_dir, tmp_path / "out.json.gz")
    processes = trace.query("select name, upid from process where name like 'process 0%' order by pid")
    assert [row["name"].rpartition(" · ")[2] for row in processes] == ["attempt 1", "attempt 2"]
    first, second = (
        trace.query(
            "select min(s.ts) as begin, max(s.ts + s.dur) as end"
            " from slice s join thread_track t on t.id = s.track_id"
            f" join thread using (utid) where upid = {row['upid']}"
        )[0]
        for row in processes
    )
    assert first["end"] < second["begin"]
    merge([run_dir], tmp_path / "out.pftrace", "pftrace")
    trace = engine.load(tmp_path / "out.pftrace")
    assert (trace.errors(), slices(trace)) == ({}, expected(run_dir))
    merge([run_dir], tmp_path / "out.tar", "tar")
    trace = engine.load(tmp_path / "out.tar")
    assert (trace.errors(), slices(trace)) == ({}, expected(run_dir))


@pytest.fixture(scope="module")
def live_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real file of one segment."""
    with workers_of(script.__file__, tmp_path_factory.mktemp("live")) as workers:
        worker = workers.start("endless", segment_mb=1000, env=PYTHONPATH)
        until(lambda: trace_bytes(worker) > 300_000)
        worker.kill()
        (path,) = worker.disk.glob("runs/run/traces/*.json")
    return path


@pytest.mark.parametrize("seed", range(50))
def test_a_file_may_be_cut_anywhere(live_file: Path, engine: Engine, tmp_path: Path, seed: int) -> None:
    """As a kill in the middle of a write, or a full disk, would cut it."""
    data = live_file.read_bytes()
    run_dir = tmp_path / "run"
    (run_dir / "traces").mkdir(parents=True)
    begin = data.index(b"}},\n") + 4  # after the header, which is written at once with what follows
    cut = run_dir / "traces" / live_file.name
    cut.write_bytes(data[: random.Random(seed).randrange(begin, len(data))])
    assert engine.load(cut).errors() == {}
    check_merged(engine, run_dir, tmp_path / "out.json.gz")


def test_processes_of_a_launched_job_are_one_timeline(tmp_path: Path, engine: Engine) -> None:
    steps = 20
    done = subprocess.run(
        [sys.executable, "-m", "sightline.cli", "launch", "-n", "2", "--", sys.executable, script.__file__,
         "ordered", json.dumps({"steps": steps})],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={**script.os.environ, **PYTHONPATH, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = merge([tmp_path / "runs" / "run"], tmp_path / "out.json.gz")
    assert report.problems == []
    trace = engine.load(tmp_path / "out.json.gz")
    assert trace.errors() == {}
    assert slices(trace) == {
        "send": steps, "pack": steps, "receive": steps, "prepare": steps, "work": 2 * steps,
    }  # fmt: skip
    assert trace.counts().flows == steps
    assert trace.counts().counters == steps
    order = trace.query(
        "select o.ts as begin, i.ts as end from flow"
        " join slice o on o.id = slice_out join slice i on i.id = slice_in"
    )
    assert all(row["begin"] < row["end"] for row in order)
    names = [
        name.rpartition(" · ")[0] for name in trace.column("select name from process where name like '%·%'")
    ]
    assert sorted(names) == ["process 0 · trainer", "process 1 · rollout"]
    spans = stage_spans(one_run([tmp_path / "runs" / "run"]))
    sends = {span.step: span for span in spans if span.name == "send"}
    waiting = [span for span in spans if span.waits_for is not None]
    assert [span.name for span in waiting] == ["receive"] * steps
    for span in waiting:
        assert span.waits_for is not None
        process, _, at = span.waits_for
        assert process == 0
        assert sends[span.step].start < at <= sends[span.step].end
    for found in analyse(spans).steps:
        path = [(part.process, part.stage) for part in found.critical]
        assert (0, "pack") in path  # that is what process 1 waited for
        assert path.index((0, "pack")) < path.index((1, "receive"))


def test_processes_whose_clocks_are_wrong_are_aligned_within_what_is_stated(workers: Workers) -> None:
    """The other one's clock is 250 ms ahead and 50 ppm too fast, and its time of day is hours off."""
    clocks = ["0,0,0", "250000000,50,12345000000000"]
    job = [
        workers.start(
            "compared", disk=f"p{p}",
            env={**PYTHONPATH, **job_env, "JAX_PROCESS_ID": str(p), "CLOCK": clocks[p]},
        )
        for p, job_env in enumerate([environment()] * 2)
    ]  # fmt: skip

    def syncs() -> int:
        return sum(path.read_bytes().count(b"root_time_ns") for path in job[1].disk.glob("runs/run/traces/*"))

    until(lambda: syncs() >= 3)
    for worker in job:
        worker.tell("end")
    for worker in job:
        worker.wait()
    for dirs in ([job[0].disk, job[1].disk], [job[1].disk]):  # also where the root's files are not here
        timeline = Timeline([disk / "runs" / "run" for disk in dirs])
        others = [i for i, trace in enumerate(timeline.traces) if trace.process == 1]
        between = compared_range(timeline, others[0])
        uncertainty = timeline.clocks[others[0]].uncertainty_ns
        assert uncertainty is not None
        off: dict[int, list[int]] = {}
        for i, event in timeline.events():
            if isinstance(event, Instant) and event.name == "moment" and between[0] <= event.at <= between[1]:
                off.setdefault(timeline.traces[i].process, []).append(event.at - event.args["true_ns"])
        truth = time.time_ns() - time.perf_counter_ns() if 0 not in off else sorted(off[0])[len(off[0]) // 2]
        # What an instant takes from its reading of the true time to its own is in it too: the median of many.
        median = sorted(off[1])[len(off[1]) // 2]
        assert abs(median - truth) <= uncertainty + 500_000, (median - truth, uncertainty)


def environment() -> dict[str, str]:
    from tests.harness import free_port

    return {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}


def compared_range(timeline: Timeline, which: int) -> tuple[int, int]:
    """From the first comparison of a process to its last, on the timeline."""
    trace, clock = timeline.traces[which], timeline.clocks[which]
    moments = [sync.perf_counter_ns - trace.base_ns for sync in trace.syncs]
    assert isinstance(clock, ProcessClock)
    assert all(abs(sync.offset_ns + 250_000_000) < 150_000_000_000 for sync in trace.syncs)
    return clock.at(min(moments)), clock.at(max(moments))
