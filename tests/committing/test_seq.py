"""A commit's number is never used twice by one run, as far as any sink can have seen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

import sightline as sl
import sightline.runs.journal
from sightline.runs.journal import Journal, commits_between
from sightline.sinks import SinkRun
from sightline.sinks.lineage import Rewind
from tests.harness import until
from tests.sinks.attempts import settings, warnings_said
from tests.sinks.readers import mlflow, tensorboard, trackio

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own


class Back:
    """A back end elsewhere, that takes its time to open."""

    name = "back"
    stores_at_close = False

    def __init__(self, rewind: Rewind = "continue") -> None:
        self.rewind: Rewind = rewind
        self.rows: list[tuple[int, int]] = []
        self.forks: list[int] = []

    def open(self, run: SinkRun) -> int:
        self.forks.append(run.fork)
        return max((seq for seq, _ in self.rows), default=0)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.rows += [(each["seq"], each["step"]) for each in records if each["type"] == "commit"]

    def close(self) -> None:
        pass


def attempt(
    folder: Path, stop: int, logger: sl.StatsLoggerConfig | None = None, *, add: float = 0.0, **others: Any
) -> tuple[Path, list[dict[str, Any]]]:
    """Steps up to one, and the state of each step's checkpoint."""
    states = []
    others = {"naming": "off", "resume": "allow", **others}
    with sl.start(folder, name="run", logger=logger, **others) as run:
        for step in run.steps(stop):
            run.commit(step, {"l": add + step})
            states.append(run.state_dict())
    assert run.dir is not None
    return run.dir, states


def commits(run: Path) -> list[tuple[int, int]]:
    return [(each["seq"], each["step"]) for each in sl.read_journal(run) if each["type"] == "commit"]


def rows(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_bytes().splitlines()]


def without_last(run: Path, lines: int, then: bytes = b"") -> None:
    """Takes lines off the end of a journal, as a crash of the machine may."""
    path = run / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-lines]) + then)


@pytest.mark.parametrize("sink", ["mlflow", "trackio"])
def test_on_a_fresh_machine_a_store_elsewhere_goes_on(sink: str, tmp_path: Path) -> None:
    """Only the checkpoint's state is left, twice: the second time too it is the one of the first attempt."""
    its = {"mlflow": {"tracking_uri": f"sqlite:///{tmp_path}/m.db"}, "trackio": {"dir": str(tmp_path / "t")}}
    logger = settings(sink, **its[sink])
    _, states = attempt(tmp_path / "runs", 5, logger)
    for stop in (8, 10):
        shutil.rmtree(tmp_path / "runs")
        attempt(tmp_path / "runs", stop, logger, add=stop, state_dict=states[-1])
    if sink == "trackio":
        found = trackio.shown(trackio.rows(tmp_path / "t"), "l")
    else:
        client = MlflowClient(f"sqlite:///{tmp_path}/m.db")
        experiment = client.get_experiment_by_name("sightline")
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        found = mlflow.shown(client, run, "l")
    again = [*range(5, 8), *range(5, 10)]
    assert sorted(step for step, _ in found) == sorted([*range(5), *again])
    assert {value for step, value in found if step == 6} == {14.0, 16.0}


def test_a_fresh_machine_knows_the_forks_of_the_run(tmp_path: Path) -> None:
    sink = Back("fork")
    _, states = attempt(tmp_path / "runs", 6, sinks=[sink])
    _, states = attempt(tmp_path / "runs", 5, sinks=[sink], state_dict=states[2])
    shutil.rmtree(tmp_path / "runs")
    run, _ = attempt(tmp_path / "runs", 8, sinks=[sink], state_dict=states[-1])
    assert sink.forks == [0, 2, 2]
    assert [step for _, step in sink.rows][-3:] == [5, 6, 7]
    (line,) = [record for record in sl.read_journal(run) if record["type"] == "run"]
    assert line["starts"] == [[1, 0, None], [2, 3, 5], [3, 5, 4]]


def test_a_run_that_ended_goes_on_without_a_gap_and_any_other_with_one(tmp_path: Path) -> None:
    run, _ = attempt(tmp_path, 3, sinks=[])
    attempt(tmp_path, 5, sinks=[])
    assert [seq for seq, _ in commits(run)] == [1, 2, 3, 4, 5]
    without_last(run, 1)  # the line that says that it has ended
    attempt(tmp_path, 7, sinks=[])
    *_, before, first, last = [seq for seq, _ in commits(run)]
    assert (before, last) == (5, first + 1)
    assert first > 1_000_000
    assert commits_between(3, last, Journal(run / "metrics.jsonl").gaps) == 4


def test_a_gap_without_commits_does_not_count_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.seq = 7
    journal.leave_gap(9)
    gap = journal.gaps
    journal.seq = 7
    journal.leave_gap(gap[0][1])
    assert len(journal.gaps) == 1
    assert journal.gaps[0][0] == 7
    assert journal.gaps[0][1] > gap[0][1]
    journal.close()


