"""Where the time goes is told exhaustively, and whose fault it is."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.analysis.run_analysis import analyse, differences, slow_in_table
from sightline.analysis.stage_kinds import OTHER, kind_of, of_no_kind
from sightline.analysis.stage_pieces import Source, StageSpan

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


def test_a_stage_whose_work_was_done_at_once_counts_by_its_own_span() -> None:
    """Then there is none of the devices, as where the result was there before anybody asked."""
    spans = [
        *loop(0, 0, 0, 20, ("update", 0, 15)),
        *loop(0, 1, 20, 40, ("update", 20, 25)),
        device(0, 0, "update", 5, 15),
    ]
    (update,) = analyse(spans).stages
    assert (update.spans, update.total_s) == (2, pytest.approx(0.015))


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
    trainer[1] = trainer[1]._replace(waits_for=Source(1, 1, 65 * MS))
    rollout = loop(1, 0, 0, 70, ("generate", 0, 66))
    (step,) = analyse(trainer + rollout).steps
    assert [(part.process, part.stage) for part in step.critical] == [
        (1, "generate"), (0, "wait"), (0, "update"), (0, OTHER),
    ]  # fmt: skip
    assert sum(part.took_s for part in step.critical) == pytest.approx(step.wall_s)


def path(spans: list[StageSpan], step: int = 0) -> list[tuple[int, str, float]]:
    """The critical path of a step; times in ms."""
    (found,) = [each for each in analyse(spans).steps if each.step == step]
    assert sum(part.took_s for part in found.critical) == pytest.approx(found.wall_s)
    return [(part.process, part.stage, round(part.took_s * 1000, 3)) for part in found.critical]


def trainer(source: tuple[int, int, float]) -> list[StageSpan]:
    """It waits for 80 ms, and was given what it waited for where and when ``source`` says."""
    spans = loop(0, 0, 0, 100, ("wait_rollouts", 0, 80), ("update", 80, 100))
    process, tid, at = source
    spans[1] = spans[1]._replace(waits_for=Source(process, tid, int(at * MS)))
    return spans


ROLLOUT = [(0, "wait_rollouts", 1.0), (0, "update", 20.0)]


def test_an_arrow_leads_into_a_process_without_steps() -> None:
    """Up to the beginning of the step: what that process did before is of the step before."""
    worker = [StageSpan(1, 7, "rollout", "", 10 * MS, 80 * MS, None)]
    assert path(trainer((1, 7, 79)) + worker) == [(1, OTHER, 10.0), (1, "rollout", 69.0), *ROLLOUT]
    worker = [StageSpan(1, 7, "rollout", "", -50 * MS, 80 * MS, None)]
    assert path(trainer((1, 7, 79)) + worker) == [(1, "rollout", 79.0), *ROLLOUT]


def test_an_arrow_leads_into_another_thread_of_the_process() -> None:
    other = [StageSpan(0, 2, "rollout", "", 10 * MS, 80 * MS, 0)]
    assert path(trainer((0, 2, 79)) + other) == [(0, OTHER, 10.0), (0, "rollout", 69.0), *ROLLOUT]


def test_an_arrow_leads_into_a_step_of_another_number() -> None:
    """As where rollouts are made steps ahead."""
    ahead = loop(1, 5, 0, 90, ("rollout", 0, 79))
    assert path(trainer((1, 1, 79)) + ahead) == [(1, "rollout", 79.0), *ROLLOUT]
    # Nor does it matter that one of the same number was at another time.
    behind = [*ahead, *loop(1, 0, -100, 0, ("rollout", -90, -10))]
    assert path(trainer((1, 1, 79)) + behind) == [(1, "rollout", 79.0), *ROLLOUT]


def test_arrows_lead_on_through_who_was_asked_when() -> None:
    """A worker that was in nothing before it was asked began when it was; one that was busy did not."""
    spans = loop(0, 0, 0, 100, ("ask", 0, 30), ("wait_rollouts", 30, 80), ("update", 80, 100))
    spans[2] = spans[2]._replace(waits_for=Source(1, 7, 79 * MS))
    asked = StageSpan(1, 7, "rollout", "", 25 * MS, 80 * MS, None, Source(0, 1, 20 * MS))
    assert path([*spans, asked]) == [(0, "ask", 20.0), (1, OTHER, 5.0), (1, "rollout", 54.0), *ROLLOUT]
    busy = StageSpan(1, 7, "reward", "", 0, 24 * MS, None)
    assert path([*spans, asked, busy])[:3] == [(1, "reward", 24.0), (1, OTHER, 1.0), (1, "rollout", 54.0)]


def test_what_came_before_it_was_waited_for_made_nobody_wait() -> None:
    spans = loop(0, 0, 0, 100, ("update", 0, 80), ("wait_rollouts", 80, 81), ("update", 81, 100))
    spans[2] = spans[2]._replace(waits_for=Source(1, 7, 60 * MS))
    spans.append(StageSpan(1, 7, "rollout", "", 0, 61 * MS, None))
    assert path(spans) == [(0, "update", 80.0), (0, "wait_rollouts", 1.0), (0, "update", 19.0)]


def test_an_arrow_into_a_stage_of_waiting_counts_for_what_is_in_it() -> None:
    """The queue is read in a span of its own, and the arrow ends after it."""
    spans = trainer((1, 7, 70))
    spans.append(StageSpan(0, 1, "get", "", 5 * MS, 79 * MS, 0))
    spans.append(StageSpan(1, 7, "rollout", "", 0, 71 * MS, None))
    assert path(spans) == [
        (1, "rollout", 70.0), (0, "get", 9.0), (0, "wait_rollouts", 1.0), (0, "update", 20.0),
    ]  # fmt: skip


def test_arrows_that_lead_around_in_circles_come_to_an_end() -> None:
    spans = loop(0, 0, 0, 100, ("wait_a", 0, 100)) + loop(1, 0, 0, 100, ("wait_b", 0, 100))
    spans[1] = spans[1]._replace(waits_for=Source(1, 1, 80 * MS))
    spans[3] = spans[3]._replace(waits_for=Source(0, 1, 60 * MS))
    assert path(spans) == [(0, "wait_a", 60.0), (1, "wait_b", 20.0), (0, "wait_a", 20.0)]


def test_the_path_of_a_step_of_many_spans_is_whole() -> None:
    """A span for every token: each of these with a rest before the next, on two processes."""
    n = 20_000
    spans = [StageSpan(p, 1, "step", "step", 0, n * 1000, 0) for p in range(2)]
    spans += [
        StageSpan(p, 1, f"token {i % 5}", "", i * 1000 + 10, i * 1000 + 900, 0)
        for p in range(2)
        for i in range(n)
    ]
    (step,) = analyse(spans).steps
    assert len(step.critical) == 2 * n + 1
    assert sum(part.took_s for part in step.critical) == pytest.approx(step.wall_s)


def test_a_process_without_steps_has_shares_of_the_time_in_which_others_have_them() -> None:
    worker = [
        StageSpan(1, 7, "wait_weights", "", -100 * MS, 60 * MS, None),
        StageSpan(1, 7, "rollout", "", 60 * MS, 90 * MS, None),
    ]
    found = analyse(loop(0, 0, 0, 100, ("update", 0, 100)) + worker)
    assert found.kinds == pytest.approx({"training": 1.0, OTHER: 0.0})  # those of the steps
    assert found.processes == [0]
    assert found.by_process[0].has_steps
    spent = found.by_process[1]
    assert not spent.has_steps
    assert spent.wall_s == pytest.approx(0.1)
    assert spent.kinds == pytest.approx({"waiting": 0.6, "rollouts": 0.3, OTHER: 0.1})
    assert spent.waits == pytest.approx({"weights": 0.6})
    assert spent.goodput == pytest.approx(0.3)


def test_a_process_waits_where_all_of_its_threads_do() -> None:
    """Where they do not, the time is that of what is done, by how many do it."""
    worker = [
        StageSpan(1, 7, "wait_prompts", "", 0, 100 * MS, None),
        StageSpan(1, 8, "rollout", "", 20 * MS, 60 * MS, None),
        StageSpan(1, 9, "rollout", "", 40 * MS, 60 * MS, None),
        StageSpan(1, 10, "reward", "", 40 * MS, 60 * MS, None),
    ]
    spent = analyse(worker).by_process[1]
    assert spent.wall_s == pytest.approx(0.1)  # its own, where nobody has steps
    rollouts = (20 + 20 * 2 / 3) / 100
    expected = {"waiting": 0.6, "rollouts": rollouts, "reward": 0.4 - rollouts, OTHER: 0.0}
    assert spent.kinds == pytest.approx(expected)
    assert spent.waits == pytest.approx({OTHER: 0.6})


def test_of_chosen_steps_a_process_without_any_is_told_meanwhile() -> None:
    spans = [span for n in range(4) for span in loop(0, n, n * 100, n * 100 + 100, ("update", n * 100, 1))]
    spans += [StageSpan(1, 7, "rollout", "", n * 100 * MS, (n * 100 + 50) * MS, None) for n in range(4)]
    found = analyse(spans, (1, 2))
    assert [step.step for step in found.steps] == [1, 2]
    assert found.by_process[1].kinds == pytest.approx({"rollouts": 0.5, OTHER: 0.5})
    assert found.by_process[1].wall_s == pytest.approx(0.2)
    assert found.beside == [("rollout", 2, pytest.approx(0.1))]


def test_a_step_number_that_comes_again_is_another_step() -> None:
    spans = loop(0, 3, 0, 100, ("update", 0, 90)) + loop(0, 3, 100, 120, ("update", 100, 110))
    spans += loop(1, 3, 0, 100, ("update", 0, 50)) + loop(1, 3, 100, 120, ("update", 100, 110))
    found = analyse(spans)
    assert [(step.step, step.occurrence, step.wall_s) for step in found.steps] == [
        (3, 1, pytest.approx(0.1)),
        (3, 2, pytest.approx(0.02)),
    ]
    assert found.wall_s == pytest.approx(0.12)
    assert found.stages[0].spans == 4
    slow = found.stages[0].slow
    assert slow is not None
    assert (slow.process, slow.steps, slow.of_steps) == (0, 1, 2)


def test_of_steps_within_a_step_no_time_is_lost_nor_counted_twice() -> None:
    """As where a step evaluates in a loop of its own."""
    spans = loop(0, 7, 0, 100, ("update", 0, 40), ("save", 80, 100))
    spans += loop(0, 0, 40, 60, ("eval", 40, 60)) + loop(0, 1, 60, 80, ("eval", 60, 75))
    found = analyse(spans)
    (step,) = found.steps
    assert (step.step, step.wall_s, found.wall_s) == (7, pytest.approx(0.1), pytest.approx(0.1))
    assert step.stages == pytest.approx({"update": 0.04, "eval": 0.035, "save": 0.02, OTHER: 0.005})


def test_two_loops_of_a_process_are_in_the_same_steps() -> None:
    spans = loop(0, 0, 0, 100, ("update", 0, 90)) + loop(0, 0, 0, 20, ("rollout", 0, 10), tid=2)
    (step,) = analyse(spans).steps
    assert step.wall_s == pytest.approx(0.1)
    assert step.stages == pytest.approx({"update": 0.045, "rollout": 0.005, OTHER: 0.01})


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
        ("fwd_bwd", "", "training"),
        ("learn", "", "training"),
        ("ppo", "", "training"),
        ("inference", "", "rollouts"),
        ("logprob_inference_prep", "", "training"),
        ("env_step", "", "rollouts"),
        ("tool_call", "", "rollouts"),
        ("prefetch", "", "data"),
        ("all_gather", "", "training"),
        ("grads_AllReduce", "", "training"),
        ("gather_rollouts", "", "rollouts"),
        ("adv", "", "training"),
        ("values", "", "training"),
        ("testing", "", "evaluation"),
        ("merge_val", "", "evaluation"),
        ("make_experience", "", "rollouts"),
        ("vLLM.generate", "", "rollouts"),
        ("_get_per_token_logps_and_entropies", "", "training"),
        ("recompute_logp", "", "training"),
        ("checkpoint_for_recover", "", "checkpoint"),
        ("timing_s/param_sync", "", "weights"),
        ("idle/refit_bubble", "", "waiting"),
        ("await_rollouts", "", "waiting"),
        ("policy_training", "", "training"),
        ("total_step_time", "", OTHER),
        ("latest", "", OTHER),
    ],
)
def test_kinds_come_from_categories_or_from_names_as_they_are_in_use(
    name: str, category: str, kind: str
) -> None:
    assert kind_of(name, category) == kind


def test_stages_of_no_kind_are_known_apart_from_what_is_in_no_stage() -> None:
    """A stage around all others is none of them."""
    found = analyse(loop(0, 0, 0, 100, ("rl/step", 0, 95), ("xyz", 0, 60), ("update", 60, 90)))
    assert found.unknown == pytest.approx({"xyz": 0.6})
    assert found.kinds == pytest.approx({OTHER: 0.7, "training": 0.3})
    assert of_no_kind(found.unknown) == "60 % is in stages of no known kind (xyz)"
    assert of_no_kind({"xyz": 0.09}) == ""
    named = analyse([each._replace(category="reward") for each in loop(0, 0, 0, 100, ("xyz", 0, 60))[1:]])
    assert named.unknown == {}


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
    assert found.by_process[0].kinds == pytest.approx({"rollouts": 0.6, "waiting": 0.4, OTHER: 0.0})
    assert found.by_process[3].kinds == pytest.approx({"waiting": 0.6, "training": 0.4, OTHER: 0.0})


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
