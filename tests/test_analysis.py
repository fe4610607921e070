"""Where the time goes is told exhaustively, and whose fault it is."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.analysis import OTHER, StageSpan, analyse, differences, kind_of, slow_in_table

MS = 1_000_000
Block = tuple[str, float, float]


def loop(process: int, step: int, start: float, end: float, *blocks: Block, tid: int = 1) -> list[StageSpan]:
    """A step of a process with its blocks; times in ms."""
    spans = [("step", start, end), *blocks]
    return [
        StageSpan(process, tid, name, "step" if name == "step" else "", int(a * MS), int(b * MS), step)
        for name, a, b in spans
    ]


def test_exclusive_times_and_the_rest_add_up_to_the_wall_time() -> None:
    spans = loop(0, 0, 0, 100, ("rollout", 0, 60), ("generate", 10, 40), ("update", 60, 95))
    found = analyse(spans)
    exclusive = {stage.name: pytest.approx(stage.exclusive_s) for stage in found.stages}
    assert exclusive == {"rollout": 0.03, "generate": 0.03, "update": 0.035}
    assert {stage.name: stage.total_s for stage in found.stages}["rollout"] == pytest.approx(0.06)
    assert found.steps[0].stages[OTHER] == pytest.approx(0.005)
    assert sum(found.steps[0].stages.values()) == pytest.approx(found.steps[0].wall_s) == pytest.approx(0.1)
    assert found.kinds == pytest.approx({"rollouts": 0.6, "training": 0.35, OTHER: 0.05})
    assert found.goodput == pytest.approx(0.95)


def test_what_other_threads_do_is_told_beside_and_not_shared_out() -> None:
    spans = [
        *loop(0, 0, 0, 100, ("update", 0, 100)),
        StageSpan(0, 2, "prefetch", "", 0, 80 * MS, None),
        StageSpan(0, 2, "prefetch", "", 80 * MS, 90 * MS, None),
    ]
    found = analyse(spans)
    assert [stage.name for stage in found.stages] == ["update"]
    assert found.beside == [("prefetch", 2, pytest.approx(0.09))]


def device(process: int, step: int, name: str, start: float, end: float) -> StageSpan:
    """When a stage's work was done; times in ms."""
    return StageSpan(process, 1 << 20, name, "device", int(start * MS), int(end * MS), step)


def test_where_a_loop_waits_for_its_devices_the_time_is_that_of_what_they_do() -> None:
    """It launches the update in no time, and waits for it at the beginning of the next rollout."""
    spans = [
        *loop(0, 0, 0, 20, ("rollout", 0, 10), ("update", 10, 11), ("reward", 11, 15)),
        *loop(0, 1, 20, 100, ("rollout", 20, 90), ("update", 90, 91)),
        device(0, 0, "rollout", 0, 10),
        device(0, 0, "update", 10, 70),
        device(0, 1, "rollout", 70, 90),
        device(0, 1, "update", 90, 150),
    ]
    found = analyse(spans)
    first, second = (step.stages for step in found.steps)
    # The reward is computed on the host, which is then in no stage.
    expected = {"rollout": 0.01, "update": 0.006, "reward": 0.004, OTHER: 0.0}
    assert first == pytest.approx(expected)
    assert second == pytest.approx({"rollout": 0.02, "update": 0.06, OTHER: 0.0})
    assert [(part.stage, part.took_s) for part in found.steps[1].critical] == [
        ("update", pytest.approx(0.05)),
        ("rollout", pytest.approx(0.02)),
        ("update", pytest.approx(0.01)),
    ]
    (update,) = [stage for stage in found.stages if stage.name == "update"]
    assert (update.spans, update.mean_s) == (2, pytest.approx(0.06))
    assert found.beside == []


def test_what_comes_between_two_steps_belongs_to_neither() -> None:
    spans = loop(0, 0, 0, 10, ("update", 0, 10)) + loop(0, 1, 20, 30, ("update", 20, 25))
    spans.append(StageSpan(0, 1, "eval", "", 11 * MS, 19 * MS, None))
    found = analyse(spans)
    assert [(step.step, step.wall_s) for step in found.steps] == [
        (0, pytest.approx(0.01)),
        (1, pytest.approx(0.01)),
    ]
    assert [stage.name for stage in found.stages] == ["update"]


