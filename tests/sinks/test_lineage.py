"""A run that goes on from an older checkpoint: the journal keeps all, each sink shows what it was told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.sinks import SinkRun
from sightline.sinks.lineage import Lineage, Rewind, Start, damaged_starts, starts_of
from sightline.sinks.syncing import Replay
from tests.harness import until


class Shown:
    """Keeps the steps it was given, by back-end run, over attempts; and which forks it was told of."""

    name = "shown"
    stores_at_close = False

    def __init__(self, rewind: Rewind) -> None:
        self.rewind: Rewind = rewind
        self.steps: dict[int, list[tuple[int, int]]] = {}  # fork -> attempt and step
        self.stored: dict[int, int] = {}
        self.told: list[int] = []

    def open(self, run: SinkRun) -> int | None:
        self.fork = run.fork
        self.told.append(run.fork)
        return self.stored.get(run.fork, 0)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            if record["type"] == "commit":
                self.steps.setdefault(self.fork, []).append((record["attempt"], record["step"]))
                self.stored[self.fork] = record["seq"]

    def close(self) -> None:
        pass


def attempt(folder: Path, sink: Shown, steps: range, state: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One attempt; returns the state of each step's checkpoint."""
    states = []
    with sl.start(folder, name="run", sinks=[sink], resume="allow", state_dict=state, naming="off") as run:
        for step in run.steps(steps.stop, start=steps.start):
            sl.scalar(loss=step)
            run.commit(step)
            states.append(run.state_dict())
    return states


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("rewind", ["continue", "fork", "skip"])
def test_steps_that_are_committed_again_are_shown_as_wanted(
    rewind: Rewind, announced: bool, tmp_path: Path
) -> None:
    """Three attempts: 0 to 9; from the checkpoint of step 4 on to 7; on to 11 without going back.

    Not announced: without the checkpoint's state, so that only the commits show where an attempt begins.
    """
    sink = Shown(rewind)
    states = attempt(tmp_path, sink, range(10), None)
    states = attempt(tmp_path, sink, range(5, 8), states[4] if announced else None)
    attempt(tmp_path, sink, range(8, 12), states[-1] if announced else None)

    first, again, on = (
        [(a + 1, s) for s in steps] for a, steps in enumerate((range(10), range(5, 8), range(8, 12)))
    )
    committed = [
        (r["attempt"], r["step"]) for r in sl.read_journal(tmp_path / "run") if r["type"] == "commit"
    ]
    assert committed == [*first, *again, *on]
    if rewind == "continue":
        assert sink.steps == {0: committed}
        assert sink.told == [0, 0, 0]
    elif rewind == "fork":
        assert sink.steps == {0: first, 2: [*first[:5], *again, *on]}
        assert sink.told == ([0, 2, 2] if announced else [0, 0, 2, 2])
    else:
        assert sink.steps == {0: [*first, (3, 10), (3, 11)]}
    replayed = Shown(rewind)
    for _ in Replay(tmp_path / "run", replayed).run():
        pass
    assert replayed.steps == ({2: sink.steps[2]} if rewind == "fork" else sink.steps)


