"""Runs beside each other: real ones, and journals of which the truth is known."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

import sightline as sl
from sightline.comparison.runs import Comparison, compare, matters
from sightline.views.history import History
from tests.tables.recorded_runs import commit, rewound, run_line, written


def read(*run_dirs: Path) -> list[History]:
    histories = [History(each) for each in run_dirs]
    for each in histories:
        each.update()
    return histories


def trained(
    folder: Path, name: str, seed: int, *, reward: float = 0.5, steps: int = 60, **config: object
) -> Path:
    rng = np.random.default_rng(seed)
    with sl.start(folder, name=name, sinks=[], naming="off", config=config) as run:
        for step in run.steps(steps):
            sl.scalar("train/loss", 2 / (1 + step / 20) + rng.normal(0, 0.05))
            sl.scalar("train/reward", reward + rng.normal(0, 0.05))
            if name == "b":
                sl.scalar("train/extra", 1.0)
            with sl.record_timing("train/update"):
                pass
            run.commit(step)
    return at_one_pace(folder / name)


def at_one_pace(run: Path) -> Path:
    """Gives a run a commit a second, so that it does not depend on this machine what runs have in common."""
    lines = [orjson.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    begun = lines[0]["started"]
    for line in lines:
        if line["type"] == "commit":
            line["time"] = begun + 1 + line["step"]
    (run / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        trained(folder, "a", 1, lr=0.1, model={"width": 8}),
        trained(folder, "b", 2, lr=0.1, model={"width": 16, "bias": None}, reward=0.8, steps=50),
        trained(folder, "c", 3, lr=0.1, model={"width": 8}),
    ]


def rows(found: Comparison) -> dict[str, list[bool | None]]:
    return {row.key: [each and each.matters for each in row.differences] for row in found.at_step}


def test_what_differs_is_told_and_comes_first(runs: list[Path]) -> None:
    found = compare(read(*runs[:2]))
    assert found.step == 49
    assert next(row.key for row in found.at_step) == "train/reward"
    assert rows(found) == {"train/reward": [True], "train/loss": [False]}
    assert {row.key for row in found.at_time} == {"train/reward", "train/loss"}
    assert found.only == [[], ["train/extra"]]
    assert [stage.key for stage in found.stages] == ["time/train/update_s"]
    assert all(each is not None and each >= 0 for each in found.stages[0].seconds)


def test_settings_and_facts_that_differ_are_named(runs: list[Path]) -> None:
    found = compare(read(*runs[:2]))
    assert [(each.name, each.values, each.has) for each in found.settings] == [
        ("model.width", [8, 16], [True, True]),
        ("model.bias", [None, None], [False, True]),
    ]
    assert found.facts == []


def test_several_runs_are_compared_with_the_first(runs: list[Path]) -> None:
    found = compare(read(*runs))
    assert rows(found)["train/reward"] == [True, False]
    assert [matters(row) for row in found.at_step] == [True, False]
    assert found.only[1] == ["train/extra"]


def test_metrics_step_and_time_can_be_chosen(runs: list[Path]) -> None:
    found = compare(read(*runs[:2]), metrics=["train/lo*", "time/*"], step=10)
    assert {row.key for row in found.at_step} >= {"train/loss", "time/train/update_s"}
    assert {row.differences[0].first_step for row in found.at_step if row.differences[0]} == {10}
    assert (found.at_time, found.elapsed) == ([], None)
    found = compare(read(*runs[:2]), elapsed=1e9)
    assert (found.at_step, found.step) == ([], None)
    assert [(row.differences[0].first_step, row.differences[0].second_step)
            for row in found.at_time if row.differences[0]] == [(59, 49)] * 2  # fmt: skip


def test_what_a_later_attempt_went_over_does_not_count(tmp_path: Path) -> None:
    found = compare(read(rewound(tmp_path, "a"), rewound(tmp_path, "b")), metrics=["train/loss", "eval/acc"])
    assert found.step == 11
    (loss,) = [row.differences[0] for row in found.at_step if row.key == "train/loss"]
    assert loss is not None
    assert (loss.first, loss.second, loss.matters) == (1 / 12 + 100, 1 / 12 + 100, False)
    (acc,) = [row.differences[0] for row in found.at_step if row.key == "eval/acc"]
    assert acc is not None
    assert acc.first_step == 8


def test_the_pause_between_attempts_is_no_time_of_the_run(tmp_path: Path) -> None:
    """A run that was resumed after a day is compared with one that was never interrupted."""
    paused = written(
        tmp_path / "a",
        run_line(started=0.0),
        *({**commit(n, n, a=1.0), "time": float(n)} for n in range(1, 6)),
        run_line(2, starts=[(1, 0, None), (2, 6, 5)], started=86400.0),
        *({**commit(n, n, 2, a=2.0), "time": 86400.0 + n - 5} for n in range(6, 11)),
    )
    whole = written(
        tmp_path / "b",
        run_line(started=0.0),
        *({**commit(n, n, a=1.0), "time": float(n)} for n in range(1, 11)),
    )
    found = compare(read(paused, whole))
    assert found.elapsed == 10.0
    found = compare(read(paused, whole), elapsed=7.5)
    (row,) = found.at_time
    assert row.differences[0] is not None
    assert (row.differences[0].first_step, row.differences[0].second_step) == (7, 7)


def test_old_names_and_process_numbers_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    dirs = []
    for name in "ab":
        with sl.start(tmp_path, name=name, sinks=[], naming="off", aliases={"loss": "old_loss"}) as run:
            for step in run.steps(3):
                sl.scalar(loss=1.0)
                with sl.record_timing("update"):
                    pass
                run.commit(step)
        dirs.append(tmp_path / name)
    assert set(rows(compare(read(*dirs)))) == {"loss"}
    assert "old_loss" in rows(compare(read(*dirs), metrics=["*"]))


def test_a_plain_key_is_compared_with_another_runs_alias(tmp_path: Path) -> None:
    """A run before a renaming with one after it: by the old name, which both have."""
    dirs = []
    for name, key, aliases in (
        ("old", "train_loss", {}),
        ("new", "train/loss", {"train/loss": "train_loss"}),
    ):
        with sl.start(tmp_path, name=name, sinks=[], naming="off", aliases=aliases) as run:
            for step in run.steps(20):
                run.commit(step, {key: float(step), "train/kl": 1.0} if name == "new" else {key: float(step)})
        dirs.append(tmp_path / name)
    for pair, only in ((dirs, [[], ["train/kl"]]), (dirs[::-1], [["train/kl"], []])):
        found = compare(read(*pair))
        assert rows(found) == {"train_loss": [False]}
        assert found.only == only
        assert "by old names, which another run has alone: in new train_loss is train/loss" in found.notes
    both = compare(read(dirs[1], shutil.copytree(dirs[1], tmp_path / "again")))
    assert rows(both).keys() == {"train/loss", "train/kl"}


def test_runs_without_commits_or_facts_are_noted(tmp_path: Path) -> None:
    empty = written(tmp_path / "empty", run_line())
    one = written(tmp_path / "one", run_line(), commit(1, 0, a=math.pi))
    found = compare(read(empty, one))
    assert (found.at_step, found.at_time, found.only) == ([], [], [[], ["a"]])
    assert any("empty has no commits" in note for note in found.notes)
    assert found.missing == ["empty", "one"]
    found = compare(read(one, shutil.copytree(one, tmp_path / "two")))
    assert rows(found) == {"a": [False]}


def test_steps_that_no_two_runs_share_leave_nothing_to_compare_but_times(tmp_path: Path) -> None:
    a = written(tmp_path / "a", run_line(), *(commit(n, 2 * n, x=1.0) for n in range(5)))
    b = written(tmp_path / "b", run_line(), *(commit(n, 2 * n + 1, x=1.0) for n in range(5)))
    found = compare(read(a, b))
    assert found.at_step == []
    assert [row.key for row in found.at_time] == ["x"]


def test_what_hosts_are_like_is_compared_on_request_only(tmp_path: Path) -> None:
    """Two runs of one training differ in it always."""
    for name, used in (("a", 1e9), ("b", 5e9)):
        lines = [run_line()]
        lines += [
            commit(step + 1, step, **{"loss": 1.0, "host/memory/used_bytes/max": used}) for step in range(9)
        ]
        written(tmp_path / name, *lines)
    histories = read(tmp_path / "a", tmp_path / "b")
    assert [row.key for row in compare(histories).at_step] == ["loss"]
    asked = compare(histories, metrics=["host/*"])
    assert [row.key for row in asked.at_step] == ["host/memory/used_bytes/max"]
