"""A rollout controller and a train controller over workers that are plain processes.

    python examples/controllers.py                       # 20 steps, a few seconds
    python examples/controllers.py --lose-worker-at 8    # a rollout worker is killed before step 8

Each worker records what it does, as any process does, and sends `sl.snapshot().to_bytes()` when it is asked.
The controllers hand that on, `sl.export_stats` merges it, and the one who has the run commits it, once a
step. No worker knows of a run, of the other workers, or of JAX. A worker that dies takes its share of the
step with it: the controllers go on with the others, and the commit says `obs/missing_exports`.

The training is real, and small: a policy learns which of four actions suits eight features. It samples
groups of actions, rejects groups that teach nothing, and its advantages are the rewards less a critic's
estimate, learned beside it. All sizes are counts; arrays are float64.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import sightline as sl

Array = npt.NDArray[np.float64]

FEATURES, ACTIONS = 8, 4
GROUPS, SAMPLES = 24, 6  # prompts of a rollout worker in a step, and samples of each
ANSWER_S = 60.0  # how long a worker may take
LEARNING_RATES = {"actor": 4.0, "critic": 0.05}
RIGHT_ACTION = np.random.default_rng(0).normal(size=(FEATURES, ACTIONS))
LINE = (
    "step={step} reward={rollout/reward/mean:.3f} evaluated={eval_rollout/reward/mean:.3f} "
    "accepted={rollout/accepted:.2f} samples={rollout/samples} missing={obs/missing_exports}"
)

log = logging.getLogger("controllers")


class Rollout(NamedTuple):
    """What one worker sampled: G groups of S samples."""

    features: Array  # (G, FEATURES)
    actions: npt.NDArray[np.int64]  # (G, S)
    rewards: Array  # (G, S)
    accepted: npt.NDArray[np.bool_]  # (G,)


class Samples(NamedTuple):
    """What is trained on: N samples of accepted groups."""

    features: Array  # (N, FEATURES)
    actions: npt.NDArray[np.int64]  # (N,)
    rewards: Array  # (N,)


# --- what the workers do -----------------------------------------------------------------------------------


class RolloutWorker:
    """Samples from the policy; every few steps, it also takes the best actions of fresh prompts."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def rollout(self, step: int, policy: Array) -> Rollout:
        random = np.random.default_rng([1, self._rank, step])
        with sl.record_timing("generate"):
            features = random.normal(size=(GROUPS, FEATURES))
            noise = random.gumbel(size=(GROUPS, SAMPLES, ACTIONS))
            actions = (np.log(probabilities(features, policy))[:, None] + noise).argmax(axis=2)
        rewards = reward(features, actions)
        accepted = rewards.std(axis=1) > 0  # a group of equal rewards teaches nothing
        sl.summary("reward", rewards, emit=("mean", "std"))
        sl.ratio("accepted", accepted.sum(), accepted.size)
        sl.total(samples=actions.size)
        sl.rate("samples", actions.size, over="generate")
        sl.last(policy_version=step)
        return Rollout(features, actions, rewards, accepted)

    def evaluate(self, step: int, policy: Array) -> Array:
        """The rewards of this worker's share of an evaluation, (GROUPS,)."""
        features = np.random.default_rng([2, self._rank, step]).normal(size=(GROUPS, FEATURES))
        rewards = reward(features, probabilities(features, policy).argmax(axis=1)[:, None])[:, 0]
        sl.tracker("evaluation").summary("reward", rewards, emit=("mean", "std"))
        return rewards

    def export(self) -> dict[str, bytes]:
        evaluation = sl.tracker("evaluation").snapshot()
        return {"rollout": sl.snapshot().to_bytes(), "eval_rollout": evaluation.to_bytes()}


class ActorWorker:
    """One data-parallel share of the policy's update."""

    def __init__(self, rank: int) -> None:
        pass

    def gradient(self, share: Samples, advantages: Array, policy: Array) -> Array:
        """The gradient of Σ −advantage·log p, (FEATURES, ACTIONS); the sum over this share."""
        with sl.record_timing("update"):
            chances = probabilities(share.features, policy)
            chosen = chances[np.arange(len(share.actions)), share.actions]
            slope = chances.copy()
            slope[np.arange(len(share.actions)), share.actions] -= 1.0
            gradient = share.features.T @ (slope * advantages[:, None])
        sl.ratio("loss", -(advantages * np.log(chosen)).sum(), advantages.size)
        sl.summary("advantage", advantages)
        sl.ratio("entropy", -(chances * np.log(chances)).sum(), advantages.size)
        return np.asarray(gradient)

    def export(self) -> dict[str, bytes]:
        return {"actor": sl.snapshot().to_bytes()}


