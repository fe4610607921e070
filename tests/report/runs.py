"""Runs for reports: their files, written as runs write them, with whatever is to be found in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

START = 1_700_000_000.0

#: What must not act, wherever it stands; each would set ``window.pwned`` if it did.
EVIL = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=2</script>",
    "<img src=x onerror=window.pwned=3>",
    '"><svg onload=window.pwned=4>',
    '<a href="javascript:window.pwned=5">x</a>',
    "<!--<script>window.pwned=6",
    "{{CODE}} {{DATA}} ${window.pwned=7} %{x} </textarea>",
    "\u2028\u2029 \u202edesrever\u202c \u200bzero\u200b\ufeff\x1b[2J\x00",
)


def line(**fields: Any) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


class RunFiles:
    """A run directory as a run of sightline would leave it.

    Args:
        path: of the directory.
        processes: how many the run has.
    """

    def __init__(self, path: Path, *, processes: int = 1, run_id: str = "r") -> None:
        self.path = path
        self.processes = processes
        self.run_id = run_id
        self.seq = 0
        self.attempt = 0
        self.time = START
        self.last_step: int | None = None
        self.starts: list[list[int | None]] = []
        path.mkdir(parents=True, exist_ok=True)

    def write(self, data: bytes) -> None:
        with open(self.path / "metrics.jsonl", "ab") as file:
            file.write(data)

    def begin(self, step: int = 0, **more: Any) -> None:
        self.attempt += 1
        self.starts.append([self.attempt, step, self.last_step])
        self.write(
            line(
                type="run",
                **{
                    "format": 1, "run_id": self.run_id, "attempt": self.attempt, "started": self.time,
                    "processes": self.processes, "starts": self.starts, **more,
                },
            )
        )  # fmt: skip

    def commit(self, step: int, values: dict[str, float | None], **more: Any) -> None:
        self.seq += 1
        self.time += 1
        self.last_step = step
        place = {"seq": self.seq, "attempt": self.attempt, "step": step, "k": 0}
        by_process = more.pop("by_process", None)
        self.write(
            line(
                type="commit",
                **place,
                time=self.time,
                values=values,
                **{"expected": 1, "reported": 1, **more},
            )
        )
        if by_process is not None:
            numbers = list(range(self.processes))
            self.write(line(type="process_values", **place, processes=numbers, values=by_process))

    def say(self, kind: str, **fields: Any) -> None:
        self.write(line(type=kind, attempt=self.attempt, **fields))

    def finish(self) -> None:
        self.time += 1
        self.say("event", event="finish", missing=[], time=self.time)

    def facts(self, **facts: Any) -> None:
        (self.path / "run.json").write_bytes(orjson.dumps(facts))

    def log(self, process: int, *lines: dict[str, Any]) -> None:
        (self.path / "logs").mkdir(exist_ok=True)
        path = self.path / "logs" / f"p{process:05d}.a01.jsonl"
        header = {
            "type": "header", "kind": "log", "format": 1, "run_id": self.run_id, "attempt": 1,
            "process": process, "processes": self.processes,
        }  # fmt: skip
        path.write_bytes(b"".join(line(**each) for each in (header, *lines)))

    def samples(self, table: str, process: int, rows: Sequence[dict[str, Any]], *, attempt: int = 1) -> None:
        """Each with its ``step``; the other columns are those of the row."""
        path = self.path / "samples" / f"{table}.p{process:05d}.a{attempt:02d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {
            "type": "header", "table": table, "run_id": self.run_id, "process": process,
            "processes": self.processes, "attempt": attempt,
        }  # fmt: skip
        said = (
            {"step": row["step"], "k": 0, "time": START, "row": {k: v for k, v in row.items() if k != "step"}}
            for row in rows
        )
        path.write_bytes(b"".join(line(**each) for each in (header, *said)))

    def sessions(self, process: int, sessions: Sequence[dict[str, Any]]) -> None:
        (self.path / "sessions").mkdir(exist_ok=True)
        path = self.path / "sessions" / f"p{process:05d}.a01.jsonl"
        header = {
            "type": "header", "format": 1, "run_id": self.run_id, "attempt": 1, "process": process,
            "perf_counter_ns": 0, "time_ns": int(START * 1e9),
        }  # fmt: skip
        path.write_bytes(b"".join(line(**each) for each in (header, *sessions)))


def session(name: str, start_s: float, took_s: float, **more: Any) -> dict[str, Any]:
    start, end = int(start_s * 1e9), int((start_s + took_s) * 1e9)
    half = (start + end) // 2
    return {
        "type": "session", "id": name, "part": name, "task": name, "start": start, "end": end, "decided": end,
        "status": "accepted", "phases": [{"name": "generate", "start": start, "end": half}],
        "policy_version": 1, "end_version": 3, "step": 0,
    } | more  # fmt: skip


def full_run(path: Path, *, steps: int = 60, seed: int = 0, evil: bool = False, **config: Any) -> RunFiles:
    """Two attempts, sixteen processes of which the twelfth is slow, and something for every section."""
    draw = np.random.default_rng(seed)
    run = RunFiles(path, processes=16, run_id=f"r{seed}")
    bad = (lambda text: f"{text} {EVIL[len(text) % len(EVIL)]}") if evil else (lambda text: text)
    everything = " ".join(EVIL)
    run.begin()
    run.say("event", event="steps", start=0, total=steps, time=run.time)
    order = [*range(steps * 2 // 3), *range(steps // 2, steps)]
    for i, step in enumerate(order):
        if i == steps * 2 // 3:
            run.begin(steps // 2)
            run.say("event", event="steps", start=steps // 2, total=steps, time=run.time)
        values: dict[str, float | None] = {
            "train/loss": 2 * 0.97**step + 0.05 * draw.normal(), "train/reward/total/mean": step / steps,
            "train/reward/total/std": 0.2, "train/reward/total/min": -0.5, "train/reward/total/max": 1.5,
            "train/lr": 1e-3, "throughput/train/tokens_per_s": 900.0, "host/rss_gb": 3 + step / 100,
            "time/train/rollout_s": 0.5, "time/train/update_s": 0.25, "time/train/rollout_s_slowest": 11.0,
            "obs/late_snapshots": 0.0,
        }  # fmt: skip
        if evil:
            values |= {f"evil/{number}/{text}": float(step) for number, text in enumerate(EVIL)}
        if step % 10 == 0:
            values["eval/accuracy/mean"] = step / (steps + 20)
        more: dict[str, Any] = {"texts": {bad("split"): bad("test")}}
        if step == steps // 3:
            values["train/loss"], more["nonfinite"], more["missing"] = None, {"train/loss": "nan"}, [7]
            run.say("event", event="nonfinite", key=bad("train/loss"), step=step, processes=[3],
                    site=bad("train.py:1"), time=run.time)  # fmt: skip
        rows = [0.5 + 0.02 * abs(draw.normal()) + (0.4 if p == 11 else 0) for p in range(16)]
        run.commit(step, values, by_process={"time/train/rollout_s": rows}, **more)
        if step % 10 == 0:
            run.say("histogram", seq=run.seq, step=step, k=0, key=bad("train/length"),
                    edges=[0.0, 1.0, 2.0, 4.0], counts=[step, 60, 60 - step])  # fmt: skip
            rows = [
                {"process": p, bad("prompt"): bad(f"question {step}"), "reward": step / steps + p / 100,
                 "completion": everything if evil else f"<think>the {step}th\nanswer</think>"}
                for p in range(3)
            ]  # fmt: skip
            run.say("sample", seq=run.seq, step=step, k=0, table=bad("rollouts"), recorded=64, rows=rows)
    run.say("late", step=3, k=0, process=5, time=run.time, values={})
    run.say("event", event="stall", step=4, k=0, waiting_for=[7], time=run.time - 3)
    run.finish()
    run.facts(
        config={"seed": seed, bad("model"): {"width": bad("wide")}, **config},
        versions={"python": "3.11"},
        git={"commit": bad("abc")},
        command=["python", bad("train")],
    )
    for process in range(16):
        said = {
            "time": START + 9, "level": "WARNING", "logger": "rollout", "process": process, "step": 3,
            "message": bad(f"tool call {process}"), "exception": bad("Traceback"),
        }  # fmt: skip
        run.log(process, said)
    statuses = ("accepted", "rejected", "failed")
    tried = [
        session(bad(f"task {n}"), n, 1 + n % 7, reason=bad("why"), status=statuses[n % 3]) for n in range(40)
    ]
    run.sessions(0, tried)
    return run
