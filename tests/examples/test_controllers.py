"""Two controllers over real worker processes: the journal equals NumPy on all workers' data."""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import sightline as sl
from examples import controllers
from examples.controllers import Step, estimate, probabilities, samples_of

ROOT = Path(__file__).parents[2]
STEPS, LOSES_ROLLOUT, LOSES_ACTOR = 10, 3, 6


class Finished(NamedTuple):
    steps: list[Step]
    commits: list[dict[str, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A training in which a rollout worker dies between two steps, and an actor within one."""
    folder = tmp_path_factory.mktemp("controllers")
    steps: list[Step] = []
    trainers: list[controllers.TrainController] = []
    make = controllers.TrainController.__init__

    def on_step(step: Step) -> None:
        steps.append(step)
        if step.number == LOSES_ACTOR:  # it has computed its share, and takes its statistics with it
            trainers[0].actors[0].process.kill()
            trainers[0].actors[0].process.join()

    def noted(self: controllers.TrainController, actors: int, critics: int) -> None:
        make(self, actors, critics)
        trainers.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controllers.TrainController, "__init__", noted)
        controllers.train(
            str(folder),
            steps=STEPS,
            workers=(3, 2, 1),
            lose_worker_at=LOSES_ROLLOUT,
            sinks=(),
            on_step=on_step,
        )
    records = sl.read_journal(folder / "latest")
    return Finished(steps, [record for record in records if record["type"] == "commit"])


def expected(step: Step) -> dict[str, float]:
    """By NumPy, on what all the workers had."""
    rollouts = [rollout for rollout in step.rollouts if rollout is not None]
    rewards = np.concatenate([rollout.rewards.ravel() for rollout in rollouts])
    accepted = np.concatenate([rollout.accepted for rollout in rollouts])
    batch = samples_of(step.rollouts)
    chances = probabilities(batch.features, step.policy)
    chosen = chances[np.arange(len(batch.actions)), batch.actions]
    error = estimate(batch.features, step.critic) - batch.rewards
    values = {
        "rollout/reward/mean": rewards.mean(),
        "rollout/reward/std": rewards.std(),
        "rollout/accepted": accepted.mean(),
        "rollout/samples": rewards.size,
        "rollout/policy_version": step.number,
        "critic/loss": (error**2).mean() / 2,
        "critic/error/mean": error.mean(),
        "critic/error/std": error.std(),
        "critic/error/min": error.min(),
        "critic/error/max": error.max(),
    }
    if step.number != LOSES_ACTOR:
        values |= {
            "actor/loss": (error * np.log(chosen)).mean(),
            "actor/entropy": -(chances * np.log(chances)).sum(axis=1).mean(),
            "actor/advantage/mean": -error.mean(),
            "actor/advantage/std": error.std(),
        }
    if evaluated := [rewards for rewards in step.evaluations if rewards is not None]:
        values["eval_rollout/reward/mean"] = np.concatenate(evaluated).mean()
    return values


def test_every_step_equals_numpy_on_the_data_of_all_workers(finished: Finished) -> None:
    """Uneven shares, a part that is there in some steps only, and workers that die."""
    assert [commit["step"] for commit in finished.commits] == list(range(STEPS))
    for step, commit in zip(finished.steps, finished.commits, strict=True):
        values = expected(step)
        assert {key: commit["values"][key] for key in values} == pytest.approx(values, rel=1e-9, abs=1e-12)
        assert ("eval_rollout/reward/mean" in commit["values"]) == (step.number % 5 == 4)


def test_counts_come_with_the_values(finished: Finished) -> None:
    """Those of all workers; of the samples of an actor that died with its own, the other's share alone."""
    for step, commit in zip(finished.steps, finished.commits, strict=True):
        rollouts = [rollout for rollout in step.rollouts if rollout is not None]
        trained = len(samples_of(step.rollouts).actions)
        counts = commit["counts"]
        assert counts["rollout/reward__count"] == sum(rollout.rewards.size for rollout in rollouts)
        assert counts["critic/error__count"] == trained
        lost = step.number == LOSES_ACTOR
        assert counts["actor/advantage__count"] == (trained // 2 if lost else trained)


def test_a_dead_worker_is_said_and_the_others_go_on(finished: Finished) -> None:
    """From its step on: one worker gone, then two; the evaluation's export of the first is a third."""
    for step, commit in zip(finished.steps, finished.commits, strict=True):
        missing = (step.number >= LOSES_ROLLOUT) * (1 + (step.number % 5 == 4)) + (step.number >= LOSES_ACTOR)
        assert commit["values"].get("obs/missing_exports", 0) == missing
        assert commit["values"]["rollout/samples"] == (432 if step.number < LOSES_ROLLOUT else 288)
        assert commit["values"]["time/actor/update_s_slowest"] in (
            (0, 1) if step.number < LOSES_ACTOR else (1,)
        )
    assert sum(rollout is None for rollout in finished.steps[-1].rollouts) == 1


def test_times_and_rates_of_all_parts_are_there(finished: Finished) -> None:
    """The longest worker's, and whose that was; rates over all workers."""
    for commit in finished.commits:
        values = commit["values"]
        for name in ("rollout/generate", "actor/update", "critic/update"):
            assert 0 < values[f"time/{name}_s"] <= values[f"time/{name}_s_max"]
        amount = values["throughput/rollout/samples_per_s"] * values["time/rollout/generate_s"]
        assert amount == pytest.approx(values["rollout/samples"])


def test_the_policy_learns(finished: Finished) -> None:
    """So what is measured is a training."""
    values = [commit["values"] for commit in finished.commits]
    assert values[0]["rollout/reward/mean"] < 0.35
    assert values[-1]["rollout/reward/mean"] > 0.55


def test_the_last_worker_of_a_kind_takes_the_run_with_it(tmp_path: Path) -> None:
    """There is nothing left to train on; the run ends by an error that says so."""
    with pytest.raises(RuntimeError, match="no rollout worker is left"):
        controllers.train(str(tmp_path), steps=3, workers=(1, 1, 1), lose_worker_at=1, sinks=())
    records = list(sl.read_journal(tmp_path / "latest"))
    assert [record["step"] for record in records if record["type"] == "commit"] == [0]
    assert any(record.get("event") == "failed" for record in records)


def test_it_runs_as_its_first_lines_say(tmp_path: Path) -> None:
    """From the command line, in its own process, with a line for each step."""
    script = ROOT / "examples" / "controllers.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", script, "--lose-worker-at", "2", "--steps", "4"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("step=")]
    assert [line.split()[0] for line in lines] == [f"step={n}" for n in range(4)]
    assert ["missing=1" in line for line in lines] == [False, False, True, True]
    assert done.stderr.count("RolloutWorker 2 is lost, going on without it") == 1
    assert "sightline:" not in done.stderr  # no odd name, nor anything else
    assert len(list(sl.read_journal(tmp_path / "runs" / "latest"))) > 4
