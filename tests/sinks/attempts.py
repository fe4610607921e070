"""Runs with one sink, for their tests: attempts that go on, go back, or are killed; and their journals."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.sinks.commits import values_of
from tests.harness import until

ROOT = Path(__file__).parents[2]
NAN, INF = math.nan, math.inf
ODD = [NAN, INF, -INF, 1e-300, -1e300, 0.1 + 0.2]  # what the odd values of `attempt` are, one a step

# Commits quickly, to the end or until it is killed. Ends at once where it would leave the machine.
_SCRIPT = """
import json, os, sys, time
def look(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = arguments[1] if event == "socket.connect" else arguments
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost", None):
            print(event, address, flush=True)
            os._exit(99)
sys.addaudithook(look)
import sightline as sl
steps, settings = json.loads(sys.argv[1])
logger = sl.StatsLoggerConfig.from_dict(settings)
with sl.start("runs", name="run", resume="allow", naming="off", logger=logger) as run:
    for step in run.steps(steps):
        sl.scalar(loss=step / 8, lr=1.0 / (step + 1))
        sl.histogram("length", [float(i) for i in range(10)], bins=4)
        run.commit(step)
        time.sleep(0.002)
"""


def settings(sink: str, **its: Any) -> sl.StatsLoggerConfig:
    """With one sink, and its settings."""
    data: dict[str, Any] = {"sinks": [sink], "naming": "off"}
    return sl.StatsLoggerConfig.from_dict({**data, sink: its} if its else data)


def start(folder: Path, logger: sl.StatsLoggerConfig, **others: Any) -> sl.Run:
    """The run ``run`` in a folder, or its next attempt."""
    return sl.start(folder, name="run", resume="allow", logger=logger, **others)


def attempt(
    folder: Path, logger: sl.StatsLoggerConfig, stop: int, *, first: int | None = None, add: float = 0.0,
    **others: Any,
) -> tuple[sl.Run, list[dict[str, Any]]]:  # fmt: skip
    """One attempt up to a step; also the state of each step's checkpoint."""
    states = []
    with start(folder, logger, **others) as run:
        for step in run.steps(stop, start=first):
            sl.scalar(loss=step + add, odd=ODD[step % len(ODD)])
            run.commit(step)
            states.append(run.state_dict())
    return run, states


def rewound(folder: Path, logger: sl.StatsLoggerConfig, *, announced: bool = True) -> Path:
    """Steps 0 to 9, and from the checkpoint of step 4 on again to 11, with losses 100 higher.

    Not announced: only the first commit of the second attempt shows that it goes back.
    """
    _, states = attempt(folder, logger, 10)
    begins: dict[str, Any] = {"state_dict": states[4]} if announced else {"first": 5}
    run, _ = attempt(folder, logger, 12, add=100.0, **begins)
    assert run.dir is not None
    return run.dir


def commits(run: Path | None) -> list[dict[str, Any]]:
    """A journal's commits."""
    assert run is not None
    return [record for record in sl.read_journal(run) if record["type"] == "commit"]


def series(run: Path | None, key: str) -> list[tuple[int, float]]:
    """Of one key: its steps and values in a journal."""
    return [(each["step"], values_of(each)[key]) for each in commits(run) if key in each["values"]]


def same(shown: list[tuple[int, float]], expected: list[tuple[int, float]]) -> bool:
    """Whether two series are equal; NaN is NaN."""
    return [(s, repr(float(v))) for s, v in shown] == [(s, repr(float(v))) for s, v in expected]


def kill_and_go_on(
    folder: Path, kills: int, logger: Mapping[str, Any], progress: Callable[[], int] | None = None
) -> Path:
    """Starts a run, kills it after a while, starts it again; at last lets it end.

    Fails too if the run has written anywhere but in its directory, or has left the machine.

    Args:
        folder: where ``runs/run`` comes to lie.
        kills: how many.
        logger: settings, as plain data.
        progress: what rises while the sink works; by default the steps in the journal.
    """
    rng = random.Random(kills)
    run = folder / "runs" / "run"
    data = {"naming": "off", **logger}

    def started(stop: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _SCRIPT, json.dumps([stop, data])],
            cwd=folder, env={**os.environ, "PYTHONPATH": paths(), "HOME": str(folder / "home")},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def last() -> int:
        journal = run / "metrics.jsonl"
        return max((each["step"] for each in commits(run)), default=-1) if journal.exists() else -1

    def begun() -> int:
        journal = run / "metrics.jsonl"
        return sum(each["type"] == "run" for each in sl.read_journal(run)) if journal.exists() else 0

    made = progress or last
    for number in range(1, kills + 1):
        wanted = made() + rng.randrange(1, 150)
        process = started(10**9)

        def is_far(number: int = number, wanted: int = wanted) -> bool:
            # A server may still be taking what the killed attempt had sent.
            return begun() >= number and made() >= wanted

        try:
            until(lambda: is_far() or process.poll() is not None, f"step {wanted}")  # noqa: B023
            ended = process.poll() is not None
        finally:
            process.kill()
            output, _ = process.communicate()
        assert not ended, output
    process = started(last() + 6)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert commits(run)[-1]["attempt"] == kills + 1
    assert {path.name for path in folder.iterdir()} == {"runs"}
    assert {path.name for path in run.parent.iterdir()} == {"run", "latest"}
    return run


def paths() -> str:
    """Where this process finds its modules, for one in another directory."""
    return os.pathsep.join(os.path.abspath(path) for path in sys.path if path)


@contextmanager
def warnings_said() -> Iterator[list[str]]:
    """What sightline says in the log meanwhile."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = Kept(logging.WARNING)
    log = logging.getLogger("sightline")
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)