def test_a_sink_over_a_gap_is_as_far_behind_as_it_has_commits_to_take(tmp_path: Path) -> None:
    run, _ = attempt(tmp_path, 4, sinks=[])
    without_last(run, 1)
    attempt(tmp_path, 8, sinks=[Back()])
    lags = [
        each["values"].get("obs/sink/back/lag_steps", 0)
        for each in sl.read_journal(run)
        if each["type"] == "commit"
    ]
    assert max(lags) <= 8


@pytest.mark.parametrize(("lines", "then"), [(1, b""), (3, b""), (3, b'{"type":"commit","seq":5,"st')])
def test_a_journal_that_lost_its_end_neither_doubles_nor_hides_a_step(
    lines: int, then: bytes, tmp_path: Path
) -> None:
    """The line of its end; two commits of which the sinks have rows; the same with a torn one."""
    both = sl.StatsLoggerConfig(sinks=["jsonl", "tensorboard"])
    run, _ = attempt(tmp_path, 6, both)
    without_last(run, lines, then)
    lost = lines - 1
    attempt(tmp_path, 9 - lost, sinks=[])
    attempt(tmp_path, 9, both)
    expected = [*range(6), *range(6 - lost, 9)]
    assert rows(run / "rows.jsonl") == expected
    assert len(set(tensorboard.seqs(run / "tensorboard"))) == len(expected)
    assert len(tensorboard.seqs(run / "tensorboard")) == len(expected)
    assert [step for _, step in commits(run)] == list(range(9))


def test_what_the_disk_refused_and_sinks_received_is_not_numbered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if child == 0:
        try:
            run = sl.start(tmp_path, name="run", sinks=["jsonl"], naming="off")
            for step in range(3):
                run.commit(step, {"l": step})
            run.flush(10)

            class Full:
                def __getattr__(self, name: str) -> Any:
                    return getattr(os, name)

                def write(self, *_: Any) -> int:
                    raise OSError(28, "No space left on device")

            sightline.runs.journal.os = Full()  # type: ignore[attr-defined]
            for step in range(3, 8):
                run.commit(step, {"l": step})
            until(lambda: rows(tmp_path / "run" / "rows.jsonl") == list(range(8)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    run = tmp_path / "run"
    assert rows(run / "rows.jsonl") == list(range(8))
    assert len(commits(run)) == 3
    attempt(tmp_path, 5, sinks=[])
    attempt(tmp_path, 10, sl.StatsLoggerConfig(sinks=["jsonl"]))
    assert rows(run / "rows.jsonl") == [*range(8), *range(3, 10)]


def test_a_back_end_ahead_of_the_journal_is_said(tmp_path: Path) -> None:
    """A stale copy of the run directory, which nothing gives away."""
    sink = Back()
    attempt(tmp_path, 4, sinks=[sink])
    sink.rows.append((50, 49))
    with warnings_said() as said:
        attempt(tmp_path, 5, sinks=[sink])
    assert "holds commits up to number 50 of this run, and the journal knew those up to 4" in said[0]


@pytest.mark.parametrize("seq", [1e30, -7, 2**53, 2**53 - 1, 10**23, "7", True, None])
@pytest.mark.parametrize("which", ["seq", "offset"])
def test_an_odd_number_in_a_cursor_spoils_no_later_step(tmp_path: Path, which: str, seq: Any) -> None:
    folder, _ = attempt(tmp_path, 3, sinks=["jsonl"])
    path = folder / "cursors" / "jsonl.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), which: seq}))
    for stop in (5, 7):
        attempt(tmp_path, stop, sinks=["jsonl"])
    seqs = [each["seq"] for each in sl.read_journal(folder) if each["type"] == "commit"]
    assert len(seqs) == 7
    assert all(type(each) is int and each < 2**52 for each in seqs)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(7))
    assert [row["seq"] for row in rows] == seqs == sorted(set(seqs))


@pytest.mark.parametrize("seq", [2**53, -1, "x", 1e400])
def test_an_odd_number_in_a_checkpoint_is_refused(tmp_path: Path, seq: Any) -> None:
    _, states = attempt(tmp_path, 3, sinks=[])
    with pytest.raises(sl.ConfigurationError, match="expected what state_dict"):
        sl.start(tmp_path, name="run", resume="must", sinks=[], state_dict={**states[-1], "seq": seq})


@pytest.mark.parametrize("seq", [2**53, -1, 1e30])
def test_an_odd_number_of_a_back_end_is_said_and_spoils_nothing(tmp_path: Path, seq: Any) -> None:
    class Odd(Back):
        def open(self, run: SinkRun) -> int:
            return seq  # type: ignore[no-any-return]

    folder, _ = attempt(tmp_path, 3, sinks=[Odd()])
    errors = [
        each["values"].get("obs/sink/back/errors", 0)
        for each in sl.read_journal(folder)
        if each["type"] == "commit"
    ]
    assert len(errors) == 3
    folder, _ = attempt(tmp_path, 5, sinks=[Back()])
    seqs = [each["seq"] for each in sl.read_journal(folder) if each["type"] == "commit"]
    assert len(seqs) == 5
    assert max(seqs) < 2**52
