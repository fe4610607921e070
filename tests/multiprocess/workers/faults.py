"""What the processes of the tests of faults do."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.text_logging.config import TextLoggingConfig
from tests.multiprocess.workers.common import (
    LONG_S,
    RANK,
    Commits,
    connect,
    main,
    note,
    settings,
    transport_of,
    wait_for,
)


def steady(
    *,
    deadline_s: float = LONG_S,
    recoverable: bool = False,
    pace_s: float = 0.05,
    queue_size: int = 64,
    finish_s: float = LONG_S,
    first: int = 0,
    began: float | None = None,
) -> None:
    """Commits until it is told to end. From step 5 on at the pace of the clock, as all others: who has been
    stopped catches up. Until then it waits for the word to go on.

    Args:
        first: the first step of a process that takes the place of one that has died.
        began: when the others were told to go on.
    """
    connect(recoverable=recoverable)
    options = {"deadline_s": deadline_s, "queue_size": queue_size, "finish_timeout_s": finish_s}
    with sl.start(logger=settings(**options)) as run:
        commit = Commits(run)
        step = first
        while not Path("end").exists():
            commit(step)
            step += 1
            if began is None and step == 5:
                wait_for("go")
                began = Path("go").stat().st_mtime
            if began is not None:
                time.sleep(max(0.0, began + (step - 5) * pace_s - time.time()))
        note("longest_commit_s", commit.longest_s)
    if recoverable:
        os._exit(0)  # JAX's own shutdown would wait for the dead


def garbage(*, steps: int) -> None:
    """Process 1 posts what no sightline would, beside its own commits."""
    import struct

    import orjson

    connect()
    run = sl.start(logger=settings(deadline_s=5.0))
    commit = Commits(run)
    for step in range(steps):
        if RANK == 1 and step == 1:
            run.flush(LONG_S)
            from jax._src.distributed import global_state

            from sightline.posting.message import Message
            from sightline.values.snapshot import Snapshot

            def framed(header: Any, body: bytes = b"") -> bytes:
                encoded = orjson.dumps(header)
                return struct.pack("<I", len(encoded)) + encoded + body

            good = {"kind": "commit", "process": 1, "slot": [step, 0], "wall_s": 0.0, "obs": {}, "note": ""}
            newer = bytearray(Snapshot.empty(1).to_bytes())
            newer[4] = 99
            channel = f"sl/{run.run_id}.{run.logger.attempt}"
            posts = {
                "99.feed.0": Message("commit", 99, (step, 0), snapshot=Snapshot.empty(1)).to_bytes(),
                "1.feed.0": b"",
                "1.feed.1": b"\xff" * 40,
                "1.feed.2": framed(good, b"no snapshot"),
                "1.feed.3": framed(good, bytes(newer)),
                "1.feed.4": framed(good | {"kind": "gossip"}),
                "1.feed.5": framed(good | {"slot": ["a", "b"]}),
                "1.feed.6": framed([1, 2, 3]),
                "1.feed.7": framed(good | {"process": "one"}),
                "not a place": b"?",
                "a.b.c": b"?",
            }
            for key, payload in posts.items():
                global_state.client.key_value_set_bytes(f"{channel}/{key}", payload)
            note("posted", len(posts))
        commit(step)
    run.finish()


def never_ends(*, finish_s: float) -> None:
    """Process 1 commits and then hangs; the root finishes, within its time-out."""
    connect()
    run = sl.start(logger=settings(finish_timeout_s=finish_s))
    sl.total(everyone=1)
    run.commit(0)
    if RANK:
        run.flush(LONG_S)
        wait_for("end")
        os._exit(0)
    note("finished", run.finish())
    note("again", run.finish())
    wait_for("end")
    os._exit(0)


def root_cannot_start(*, resume: str) -> None:
    """The root's log_dir cannot be made, or has nothing to resume."""
    connect()
    if RANK == 0 and resume == "allow":
        Path("runs").touch()
    try:
        run = sl.start(logger=settings(resume=resume))
        run.finish(30)
    except sl.SightlineError as error:
        note("error", [type(error).__name__, str(error)])


class _OddSink:
    """Of another package, and not made well."""

    name = "odd"
    stores_at_close = False

    @property
    def rewind(self) -> str:
        if Path("runs/run/metrics.jsonl").exists():
            raise RuntimeError("odd \ud800")
        return "continue"

    def open(self, run: object) -> None: ...

    def write(self, records: object) -> None: ...

    def close(self) -> None: ...


def root_fails_at_the_start(*, resume: str, why: str) -> None:
    """By a sink, which raises no error of sightline's, or by a part of the process; and then starts again
    under the same name."""
    connect()
    given: dict[str, Any] = {}
    path = os.environ["PATH"]
    if RANK == 0 and why == "sink":
        given["sinks"] = [_OddSink()]
    if RANK == 0 and why == "part":
        os.environ["PATH"] = ""  # where no tee is
        given["logging"] = TextLoggingConfig(capture_output=True)
    try:
        run = sl.start(logger=settings(resume=resume, name="run", **given))
        note("finished", run.finish(30))
    except (RuntimeError, sl.SightlineError) as error:
        note("error", [type(error).__name__, str(error).encode(errors="replace").decode()])
    os.environ["PATH"] = path
    with sl.start(logger=settings(resume=resume, name="run")) as run:
        sl.total(everyone=1)
        run.commit(0)


def resumes(*, steps: int) -> None:
    """Two processes go on where the journal of the root ends, which process 1 cannot see."""
    connect()
    with sl.start(logger=settings(resume="allow", name="run")) as run:
        note("next_step", [run.next_step, run.logger.attempt])
        for step in run.steps(run.next_step + steps):
            sl.total(everyone=1)
            run.commit(step)


def restarts() -> None:
    """Process 1 makes a second logger after the first: each pairs with the root's of the same number."""
    if RANK == 0:  # a logger of its own, that no other process has
        alone = sl.StatsLogger(
            settings(log_dir="alone"), transport=transport_of("local"), tracker=sl.StatsTracker()
        )
        alone.commit(0, {"x": 1})
        alone.finish()
    connect()
    for name in ("first", "second"):
        with sl.start(name=name, logger=settings()) as run:
            sl.total(everyone=1)
            run.commit(0)


def odd_texts(*, steps: int) -> None:
    """Texts as models write them: lone surrogates, which UTF-8 cannot hold."""
    connect()
    with sl.start(logger=settings()) as run:
        for step in range(steps):
            sl.text(completion="half of a pair \ud83d, and \x00")
            sl.total(everyone=1)
            if RANK == 0 and step == 1:
                run.logger.event("odd", value="\udcff")
                run.logger.event("odder", value=object())
            run.commit(step)


if __name__ == "__main__":
    main(globals())
