"""All sinks on one run: the same trouble in each at once, forks, secrets, sample tables, `sightline sync`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.sinks import make_sinks
from tests.harness import until
from tests.sinks import attempts
from tests.sinks.all_sinks import STORING, check, check_console, check_prometheus, held, settings, sinks_of
from tests.sinks.attempts import commits
from tests.sinks.faulty import FaultySink, Kind, Trouble, faulty

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of MLflow, which takes seconds to make one."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own; and short pauses between tries."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "SWANLAB_", "MLFLOW_TRACKING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.05, 0.5))


class Job:
    """A run with every sink in trouble around the real one, and another that is well."""

    def __init__(self, folder: Path, database: Path, kind: Kind) -> None:
        self.database = database
        self.trouble = Trouble(kind)
        self.logger = settings(database, "jsonl")
        real = sinks_of(self.logger)
        del real["jsonl"]  # the one that is well
        self.sinks = {name: faulty(sink, self.trouble) for name, sink in real.items()}
        self.run = sl.start(
            folder, name="run", logger=self.logger,
            sinks=[*make_sinks(["jsonl"], vars(self.logger)), *self.sinks.values()],
        )  # fmt: skip
        self.next = 0

    def commit(self, steps: int) -> None:
        for step in range(self.next, self.next + steps):
            sl.scalar(**{"train/loss": 1.0 / (step + 1)})
            self.run.commit(step)
        self.next += steps

    def check_untouched(self) -> None:
        """The journal and the sink that is well have all of it, while the others are in trouble."""
        until(lambda: len(commits(self.run.dir)) == self.next, "the journal")
        until(lambda: len(held("jsonl", self.dir, self.database).seqs) == self.next, "the sink that is well")
        check(self.dir, self.database, ("jsonl",))
        assert threading.get_ident() not in {thread for sink in self.all for thread in sink.threads}

    def told(self, what: str) -> dict[str, list[float]]:
        """What the journal says of each sink, commit by commit."""
        return {
            sink.name: [
                value
                for commit in commits(self.run.dir)
                if (value := commit["values"].get(f"obs/sink/{sink.name}/{what}")) is not None
            ]
            for sink in self.all
        }

    @property
    def all(self) -> list[FaultySink]:
        return list(self.sinks.values())

    @property
    def storing(self) -> list[FaultySink]:
        return [sink for sink in self.all if sink.stores]

    @property
    def dir(self) -> Path:
        assert self.run.dir is not None
        return self.run.dir


@pytest.mark.parametrize("kind", ["open raises", "write raises"])
def test_sinks_that_raise_get_everything_in_the_next_attempt(
    kind: Kind, database: Path, tmp_path: Path
) -> None:
    """All at once; nobody waits for them, and the journal counts what they raised."""
    job = Job(tmp_path, database, kind)
    job.commit(30)
    until(lambda: all(len(sink.calls) >= 3 for sink in job.all), "failures of each")
    job.commit(1)
    job.check_untouched()
    assert all(sum(errors) > 0 for errors in job.told("errors").values()), job.told("errors")
    assert all(job.told("lag_steps")[sink.name][-1] == 30 for sink in job.storing)
    assert not job.run.finish(timeout=1)
    assert all("write" not in sink.calls for sink in job.storing) is (kind == "open raises")
    with sl.start(tmp_path, name="run", resume="must", logger=settings(database, *STORING)) as run:
        for step in run.steps(35):
            sl.scalar(**{"train/loss": 1.0 / (step + 1)})
            run.commit(step)
    check(run.dir, database)
    assert len(commits(run.dir)) == 35


def test_slow_sinks_are_behind_and_complete_at_the_end(database: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, database, "slow")
    job.commit(100)
    until(lambda: all(sink.calls for sink in job.all), "a call of each")
    job.check_untouched()
    assert job.run.flush(60)
    job.commit(1)
    # A call takes a second, over 100 commits at most.
    assert all(max(ms) >= 10 for name, ms in job.told("commit_ms").items() if job.sinks[name].stores)
    assert job.run.flush(60)
    check_prometheus(job.dir, job.sinks["prometheus"].sink.port)  # type: ignore[attr-defined]
    assert job.run.finish()
    check(job.dir, database)
    check_console(job.dir, job.sinks["console"].sink._stream.getvalue())  # type: ignore[attr-defined]


def test_sinks_that_come_back_after_200_steps_have_each_of_them_once(database: Path, tmp_path: Path) -> None:
    """Though half of what they had refused was stored."""
    job = Job(tmp_path, database, "answers are lost")
    job.commit(10)
    until(lambda: all(len(sink.calls) >= 3 for sink in job.all), "failures of each")
    job.commit(190)
    job.check_untouched()
    job.trouble.over.set()
    job.commit(60)
    assert job.run.flush(120) or until(lambda: job.run.flush(5), "the rest")
    check_prometheus(job.dir, job.sinks["prometheus"].sink.port)  # type: ignore[attr-defined]
    assert job.run.finish()
    job.check_untouched()
    check(job.dir, database)
    check_console(job.dir, job.sinks["console"].sink._stream.getvalue())  # type: ignore[attr-defined]
    assert all(sum(errors) > 0 for errors in job.told("errors").values())
