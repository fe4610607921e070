"""Trace files as processes write them, made by hand: exact times, clocks as a test wants them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EPOCH = 1_800_000_000_000_000_000


class Live:
    """One segment of a process's trace. Times are µs from the process's start; its clock says 0 then.

    Args:
        run_dir: where it belongs.
        ahead_ns: how far its time of day is ahead of the truth, by which ``EPOCH`` is its start.
    """

    def __init__(
        self,
        run_dir: Path,
        process: int = 0,
        *,
        processes: int = 1,
        attempt: int = 1,
        segment: int = 0,
        run_id: str = "run",
        host: str = "host",
        ahead_ns: int = 0,
        base_ns: int = 0,
    ) -> None:
        self.path = run_dir / "traces" / f"p{process:05d}.a{attempt:02d}.{segment:04d}.json"
        self.pid = process + 1
        self.base_ns = base_ns
        self.data = bytearray(b"[\n")
        self.add(
            ph="M", name="sightline", tid=1,
            args={
                "format": 1, "base_ns": base_ns, "run_id": run_id, "attempt": attempt, "process": process,
                "processes": processes, "host": host, "perf_counter_ns": base_ns, "time_ns": EPOCH + ahead_ns,
                "segment": segment,
            },
        )  # fmt: skip
        self.add(ph="M", name="thread_name", tid=1, args={"name": "MainThread"})

    def add(self, **event: Any) -> Live:
        """An event, in full."""
        line = json.dumps({"ph": event.pop("ph"), "pid": self.pid, **event}, separators=(",", ":"))
        self.data += line.encode() + b",\n"
        return self

    def raw(self, data: bytes) -> Live:
        """Bytes as they are."""
        self.data += data
        return self

    def span(self, name: str, ts: float, dur: float, tid: int = 1, **more: Any) -> Live:
        return self.add(ph="X", name=name, tid=tid, ts=ts, dur=dur, **more)

    def clock(self, at_ns: int, time_ns: int) -> Live:
        args = {"perf_counter_ns": self.base_ns + at_ns, "time_ns": time_ns}
        return self.add(ph="M", name="sightline clock", tid=1, args=args)

    def sync(self, at_ns: int, offset_ns: int, uncertainty_ns: int, root_time_ns: int) -> Live:
        return self.add(
            ph="M", name="sightline clock", tid=1,
            args={
                "perf_counter_ns": self.base_ns + at_ns, "offset_ns": offset_ns,
                "uncertainty_ns": uncertainty_ns, "root_time_ns": root_time_ns,
            },
        )  # fmt: skip

    def write(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self.data)
        return self.path.parent.parent