def test_an_attempt_that_goes_back_unannounced_is_said_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, in the journal, in the checkpoints from there on, and by the attempts that follow."""
    sink = Shown("fork")
    attempt(tmp_path, sink, range(10), None)
    with sl.start(tmp_path, name="run", sinks=[sink], resume="allow", naming="off") as run:
        run.commit(5, {"loss": 1.0})
        assert run.flush()
        assert run.state_dict()["starts"] == [[1, 0, None], [2, 5, 9]]
    (said,) = (each.getMessage() for each in caplog.records if "goes on" in each.getMessage())
    assert "had come to step 9, and goes on at step 5" in said
    assert "(shown: fork)" in said
    assert "state_dict=" in said
    (event,) = (r for r in sl.read_journal(run.dir) if r.get("event") == "rewound")
    assert (event["step"], event["starts"]) == (5, [[1, 0, None], [2, 5, 9]])
    attempt(tmp_path, sink, range(6, 7), None)
    assert [r["starts"] for r in sl.read_journal(run.dir) if r["type"] == "run"] == [
        [[1, 0, None]],
        [[1, 0, None], [2, 10, 9]],
        [[1, 0, None], [2, 5, 9], [3, 6, 5]],
    ]
    assert sink.told == [0, 0, 2, 2]


def test_one_more_commit_of_the_checkpoints_step_is_no_way_back(tmp_path: Path) -> None:
    sink = Shown("fork")
    states = attempt(tmp_path, sink, range(5), None)
    with sl.start(
        tmp_path, name="run", sinks=[sink], resume="allow", state_dict=states[-1], naming="off"
    ) as run:
        run.commit(4, {"eval/loss": 1.0})
    attempt(tmp_path, sink, range(5, 7), None)
    assert sink.told == [0, 0, 0]
    replayed = Shown("fork")
    for _ in Replay(run.dir, replayed).run():
        pass
    assert replayed.steps == sink.steps


def test_a_sink_that_is_behind_when_the_run_goes_back_gets_each_commit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be opened, or fails in a write, until the attempt is well on its way."""
    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.01, 0.05))

    class Late(Shown):
        late = False

        def open(self, run: SinkRun) -> int | None:
            if self.late:
                raise ConnectionError("not yet")
            return super().open(run)

        def write(self, records: Sequence[Mapping[str, Any]]) -> None:
            if self.late:
                raise ConnectionError("not now")
            super().write(records)

    sinks = [Late("fork"), Late("skip")]
    begin: dict[str, Any] = {"name": "run", "sinks": sinks, "resume": "allow", "naming": "off"}
    sinks[1].name = "other"
    with sl.start(tmp_path, **begin) as run:
        for step in range(10):
            run.commit(step, {"loss": 1.0})
    with sl.start(tmp_path, **begin) as run:
        for each in sinks:
            each.late = True
        for step in range(5, 12):
            run.commit(step, {"loss": 1.0})
        run.flush(0.3)
        for each in sinks:
            each.late = False
        until(lambda: all(each.stored.get(each.fork) == 17 for each in sinks), "the last commit")
    first = [(1, step) for step in range(10)]
    again = [(2, step) for step in range(5, 12)]
    assert sinks[0].steps == {0: first, 2: [*first[:5], *again]}
    assert sinks[1].steps == {0: [*first, *again[-2:]]}


def test_a_total_counts_no_step_twice_when_the_run_goes_back_unannounced(tmp_path: Path) -> None:
    table = sl.aliases.AliasTable(
        "ours", [sl.aliases.Alias("n", "sum", sl.aliases.RunningTotal())], remove_after="2099-12-31"
    )
    logger = sl.StatsLoggerConfig(sinks=[], naming="off", aliases=[table])
    for steps in (range(10), range(5, 8)):
        with sl.start(tmp_path, name="run", resume="allow", logger=logger) as run:
            for step in steps:
                run.commit(step, {"n": 1.0})
    sums = [(r["step"], r["values"]["sum"]) for r in sl.read_journal(run.dir) if r["type"] == "commit"]
    assert sums[-3:] == [(5, 6.0), (6, 7.0), (7, 8.0)]


def test_starts_are_read_from_the_run_line() -> None:
    assert starts_of({"starts": [[1, 0, None], [2, 5, 9]]}) == [Start(1, 0, None), Start(2, 5, 9)]
    assert starts_of({"starts": ["?", [2, 5, 9]]}) == [Start(2, 5, 9)]
    assert starts_of({}) == starts_of(None) == []


def test_what_has_no_step_belongs_to_every_lineage() -> None:
    lineage = Lineage([Start(1, 0, None), Start(2, 5, 9)], "fork")
    assert lineage.has({"type": "event", "attempt": 1})
    assert lineage.has({"type": "run", "attempt": 1})


@pytest.mark.parametrize(
    "odd", ["7", None, [1], {}, True, 10**400, 1.5, float("nan"), float("inf"), [[1, 2]]], ids=str
)
def test_a_start_of_odd_types_is_left_out_and_counted(odd: Any) -> None:
    """In a journal that somebody has edited, and in a checkpoint's state."""
    good = [2, 5, 9]
    for starts in ([[odd, 0, None], good], [[1, odd, None], good], [odd, good], [[1, 0, odd], good]):
        left_out = not (odd is None and starts[0] == [1, 0, None])
        assert starts_of({"starts": starts}) == ([] if left_out else [Start(1, 0, None)]) + [Start(2, 5, 9)]
        assert damaged_starts({"starts": starts}) == left_out
    assert starts_of({"starts": odd}) == []


def test_a_checkpoint_may_keep_numbers_as_numpy_does() -> None:
    starts = [[np.int64(1), np.int32(0), None], np.array([2, 5, 9])]
    assert starts_of({"starts": starts}) == [Start(1, 0, None), Start(2, 5, 9)]
