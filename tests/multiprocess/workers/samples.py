"""What the processes of the tests of sample tables do."""

from __future__ import annotations

import sightline as sl
from tests.multiprocess.workers.common import RANK, connect, main, settings


def samples(*, steps: int, rows: int) -> None:
    """Rows with rewards that no other process has, and long completions."""
    connect()
    with sl.start(logger=settings()) as run:
        for step in run.steps(steps):
            numbers = range(step * rows, (step + 1) * rows)
            with sl.scope("train"):
                sl.sample(
                    "rollouts",
                    n=list(numbers),
                    prompt=f"prompt of step {step}",
                    completion=[chr(ord("a") + n % 26) * 10_000 for n in numbers],
                    reward=[((n * 7919) % 1000) + RANK / 10 for n in numbers],
                )
            sl.scalar(loss=0.5)
            run.commit(step)


if __name__ == "__main__":
    main(globals())
