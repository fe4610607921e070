"""Text logs over processes: each has files of its own, on its own disk, under one run."""

from __future__ import annotations

import json

from tests.harness import Workers, until


def test_every_process_logs_into_its_run_directory_and_the_root_alone_on_the_console(
    workers: Workers,
) -> None:
    """Off the root that waits until the root has said where the run lies."""
    job = workers.start_job(2, "talks")
    job.wait()
    (run_id,) = job.root.notes("run")
    for process, worker in enumerate(job):
        (path,) = {path.resolve() for path in worker.disk.glob("runs/*/logs/*.jsonl")}  # `latest` is a link
        assert path.name == f"p{process:05d}.a01.jsonl"
        header, *lines = map(json.loads, path.read_bytes().splitlines())
        assert (header["run_id"], header["process"], header["processes"]) == (run_id, process, 2)
        said = [line for line in lines if line.get("logger") == "talk"]
        assert [(line["message"], line["process"], line["step"]) for line in said] == [
            (f"hello from {process}", process, step) for step in range(2)
        ]
        assert lines[-1]["type"] == "end"
    assert ["hello from" in worker.output for worker in job] == [True, False]


def test_what_is_printed_before_the_run_is_named_is_captured_too(workers: Workers) -> None:
    """Off the root, in its order, on the screen, in the log and in the file; and nothing else is left."""
    job = workers.start_job(2, "prints_early")
    until(lambda: job[1].notes("printed"), "what is printed early")
    job.root.tell("go")
    job.wait()
    assert job[1].notes("printed") == [True]
    expected = ["early from a child", "early", "late"]
    runs = job[1].disk / "runs"
    logs = runs / "run" / "logs"
    assert (logs / "p00001.a01.stdout").read_text().splitlines() == expected
    lines = list(map(json.loads, (logs / "p00001.a01.jsonl").read_bytes().splitlines()))
    assert [line["message"] for line in lines if line.get("logger") == "stdout"] == expected
    assert [line for line in job[1].output.splitlines() if line in expected] == expected
    assert [path.name for path in runs.iterdir()] == ["run"]
