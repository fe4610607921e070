"""What trace files and logs say of clocks and of what was dropped; real files, and planted lines in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.doctor.process_traces import clock_findings, dropped_findings
from sightline.doctor.run_files import files_of

SECOND = 10**9


def trace(run_dir: Path, process: int, *, host: str, ahead_s: float = 0.0, compared: bool = True) -> Path:
    """A trace file, of a process whose time of day is ahead of process 0's."""
    own = 1_700_000_000 * SECOND + round(ahead_s * SECOND)
    header = {
        "format": 1, "base_ns": 0, "run_id": "ab", "attempt": 1, "process": process, "processes": 4,
        "host": host, "pid": 1, "perf_counter_ns": 5 * SECOND, "time_ns": own, "segment": 0,
    }  # fmt: skip
    events: list[dict[str, Any]] = [{"ph": "M", "name": "sightline", "pid": 1, "tid": 1, "args": header}]
    if compared and process:
        sync = {"perf_counter_ns": 8 * SECOND, "offset_ns": 0, "uncertainty_ns": 200_000,
                "root_time_ns": 1_700_000_003 * SECOND}  # fmt: skip
        events.append({"ph": "M", "name": "sightline clock", "pid": 1, "tid": 1, "args": sync})
    path = run_dir / "traces" / f"p{process:05d}.a01.0000.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(each, separators=(",", ":")) + ",\n" for each in events]
    path.write_text("".join(["[\n", *lines]))
    return path


def test_offsets_are_those_that_the_run_has_measured(tmp_path: Path) -> None:
    trace(tmp_path, 0, host="a")
    trace(tmp_path, 1, host="b", ahead_s=0.25)
    (found,) = clock_findings(tmp_path, "run")
    assert (found.level, found.data["clocks"]) == ("ok", {"1": {"offset_s": 0.25, "uncertainty_s": 0.0002}})
    trace(tmp_path, 2, host="c", ahead_s=-40.0)
    (found,) = clock_findings(tmp_path, "run")
    assert found.level == "note"
    assert "compared with process 0's: 2 of 2, within 0.2 ms" in found.what
    assert "process 2's time of day is 40 s behind" in found.what


def test_differences_that_mean_nothing_are_not_told(tmp_path: Path) -> None:
    trace(tmp_path, 0, host="a")
    trace(tmp_path, 1, host="b", ahead_s=0.0001)
    (found,) = clock_findings(tmp_path, "run")
    assert found.what == "compared with process 0's: 1 of 1, within 0.2 ms; no time of day differs by more"


def test_hosts_that_were_never_compared_are_said(tmp_path: Path) -> None:
    """Not where all are on one, which has one clock."""
    assert clock_findings(tmp_path, "run") == []
    trace(tmp_path, 0, host="a")
    trace(tmp_path, 1, host="a", compared=False)
    assert clock_findings(tmp_path, "run")[0].level == "ok"
    trace(tmp_path, 2, host="b", compared=False)
    assert clock_findings(tmp_path, "run")[0].level == "note"


def test_what_was_dropped_is_added_up_by_process(tmp_path: Path) -> None:
    path = trace(tmp_path, 3, host="a")
    assert dropped_findings(tmp_path, "run")[0].level == "ok"
    with path.open("a") as file:
        for count in (7, 35):
            name = "sightline: events dropped"
            file.write(
                f'{{"ph":"i","name":"{name}","pid":4,"tid":1,"ts":1.0,"args":{{"dropped":{count}}}}},\n'
            )
            file.write('{"ph":"X","name":"x","pid":4,"tid":1,"ts":1.0,"dur":1.0},\n' * 30_000)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "p00001.a01.jsonl").write_text('{"message":"a"}\n{"message":"3 lines are missing","lost":3}\n')
    events, lines = dropped_findings(tmp_path, "run")
    assert (events.level, events.data["by_process"]) == ("wrong", {"p00003": 42})
    assert (lines.level, lines.data["by_process"]) == ("wrong", {"p00001": 3})


def test_files_tell_whose_they_are_and_of_how_many(tmp_path: Path) -> None:
    for process in (0, 3):
        trace(tmp_path, process, host="a")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "eval.p00002.a02.jsonl").write_text("{}\n")
    (tmp_path / "metrics.jsonl").write_text("x" * 5000)
    (tmp_path / "wandb" / "offline-run-1-a").mkdir(parents=True)
    (tmp_path / "latest").symlink_to(tmp_path)
    files = files_of(tmp_path)
    assert files.processes == {1: {0, 3}, 2: {2}}
    assert files.expected == 4
    assert files.by_kind["journal"] == 5000
    assert files.largest[0] == (5000, Path("metrics.jsonl"))
    assert [each.is_uploaded for each in files.wandb_offline] == [False]