class CriticWorker:
    """Estimates the reward from the features; one data-parallel share of it."""

    def __init__(self, rank: int) -> None:
        pass

    def gradient(self, share: Samples, critic: Array) -> Array:
        """The gradient of Σ (estimate − reward)² / 2, (FEATURES + 1,); the sum over this share."""
        with sl.record_timing("update"):
            error = estimate(share.features, critic) - share.rewards
            gradient = with_bias(share.features).T @ error
        sl.summary("error", error, quantiles=(0.5,))
        sl.ratio("loss", (error**2).sum() / 2, error.size)
        return np.asarray(gradient)

    def export(self) -> dict[str, bytes]:
        return {"critic": sl.snapshot().to_bytes()}


def probabilities(features: Array, policy: Array) -> Array:
    """Of each action: (N, FEATURES) and (FEATURES, ACTIONS) to (N, ACTIONS)."""
    scores = features @ policy
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def reward(features: Array, actions: npt.NDArray[np.int64]) -> Array:
    """1 for the right action of each prompt, else 0: (G, FEATURES) and (G, S) to (G, S)."""
    return np.asarray((actions == (features @ RIGHT_ACTION).argmax(axis=1)[:, None]).astype(np.float64))


def with_bias(features: Array) -> Array:
    return np.concatenate([np.abs(features), np.ones((len(features), 1))], axis=1)


def estimate(features: Array, critic: Array) -> Array:
    """The reward to be expected, (N,)."""
    return np.asarray(with_bias(features) @ critic)


# --- processes ---------------------------------------------------------------------------------------------


def serve(connection: Connection, kind: Callable[[int], Any], rank: int) -> None:
    """A worker's process: answers one request after another, until the controller has gone."""
    worker = kind(rank)
    try:
        while True:
            method, *arguments = connection.recv()
            connection.send(getattr(worker, method)(*arguments))
    except (EOFError, OSError, KeyboardInterrupt):
        return


