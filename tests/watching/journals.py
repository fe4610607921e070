"""Journals as runs write them, and a run that is written while somebody watches."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import orjson

import sightline as sl
from sightline.runs.run_directory import RunDirectory
from sightline.watching.cells import FULL
from sightline.watching.drawing import View, page
from sightline.watching.facts import Facts
from sightline.watching.live import Watch

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202eevil\u2066 \x9b31m\rback\b\x00 שלום مرحبا \ud83d\ude00".encode(
    "utf-16", "surrogatepass"
).decode("utf-16")


def line(**fields: Any) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def run_line(attempt: int = 1, *, processes: int = 1, **more: Any) -> bytes:
    known = {"format": 1, "run_id": "r", "name": "grpo", "started": 1000.0, "starts": [[1, 0, None]]}
    return line(type="run", **{**known, "attempt": attempt, "processes": processes, **more})


def steps_event(total: int, *, attempt: int = 1, start: int = 0) -> bytes:
    return line(type="event", event="steps", start=start, total=total, attempt=attempt, time=1000.0)


def commit(
    step: int, values: dict[str, Any], *, attempt: int = 1, moment: float | None = None, **more: Any
) -> bytes:
    moment = 1000.0 + 2 * step if moment is None else moment
    return line(type="commit", seq=step + 1, attempt=attempt, step=step, k=0, time=moment, expected=1,
                reported=1, values=values, **more)  # fmt: skip


def process_values(step: int, values: dict[str, list[float]], *, attempt: int = 1) -> bytes:
    count = len(next(iter(values.values())))
    return line(type="process_values", seq=step + 1, attempt=attempt, step=step, k=0,
                processes=list(range(count)), values=values)  # fmt: skip


def written(run_dir: Path, *lines: bytes) -> Path:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.jsonl").write_bytes(b"".join(lines))
    return run_dir


def logged(run_dir: Path, process: int, *records: dict[str, Any], attempt: int = 1) -> Path:
    path = run_dir / "logs" / f"p{process:05d}.a{attempt:02d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        for record in records:
            file.write(line(**record))
    return path


def warning(moment: float, message: str, *, process: int = 0, level: str = "WARNING") -> dict[str, Any]:
    return {
        "time": moment, "level": level, "logger": "rollout", "process": process, "message": message,
    }  # fmt: skip


def facts(run_dir: Path, **arguments: Any) -> Facts:
    return Watch(run_dir, **arguments).facts()


def shown(
    run: Path | Watch,
    width: int = 80,
    height: int | None = None,
    *,
    view: View = View(),  # noqa: B008
    **arguments: Any,
) -> str:
    """The page as text; checks that it fits."""
    watched = run if isinstance(run, Watch) else Watch(run, **arguments)
    lines = page(watched.facts(view), width, height, view=view, glyphs=FULL, now=time.time())
    assert all(each.cell_len <= width for each in lines), [each.plain for each in lines]
    assert height is None or len(lines) <= height
    text = "\n".join(each.plain.rstrip() for each in lines)
    assert text.replace("\n", "").isprintable(), text
    return text


def rich_run(run_dir: Path, steps: int = 60) -> Path:
    """Sixteen processes, of which the thirteenth is slow, with all kinds of lines and some trouble."""
    lines = [run_line(processes=16), steps_event(200)]
    for step in range(steps):
        own = {
            "time/train/rollout_s": [1.0 + (0.3 if process == 13 else 0.0) for process in range(16)],
            "time/train/update_s": [0.5] * 16,
        }
        values: dict[str, Any] = {key: sum(each) / 16 for key, each in own.items()}
        values |= {
            "time/train/rollout_s_max": 1.3, "time/train/rollout_s_slowest": 13, "time/train/step_s": 1.6,
            "train/reward/total/mean": step / steps, "train/reward/total/max": 1.0,
            "train/loss": math.exp(-step / 20), "train/kl": 0.01, "train/unusual": 3.0,
            "obs/sink/wandb/lag_steps": step, "obs/sink/wandb/commit_ms": 30.0,
            "obs/sink/jsonl/lag_steps": 0,
            "host/memory/used_bytes/mean": 60e9, "host/memory/used_bytes/max": 97e9,
            "host/memory/limit_bytes/max": 100e9, "host/machine/cpu_fraction/mean": 0.5,
        }  # fmt: skip
        if step == 30:
            values["obs/conflicts"] = 2
            lines.append(line(type="event", event="nonfinite", key="train/ratio", step=30, processes=[7],
                              nan=1, site="train.py:212", attempt=1, time=1060.0))  # fmt: skip
        lines.append(commit(step, values, missing=[5, 6] if step in (40, 41) else None))
        lines.append(process_values(step, own))
        rows = [
            {"prompt": "2 + 2?", "completion": "4", "reward": 1.0},
            {"prompt": "3 + 3?", "completion": "x\n\ny", "reward": 0.0},
            {"prompt": "none", "completion": "middle", "reward": 0.5},
        ]
        lines.append(line(type="sample", seq=step + 1, attempt=1, step=step, k=0, table="rollouts",
                          recorded=64, rows=rows))  # fmt: skip
    written(run_dir, *lines)
    logged(run_dir, 0, warning(1001.0, "slow disk"), warning(1002.0, "no container", level="ERROR"))
    return run_dir


# --- processes that write while somebody watches -----------------------------------------------------------


def write_slowly(folder: str, name: str, commits: int, attempt: int = 1, keys: int = 1) -> None:
    """A real run that makes commits, then one each time it is told, until it is told to end."""
    place = Path(folder)
    with sl.start(place, name=name, sinks=[], naming="off", resume="allow") as run:
        for step in run.steps(1000):
            if step >= commits:
                Path(place / f"committed{attempt}").touch()
                while not (place / f"next{step}").exists():
                    if (place / "end").exists():
                        return
                    time.sleep(0.02)
            sl.scalar(**{"train/loss": 1 / (1 + step)})
            sl.sample(
                "rollouts", prompt=f"prompt {step} {HOSTILE}", completion=HOSTILE * 3, reward=float(step)
            )
            for key in range(keys):
                sl.scalar(f"more/key{key:02d}", key)
            run.commit(step)
            run.flush()


def hold_stalled(folder: str, name: str) -> None:
    """Holds a run directory whose last commit is long ago, by its pace."""
    directory = RunDirectory(folder, name, "allow")
    now = time.time()
    lines = [run_line(processes=4, started=now - 500), steps_event(100)]
    lines += [commit(step, {"train/loss": 1.0}, moment=now - 300 + step, missing=None) for step in range(20)]
    lines.append(
        line(type="event", event="stall", step=20, k=0, waiting_for=[2, 3], attempt=1, time=now - 200)
    )
    directory.journal.write_bytes(b"".join(lines))
    (Path(folder) / "committed1").touch()
    time.sleep(600)


if __name__ == "__main__":
    {"write_slowly": write_slowly, "hold_stalled": hold_stalled}[sys.argv[1]](**json.loads(sys.argv[2]))