def test_quantiles_are_over_all_spans_of_a_name() -> None:
    spans = [
        span
        for i in range(100)
        for span in loop(0, i, 200 * i, 200 * i + 150, ("update", 200 * i, 200 * i + i))
    ]
    (stage,) = analyse(spans).stages
    assert (stage.spans, stage.p50_s, stage.p95_s) == (100, pytest.approx(0.0495), pytest.approx(0.09405))
    assert stage.mean_s == pytest.approx(stage.total_s / 100)


@pytest.mark.parametrize(("slow_in", "chronic"), [(range(10), True), (range(2), False)])
def test_the_slow_process_is_named_chronic_or_not(slow_in: range, chronic: bool) -> None:
    spans = []
    for step in range(10):
        at = 100 * step
        for process in range(4):
            took = 50 if process == 2 and step in slow_in else 20 + process
            spans += loop(
                process, step, at, at + 90, ("rollout", at, at + took), ("update", at + took, at + 90)
            )
    slow = {stage.name: stage.slow for stage in analyse(spans).stages}
    found = slow["rollout"]
    assert found is not None
    assert (found.process, found.steps, found.of_steps, found.is_chronic) == (2, len(slow_in), 10, chronic)
    assert found.excess_s == pytest.approx(0.029)


def test_nobody_is_slow_where_all_take_about_as_long_or_there_is_one() -> None:
    even = [span for p in range(4) for span in loop(p, 0, 0, 100, ("rollout", 0, 90 + p))]
    assert analyse(even).stages[0].slow is None
    assert analyse(loop(0, 0, 0, 100, ("rollout", 0, 90))).stages[0].slow is None


def test_a_table_of_seconds_and_spans_name_the_same_slow_process() -> None:
    """Also where processes have none in some steps."""
    spans, table = [], np.full((6, 4), np.nan)
    for step in range(6):
        for process in range(4):
            took = 90 + step if process == 2 and step % 3 else 50 + process / 10
            if (step, process) != (1, 0):
                spans += loop(
                    process, step, step * 200, step * 200 + 100, ("rollout", step * 200, step * 200 + took)
                )
                table[step, process] = took / 1000
    from_spans, from_table = analyse(spans).stages[0].slow, slow_in_table(range(6), range(4), table)
    assert from_spans is not None
    assert from_table is not None
    assert from_table._replace(excess_s=0) == from_spans._replace(excess_s=0)
    assert from_table.excess_s == pytest.approx(from_spans.excess_s, abs=1e-6)
    assert slow_in_table(range(6), [0], table[:, :1]) is None
    assert slow_in_table([], [0, 1], np.zeros((0, 2))) is None


def test_the_critical_path_leads_through_the_process_that_came_last_to_a_collective() -> None:
    spans = loop(0, 0, 0, 100, ("rollout", 0, 30), ("update", 30, 100))
    spans += loop(1, 0, 0, 100, ("rollout", 0, 80), ("update", 80, 100))
    (step,) = analyse(spans).steps
    assert [(part.process, part.stage, part.took_s) for part in step.critical] == [
        (1, "rollout", pytest.approx(0.08)),
        (1, "update", pytest.approx(0.02)),
    ]


def test_processes_that_drift_apart_make_no_step_longer() -> None:
    """A step counts from each process's own beginning of it; nor is the distance something to wait for."""
    spans: list[StageSpan] = []
    for step in range(10):
        for process, took in enumerate((100, 150)):
            at = step * took
            spans += loop(process, step, at, at + took, ("rollout", at, at + took - 10))
    found = analyse(spans)
    assert [step.wall_s for step in found.steps] == [pytest.approx(0.15)] * 10
    assert found.wall_s / len(found.steps) == pytest.approx(0.125)
    for step in found.steps:
        assert [(part.process, part.stage, part.took_s) for part in step.critical] == [
            (1, "rollout", pytest.approx(0.14)), (1, OTHER, pytest.approx(0.01)),
        ]  # fmt: skip