class Worker:
    """The controller's end of a worker.

    Attributes:
        lost: the worker died or did not answer in time; it is not asked again, and all its answers are None.
    """

    def __init__(self, kind: Callable[[int], Any], rank: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.name = f"{getattr(kind, '__name__', 'worker')} {rank}"
        self.process = context.Process(target=serve, args=(theirs, kind, rank), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is seen as the end of the pipe
        self.lost = False

    def ask(self, method: str, *arguments: Any) -> None:
        if not self.lost:
            try:
                self._connection.send((method, *arguments))
            except OSError as error:
                self._lose(repr(error))

    def answer(self) -> Any:
        if not self.lost:
            try:
                if self._connection.poll(ANSWER_S):
                    return self._connection.recv()
                self._lose(f"no answer within {ANSWER_S:g} s")
            except (EOFError, OSError) as error:
                self._lose(repr(error))
        return None

    def _lose(self, reason: str) -> None:
        self.lost = True
        self.process.kill()
        log.warning("%s is lost, going on without it: %s", self.name, reason)

    def end(self) -> None:
        self._connection.close()
        self.process.join(5.0)
        self.process.kill()
        self.process.join()


def ask_all(workers: Sequence[Worker], method: str, *arguments: Any) -> list[Any]:
    """The workers' answers, None for those that are lost; all work at the same time."""
    for worker in workers:
        worker.ask(method, *arguments)
    return [worker.answer() for worker in workers]


def exports_of(workers: Sequence[Worker], *parts: str) -> dict[str, list[bytes | None]]:
    """For each part what each worker has recorded since it was last asked, None for those that are lost."""
    answers = ask_all(workers, "export")
    return {part: [answer and answer[part] for answer in answers] for part in parts}


# --- controllers -------------------------------------------------------------------------------------------


class RolloutController:
    """Asks its workers for rollouts."""

    def __init__(self, workers: int) -> None:
        self.workers = [Worker(RolloutWorker, rank) for rank in range(workers)]
        self._evaluated = False

    def rollout(self, step: int, policy: Array) -> list[Rollout | None]:
        return ask_all(self.workers, "rollout", step, policy)

    def evaluate(self, step: int, policy: Array) -> list[Array | None]:
        self._evaluated = True
        return ask_all(self.workers, "evaluate", step, policy)

    def exports(self) -> dict[str, list[bytes | None]]:
        evaluated, self._evaluated = self._evaluated, False
        return exports_of(self.workers, "rollout", *(["eval_rollout"] if evaluated else []))

    def close(self) -> None:
        for worker in self.workers:
            worker.end()


class TrainController:
    """Holds the policy and the critic; its workers compute the gradients of their shares of a batch."""

    def __init__(self, actors: int, critics: int) -> None:
        self.actors = [Worker(ActorWorker, rank) for rank in range(actors)]
        self.critics = [Worker(CriticWorker, rank) for rank in range(critics)]
        self.policy = np.zeros((FEATURES, ACTIONS))
        self.critic = np.zeros(FEATURES + 1)

    def train(self, samples: Samples) -> None:
        """One update of both. What a worker takes with it is left out of the mean."""
        advantages = samples.rewards - estimate(samples.features, self.critic)
        for worker, share, their in shares(self.actors, samples, advantages):
            worker.ask("gradient", share, their, self.policy)
        for worker, share in shares(self.critics, samples):
            worker.ask("gradient", share, self.critic)
        self.policy = self.policy - self._mean_gradient("actor", self.actors, samples)
        self.critic = self.critic - self._mean_gradient("critic", self.critics, samples)

    def _mean_gradient(self, name: str, workers: Sequence[Worker], samples: Samples) -> Any:
        found = [(worker.answer(), len(share.actions)) for worker, share in shares(workers, samples)]
        gradients = [gradient for gradient, _ in found if gradient is not None]
        count = sum(size for gradient, size in found if gradient is not None)
        if not count:
            raise RuntimeError(f"no {name} worker is left")
        gradient = sum(gradients) / count
        with sl.scope(name):
            sl.scalar(grad_norm=np.linalg.norm(gradient))
        return LEARNING_RATES[name] * gradient

    def exports(self) -> dict[str, list[bytes | None]]:
        return {**exports_of(self.actors, "actor"), **exports_of(self.critics, "critic")}

    def close(self) -> None:
        for worker in (*self.actors, *self.critics):
            worker.end()


def shares(workers: Sequence[Worker], samples: Samples, *more: Array) -> Iterable[Any]:
    """Each worker that is there, and its share of the samples and of further arrays; sizes differ by one."""
    there = [worker for worker in workers if not worker.lost]
    parts = zip(*(np.array_split(array, len(there) or 1) for array in (*samples, *more)), strict=True)
    for worker, part in zip(there, parts, strict=False):
        yield (worker, Samples(*part[:3]), *part[3:])


def samples_of(rollouts: Sequence[Rollout | None]) -> Samples:
    """The samples of all accepted groups."""
    there = [rollout for rollout in rollouts if rollout is not None]
    if not there:
        raise RuntimeError("no rollout worker is left")
    return Samples(
        np.concatenate([r.features[r.accepted].repeat(SAMPLES, axis=0) for r in there]),
        np.concatenate([r.actions[r.accepted].ravel() for r in there]),
        np.concatenate([r.rewards[r.accepted].ravel() for r in there]),
    )


# --- the trainer -------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """What a step was made of."""

    number: int
    rollouts: list[Rollout | None]  # by worker
    evaluations: list[Array | None]
    policy: Array  # before the update
    critic: Array


def train(
    log_dir: str,
    *,
    steps: int = 20,
    workers: tuple[int, int, int] = (3, 2, 1),
    lose_worker_at: int | None = None,
    sinks: Sequence[str] = ("console",),
    on_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Trains, and commits once a step.

    Args:
        log_dir: where the run directory is made.
        steps: how many.
        workers: for rollouts, for the actor, for the critic.
        lose_worker_at: the step before which the last rollout worker is killed.
        sinks: as for `sl.start`.
        on_step: called before the commit of each step.
    """
    settings = {"workers": workers, "steps": steps}
    with (
        contextlib.closing(RolloutController(workers[0])) as rollouts,
        contextlib.closing(TrainController(*workers[1:])) as trainer,
        sl.start(
            log_dir, config=settings, sinks=sinks, console_format=LINE, namespaces=tuple(LEARNING_RATES)
        ) as run,
    ):
        for step in run.steps(steps):
            if step == lose_worker_at:
                rollouts.workers[-1].process.kill()
            start = time.perf_counter()
            before = trainer.policy, trainer.critic
            found = rollouts.rollout(step, trainer.policy)
            evaluated = rollouts.evaluate(step, trainer.policy) if step % 5 == 4 else []
            trainer.train(samples_of(found))
            on_step(Step(step, found, evaluated, *before))
            parts = {**rollouts.exports(), **trainer.exports()}
            parts["train"] = [sl.snapshot().to_bytes()]
            run.commit(step, sl.export_stats(parts, wall_s=time.perf_counter() - start))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--log-dir", default="runs", help="where the run directory is made [runs]")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--lose-worker-at", type=int, metavar="STEP", help="kill a rollout worker before it")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    train(options.log_dir, steps=options.steps, lose_worker_at=options.lose_worker_at)


if __name__ == "__main__":
    main()
