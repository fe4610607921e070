"""Runs to be listed, compared and exported; and what their journals say, read in the plainest way.

Run as a script, this file is a worker: ``python recorded_runs.py FUNCTION JSON-ARGUMENTS``.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import orjson

import sightline as sl
from sightline.sinks.commits import values_of

ODD = [math.nan, math.inf, -math.inf, 1e-300, 0.1 + 0.2, -0.0, 5e-324, 1e22]


def attempt(
    folder: Path, name: str, stop: int, *, add: float = 0.0, **more: Any
) -> tuple[Path, list[dict[str, Any]]]:
    """One attempt of a run, up to a step: numbers of all kinds, texts, samples, own values, evaluations.

    Returns:
        the run directory, and the state of each step's checkpoint.
    """
    states = []
    with sl.start(folder, name=name, resume="allow", sinks=[], naming="off", **more) as run:
        for step in run.steps(stop):
            sl.scalar("train/loss", 1 / (step + 1) + add)
            sl.scalar("train/odd", ODD[step % len(ODD)])
            sl.total("train/tokens", 2**53 + 1 + step)
            sl.scalar("own", step + add, per_process=True)
            sl.text(split=f"=part {step}")
            sl.sample("rollouts/hard", prompt=[f'p{step},\n"q"', "=1+1"], reward=[float(step), math.nan])
            run.commit(step)
            if step % 4 == 0:
                sl.scalar("eval/acc", step / 100)
                run.commit(step)  # another commit of the same step
            states.append(run.state_dict())
        assert run.dir is not None
    return run.dir, states


def rewound(folder: Path, name: str = "rewound", **more: Any) -> Path:
    """Steps 0 to 9, and again from the checkpoint of step 4 on to 11 with losses 100 higher."""
    _, states = attempt(folder, name, 10, **more)
    return attempt(folder, name, 12, add=100.0, state_dict=states[4], **more)[0]


def expected(run_dir: Path) -> dict[int, dict[str, float]]:
    """By step the values that count, of a run of :func:`rewound`."""
    commits = [each for each in sl.read_journal(run_dir) if each["type"] == "commit"]
    kept = [each for each in commits if each["attempt"] == 2 or each["step"] < 5]
    steps: dict[int, dict[str, float]] = {}
    for each in kept:
        steps.setdefault(each["step"], {}).update(values_of(each))
    return steps


def same(found: float | None, wanted: float | None) -> bool:
    """Equal to the last bit; NaN is NaN, and −0.0 is not 0.0."""
    return (found is None and wanted is None) or repr(float(found or 0.0)) == repr(float(wanted or 0.0))


def written(run_dir: Path, *lines: dict[str, Any], end: bytes = b"") -> Path:
    """A run directory with a journal of these lines."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in lines) + end)
    return run_dir


def run_line(attempt: int = 1, starts: Any = ((1, 0, None),), **more: Any) -> dict[str, Any]:
    return {
        "type": "run", "format": 1, "run_id": "r", "attempt": attempt, "started": 1000.0, "processes": 1,
        "starts": starts, **more,
    }  # fmt: skip


def commit(seq: int, number: int, in_attempt: int = 1, **values: Any) -> dict[str, Any]:
    return {
        "type": "commit", "seq": seq, "attempt": in_attempt, "step": number, "k": 0, "time": 1000.0 + seq,
        "values": values,
    }  # fmt: skip


# --- as a process of its own --------------------------------------------------------------------------------


def commits_until_told(steps: int, is_job: bool = False) -> None:
    """Makes some commits in ``runs/run``, says so, and goes on, slowly, until it is told to end."""
    if is_job:
        import sightline.jax

        assert sightline.jax.initialize(heartbeat_timeout_seconds=100)
    rank = int(os.environ.get("JAX_PROCESS_ID", "0"))
    with sl.start("runs", name="run", sinks=[], naming="off") as run:
        for step in run.steps(1_000_000):
            sl.scalar("train/loss", step + rank, per_process=True)
            sl.sample("rollouts", prompt=f"p{step} of {rank}", reward=float(rank))
            run.commit(step)
            if step == steps - 1:
                run.flush()
                Path("committed").touch()
            if step >= steps:
                time.sleep(0.05)
            if step >= steps - 1 and Path("end").exists():
                break


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
