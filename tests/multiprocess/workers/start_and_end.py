"""What the processes of the tests of starts and ends do."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

import sightline as sl
from tests.multiprocess.workers.common import (
    RANK,
    backends_are_up,
    connect,
    main,
    note,
    settings,
)


def until_preempted(*, jax_handler: bool) -> None:
    """Commits until SIGTERM; under JAX's own handler until all processes have agreed on a last step."""
    connect()
    from jax.experimental import multihost_utils

    if not jax_handler:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run = sl.start(logger=settings(grace_s=3.0))
    step = 0
    while True:
        sl.total(everyone=1)
        note("sent", step)
        run.commit(step)
        if jax_handler and multihost_utils.reached_preemption_sync_point(step):
            note("sync_point", step)
            break
        step += 1
        time.sleep(0.005)
    run.finish()


def handles_sigterm_itself() -> None:
    """One process with a handler of its own, which must run after sightline's."""

    def mine(number: int, frame: object) -> None:
        note("mine", [r["step"] for r in sl.read_journal(run.dir) if r["type"] == "commit"])
        sys.exit(3)

    signal.signal(signal.SIGTERM, mine)
    run = sl.start(logger=settings())
    step = 0
    while True:
        sl.scalar(loss=1.0)
        run.commit(step)
        note("sent", step)
        step += 1
        time.sleep(0.002)


def ends_in_the_middle_of_calls(*, threads: int) -> None:
    """The main thread ends while others are in the store, waiting and asking."""
    from sightline.jax.distributed import distributed
    from sightline.transports.jax_store import JaxStoreTransport

    connect()
    found = distributed()
    assert found is not None
    transport = JaxStoreTransport(found.client, found.process, found.processes)

    def ask(number: int) -> None:
        while True:
            transport.lookup(f"never/{number}", 60.0 if number % 2 else 0.001)

    for number in range(threads):
        threading.Thread(target=ask, args=(number,), daemon=True).start()
    time.sleep(0.5)
    note("ends", RANK)


def introduces_itself(*, steps: int) -> None:
    """A back end is started in the middle of the run, which asks for none."""
    connect()
    with sl.start(name="run", logger=settings()) as run:
        for step in range(steps):
            sl.total(everyone=1)
            if step == steps - 2:
                import jax

                assert not backends_are_up()
                note("devices", [each.device_kind for each in jax.local_devices()])
            if step >= steps - 2 and RANK == 0:
                run.flush()
                note("facts", json.loads((run.wait_dir() / "run.json").read_text()))
            run.commit(step)


if __name__ == "__main__":
    main(globals())
