"""Sample tables over processes: everything in the processes' files, a few rows in journal and sinks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.harness import Worker, Workers


def rows_in_files(worker: Worker, table: str) -> list[dict[str, Any]]:
    """All rows of a process, without the header."""
    (run,) = [path for path in (worker.disk / "runs").iterdir() if path.is_dir() and not path.is_symlink()]
    found = []
    for path in sorted((run / "samples").glob(f"{table}.p*.jsonl")):
        header, *lines = map(json.loads, path.read_text().splitlines())
        assert header["type"] == "header"
        assert path.name == f"{Path(table).name}.p{header['process']:05d}.a{header['attempt']:02d}.jsonl"
        found += lines
    return found


def test_each_process_keeps_all_its_rows_and_the_root_shows_a_few(workers: Workers) -> None:
    processes, steps, rows = 3, 4, 20
    job = workers.start_job(processes, "samples", steps=steps, rows=rows)
    job.wait()
    whole: dict[tuple[int, int], dict[str, Any]] = {}
    for p, worker in enumerate(job):
        kept = rows_in_files(worker, "train/rollouts")
        assert [line["step"] for line in kept] == [step for step in range(steps) for _ in range(rows)]
        assert all(len(line["row"]["completion"]) == 10_000 for line in kept)
        whole |= {(p, line["row"]["n"]): line["row"] for line in kept}
    lines = [record for record in job.root.journal() if record["type"] == "sample"]
    assert [(line["step"], line["table"], line["recorded"]) for line in lines] == [
        (step, "train/rollouts", processes * rows) for step in range(steps)
    ]
    for line in lines:
        shown = line["rows"]
        rewards = [r["reward"] for (_, n), r in whole.items() if n // rows == line["step"]]
        assert len(shown) == 8
        assert (shown[0]["reward"], shown[1]["reward"]) == (max(rewards), min(rewards))
        assert len({(row["process"], row["n"]) for row in shown}) == 8
        for row in shown:
            full = whole[row["process"], row["n"]]
            assert row["reward"] == full["reward"]
            assert row["prompt"] == full["prompt"]
            assert len(row["completion"].encode()) < 4096
            assert full["completion"].startswith(row["completion"].partition("… [")[0])
    commits = {c["seq"]: c for c in job.root.commits()}
    assert all(commits[line["seq"]]["step"] == line["step"] for line in lines)
