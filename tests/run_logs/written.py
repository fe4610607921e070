"""Files of text logs as a process writes them, on a clock that may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

EPOCH = 1_700_000_000_000_000_000
S = 1_000_000_000


class Written:
    """The log of one process.

    Args:
        run: the run directory.
        process, processes, attempt: which.
        ahead_ns: how far its time of day is ahead of the root's.
        ppm: by how many parts in a million its clocks are too fast.
    """

    def __init__(
        self,
        run: Path,
        process: int = 0,
        *,
        processes: int = 1,
        attempt: int = 1,
        ahead_ns: int = 0,
        ppm: int = 0,
        run_id: str = "r1",
        segment: int = 0,
        pid: int = 1,
    ) -> None:
        self.run = run
        self.process = process
        self.path = run / "logs" / f"p{process:05d}.a{attempt:02d}.jsonl"
        self._ahead_ns, self._ppm = ahead_ns, ppm
        self.data = b""
        self.add(
            type="header", kind="log", format=1, run_id=run_id, attempt=attempt, process=process,
            processes=processes, host=f"h{process}", pid=pid, segment=segment, **self.anchor(0),
        )  # fmt: skip

    def perf(self, true: int) -> int:
        return true + 7 * S * (self.process + 1) + true * self._ppm // 1_000_000

    def day(self, true: int) -> int:
        return EPOCH + true + self._ahead_ns + true * self._ppm // 1_000_000

    def anchor(self, true: int) -> dict[str, int]:
        return {"perf_counter_ns": self.perf(true), "time_ns": self.day(true)}

    def add(self, **fields: Any) -> Written:
        self.data += orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        return self

    def clock(self, true: int) -> Written:
        """What is written every half minute."""
        return self.add(type="clock", **self.anchor(true))

    def sync(self, true: int) -> Written:
        """A comparison with the root, whose clock of spans is right but for 7 s."""
        return self.add(
            type="clock", perf_counter_ns=self.perf(true), offset_ns=true + 7 * S - self.perf(true),
            uncertainty_ns=20_000, root_time_ns=EPOCH + true,
        )  # fmt: skip

    def say(self, true: int, message: str, level: str = "INFO", logger: str = "talk", **more: Any) -> Written:
        """An entry at a moment of the root's, in ns since its start."""
        return self.add(
            time=self.day(true) / 1e9,
            level=level,
            logger=logger,
            process=self.process,
            message=message,
            **more,
        )

    def end(self) -> Written:
        return self.add(type="end", time=0)

    def write(self, name: str | None = None) -> Path:
        path = self.path if name is None else self.path.with_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return self.run