def test_the_critical_path_follows_an_arrow_to_where_it_came_from() -> None:
    trainer = loop(0, 0, 0, 100, ("wait", 0, 70), ("update", 70, 95))
    trainer[1] = trainer[1]._replace(waits_for=(1, 65 * MS))
    rollout = loop(1, 0, 0, 70, ("generate", 0, 66))
    (step,) = analyse(trainer + rollout).steps
    assert [(part.process, part.stage) for part in step.critical] == [
        (1, "generate"), (0, "wait"), (0, "update"), (0, OTHER),
    ]  # fmt: skip
    assert sum(part.took_s for part in step.critical) == pytest.approx(step.wall_s)


@pytest.mark.parametrize(
    ("name", "category", "kind"),
    [
        ("train/rollout", "", "rollouts"),
        ("train/rollout_sync", "", "weights"),
        ("train/reward", "", "reward"),
        ("train/shard", "", "data"),
        ("train/update", "", "training"),
        ("train/step", "", OTHER),
        ("eval/generate", "", "evaluation"),
        ("anything", "checkpoint", "checkpoint"),
        ("xyz", "compute", OTHER),
        ("train/async_rollout", "", "rollouts"),
        ("asyncio wait", "", "waiting"),
        ("retrieval", "", OTHER),
        ("offload_optimizer", "", "training"),
        ("weightedLoss", "", "training"),
        ("computeLogProbs", "", "training"),
        ("rollout/old_log_prob", "", "training"),
        ("wait_for_rollouts", "", "waiting"),
        ("eval/wait", "", "evaluation"),
    ],
)
def test_kinds_come_from_categories_or_names(name: str, category: str, kind: str) -> None:
    assert kind_of(name, category) == kind


def test_processes_with_roles_are_told_apart() -> None:
    """Nobody is slow in what the others do not do, and waiting is no goodput, whatever it is for."""
    spans = []
    for step in range(10):
        at = 100.0 * step
        for process in (0, 1):
            blocks = ("rollout", at, at + 60), ("wait_weights", at + 60, at + 100)
            spans += loop(process, step, at, at + 100, *blocks)
        for process in (2, 3):
            blocks = ("rollouts_wait", at, at + 60), ("update", at + 60, at + 100)
            spans += loop(process, step, at, at + 100, *blocks)
    found = analyse(spans)
    assert [stage.slow for stage in found.stages] == [None] * 4
    assert found.kinds == pytest.approx({"waiting": 0.5, "rollouts": 0.3, "training": 0.2, OTHER: 0.0})
    assert found.waits == pytest.approx({"rollouts": 0.3, "weights": 0.2})
    assert found.goodput == pytest.approx(0.5)
    assert found.by_process[0] == pytest.approx({"rollouts": 0.6, "waiting": 0.4, OTHER: 0.0})
    assert found.by_process[3] == pytest.approx({"waiting": 0.6, "training": 0.4, OTHER: 0.0})


def test_two_runs_are_compared_by_stage() -> None:
    before = analyse(loop(0, 0, 0, 100, ("rollout", 0, 60), ("update", 60, 100)))
    after = analyse(loop(0, 0, 0, 80, ("rollout", 0, 30), ("update", 30, 70), ("extra", 70, 75)))
    found = {each.name: each for each in differences(before, after)}
    assert next(iter(found)) == "rollout"
    assert found["rollout"].change_s == pytest.approx(-0.03)
    assert found["update"].change_s == pytest.approx(0)
    assert (found["extra"].before_s, found["extra"].after_s) == (None, pytest.approx(0.005))


def test_no_spans_at_all_are_an_empty_analysis() -> None:
    found = analyse([])
    assert (found.steps, found.stages, found.kinds, found.wall_s, found.goodput) == ([], [], {}, 0.0, 0)
