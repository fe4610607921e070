"""The loop: GRPO steps from a fine-tuned policy, with checkpoints, and an evaluation before and after.

Step numbers count GRPO updates: step n is measured with, and commits, the n-th update; the evaluation before
the first one is committed at step 0. Evaluation is the root's alone: the other processes wait for it outside
of their steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

import sightline as sl
from runners.common import metadata
from runners.common.batches import batch_indices
from runners.common.config import ConfigError
from runners.common.ending import closing
from runners.common.groups import GroupSessions
from runners.common.grpo import count_tokens, group_advantages, make_update, zero_variance_groups
from runners.common.loop import due, fold_in
from runners.common.mesh import local_rows, make_mesh, my_slice, put_replicated, put_rows, to_host
from runners.common.optimising import State, add, learning_rate, make_adamw
from runners.common.saves import Saves
from runners.minionerec_rl.callbacks import Callback, Evaluated, Step
from runners.minionerec_rl.config import Config, GrpoConfig, check_divisible, check_items
from runners.minionerec_rl.metrics import (
    record_candidates,
    record_evaluation,
    record_rollout,
    record_token_diversity,
)
from runners.minionerec_rl.rewards import score
from runners.minionerec_rl.rollout import Batch, Rollout, likeliest_first
from runners.minionerec_rl.summary import Result, describe, judge, write_eval
from runners.recommendation import tasks
from runners.recommendation.config import load_dataset
from runners.recommendation.decoding import Candidates, make_beam_search, make_sampler
from runners.recommendation.evaluation import Evaluation, make_evaluator, wait_for_root
from runners.recommendation.metrics import record_rankings
from runners.recommendation.policy import (
    Policy,
    check_catalogue,
    check_vocabulary,
    describe_policy,
    load_policy,
)
from runners.recommendation.scoring import score_items
from runners.recommendation.tasks import Encoded, make_tokenizer
from runners.recommendation.trie import make_trie

log = sl.get_logger("minionerec_rl")


@dataclass(frozen=True)
class Outcome:
    """What `train` returns on every process."""

    params: Any  # nested dict of NumPy arrays
    step: int
    result: Result | None  # on the root, with full evaluations


@dataclass
class Progress:
    """What a run carries from step to step, and a checkpoint keeps. Arrays are replicated over the mesh."""

    state: State
    reference: Any  # the frozen parameters of the KL term; an empty dict without one
    rng: Any  # (2,) uint32: the data of the key from which each step's key follows
    step: int = 0  # the last step that is done
    position: int = 0  # prompts consumed
    before: np.ndarray | None = None  # on the root, (test users,) int64: ranks of the true items at step 0

    def arrays(self) -> dict[str, Any]:
        """As a checkpoint keeps them; its `params` are where `load_policy` looks for a policy's."""
        return {**self.state._asdict(), "reference": self.reference, "rng": self.rng}

    @classmethod
    def of(cls, arrays: dict[str, Any], **rest: Any) -> Progress:
        """With what `arrays` has given."""
        state = State(*(arrays[name] for name in State._fields))
        return cls(state, arrays["reference"], arrays["rng"], **rest)


@dataclass(frozen=True)
class Saved:
    """A checkpoint, read back."""

    progress: Progress
    sightline: dict[str, Any]  # the run's state_dict


def train(config: Config, callbacks: Sequence[Callback] = ()) -> Outcome:
    """Run the whole of `config` on every process of the job; `jax.distributed` is up already.

    Raises:
        ConfigError, DataError, CheckpointError: what was given cannot be used; raised before anything is
            written to a run directory.
    """
    return _Training(config, callbacks).run()


#: What a run must go on with: what it trains on, and what it is compared on before and after.
_SPLITS = {"training": "train", "test": "test"}


class _Training:
    """The parts that stay the same over the steps, and the phases as methods."""

    def __init__(self, config: Config, callbacks: Sequence[Callback]) -> None:
        check_divisible(config, jax.device_count())
        self.config, self.callbacks, grpo = config, callbacks, config.grpo
        self.dataset = load_dataset(config.data, config.seed)
        catalogue = self.dataset.catalogue
        check_items(config, len(catalogue))
        self.tokenizer = make_tokenizer(catalogue, config.data.max_words)
        self.trie = make_trie(catalogue, self.tokenizer)
        self.prompts: Encoded = tasks.encode(
            tasks.next_item(catalogue, self.dataset.train),
            self.tokenizer,
            config.data.prompt_tokens,
            self.trie.levels + 1,
        )
        self.settings = {"grpo.seed": grpo.seed, "grpo.prompts_per_step": grpo.prompts_per_step}
        if config.data.train_file is None:  # else nothing follows from it
            self.settings["seed"] = config.seed
        self.rows = {f"the {name} data": self.dataset.describe(split) for name, split in _SPLITS.items()}
        self.saves = Saves(config.output, config.checkpoint)
        self.policy = self._policy()
        self.model = self.policy.model
        self.described = describe_policy(self.model, self.tokenizer, catalogue)

        self.mesh: Mesh = make_mesh()
        self.find = self._make_find()
        self.schedule = make_schedule(grpo)
        self.optimizer = make_adamw(
            self.schedule, weight_decay=grpo.weight_decay, max_grad_norm=grpo.max_grad_norm
        )
        self.gradients, self.apply = make_update(
            self.mesh,
            self._logprobs,
            self.optimizer,
            self.schedule,
            clip_low=grpo.clip_low,
            clip_high=grpo.clip_high,
            kl_beta=grpo.kl_beta,
        )
        self.with_logprobs = jax.jit(self._with_logprobs)
        self.count = jax.jit(sl.collect(self._count))
        self.evaluator = make_evaluator(
            self.model,
            self.trie,
            self.dataset,
            self.tokenizer,
            beams=config.eval.beams,
            batch_size=config.eval.batch_size,
            prompt_length=config.data.prompt_tokens,
        )

    def run(self) -> Outcome:
        """The run from its start, or from its newest checkpoint, to the end."""
        config, output = self.config, self.config.output
        saved = self._restore(self.saves.step) if self.saves.step is not None else None
        with sl.start(
            output.dir,
            name=output.name,
            config=config,
            sinks=list(output.sinks),
            aliases="minionerec_rl",
            naming="strict",
            resume=output.resume,
            state_dict=saved.sightline if saved else None,
            console_format=output.console_format,
        ) as run:
            at = saved.progress if saved else self._begin(run)
            log.info("steps %d to %d on %d processes", at.step + 1, config.grpo.steps, run.processes)
            for step in run.steps(config.grpo.steps + 1, start=at.step + 1):
                # In host time, which counts each moment once: what is left of a step, the next one waits for.
                with sl.scope("train"), sl.record_timing("step"):
                    rollout = self._rollout(step, at)
                    at.state = self._update(at, rollout)
                    at.step, at.position = step, at.position + config.grpo.prompts_per_step
                    record_rollout(rollout, grad_accumulation=config.grpo.grad_accumulation)
                    for callback in self.callbacks:
                        callback.on_step(Step(step, rollout))
                run.commit(step)
                if due(config.eval.every, step):
                    self._evaluate(run, step, at.state.params, "eval")
                if due(config.checkpoint.every, step):
                    self._save(run, at)

            after = self._evaluate(run, at.step, at.state.params, "eval_full") if config.eval.full else None
            self._save(run, at)
            run_dir = run.dir if run.is_root else None
            result = None
            if after is not None and at.before is not None:
                result = judge(at.before, after.ranks, after.invalid)
                write_eval(run.wait_dir() / "eval.json", result, at.step)
        self.saves.close()
        if run_dir and result:
            print(describe(result) + closing(run_dir, "grpo.steps", config.grpo.steps), flush=True)
        return Outcome(to_host(at.state.params), at.step, result)

    # Where a run begins, and where it can go on.

    def _policy(self) -> Policy:
        """The policy of this run's newest checkpoint that all processes have, or the one to begin with."""
        start, step = self.config.start, self.saves.find()
        if step is not None:
            metadata.check_same(self.saves.found, self.saves.meta(), "settings", self.settings)
            policy = load_policy(self.saves.run_dir, step)
        elif start.run is not None:
            policy = load_policy(start.run, start.step)
        else:
            raise ConfigError(
                "start.run: expected the directory of a run of runners.sid_sft, to begin from its checkpoint"
            )
        check_vocabulary(policy.source, policy.tokenizer, self.tokenizer, "the data")
        check_catalogue(policy.source, policy.catalogue, self.dataset.catalogue, "the data")
        return policy

    def _begin(self, run: sl.Run) -> Progress:
        at = Progress.of(put_replicated(self.mesh, self._first_arrays()))
        if self.config.eval.full and (before := self._evaluate(run, 0, at.state.params, "eval_full")):
            at.before = before.ranks
        return at

    def _first_arrays(self) -> dict[str, Any]:
        """What a run begins with, in NumPy; and so the shapes of what a checkpoint has."""
        params, grpo = self.policy.params, self.config.grpo
        first = Progress(
            state=State(params, self.optimizer.init(params), np.int32(0)),
            reference=params if grpo.kl_beta else {},
            rng=jax.random.key_data(jax.random.key(grpo.seed)),
        )
        arrays: dict[str, Any] = to_host(first.arrays())
        return arrays

    def _save(self, run: sl.Run, at: Progress) -> None:
        """Write a checkpoint of this step, unless there is one."""
        meta = {
            **self.described,
            "settings": self.settings,
            "rows": self.rows,
            "position": at.position,
            "before": None if at.before is None else at.before.tolist(),
        }
        if self.saves.save(run, at.step, at.arrays(), meta):
            log.info("checkpoint of step %d", at.step)

    def _restore(self, step: int) -> Saved:
        """The whole of the checkpoint that `_policy` has found."""
        source, meta = self.saves.found, self.saves.meta()
        metadata.check_same(source, meta, "rows", self.rows)
        before = metadata.numbers(source, meta, "before")
        position = metadata.count(source, meta, "position")
        sightline = metadata.mapping(source, meta, "sightline")
        arrays, _ = self.saves.restore(self._first_arrays())
        progress = Progress.of(
            put_replicated(self.mesh, arrays),
            step=step,
            position=position,
            before=None if before is None else np.array(before, np.int64),
        )
        return Saved(progress, sightline)

    # The phases of a step.

    def _rollout(self, step: int, at: Progress) -> Rollout:
        """Find candidates for this process's prompts, reward them, compare them within the groups."""
        grpo, data = self.config.grpo, self.prompts
        batch = batch_indices(at.position, grpo.prompts_per_step, len(data), grpo.seed)
        mine = batch[my_slice(grpo.prompts_per_step)]
        groups = GroupSessions([f"prompt {i}" for i in mine], step)
        # Until this process's candidates are on the host.
        with sl.record_timing("rollout") as timing, groups.phase("generate", timing):
            timing.since(at.state.step)  # what is left of the last update is not the rollout's time
            prompts, valid = put_rows(self.mesh, (data.prompts[mine], data.prompt_valid[mine]))
            found = self.find(at.state.params, prompts, valid, fold_in(at.rng, step))
            candidates = likeliest_first(Candidates(*map(local_rows, found)))
        with sl.record_timing("reward") as timing, groups.phase("reward", timing):
            targets = self.dataset.train.targets[mine]
            rewards, parts = score(candidates.items, targets, asdict(grpo.reward))
        record_candidates(self.dataset, mine, candidates.items, rewards)
        with sl.record_timing("advantages"):
            advantages = group_advantages(rewards, grpo.group_size).reshape(rewards.shape)
            zero_variance = zero_variance_groups(rewards, grpo.group_size)
        mask = np.ones((*rewards.shape, self.trie.levels + 1), bool)
        groups.finish(rewards, mask.sum(-1), zero_variance)
        return Rollout(
            prompts=data.prompts[mine],
            prompt_valid=data.prompt_valid[mine],
            items=candidates.items,
            tokens=candidates.tokens,
            mask=mask,
            rewards=rewards,
            reward_parts=parts,
            zero_variance=zero_variance,
            advantages=advantages,
            flow=groups.flow,
        )

    def _update(self, at: Progress, rollout: Rollout) -> State:
        """`ppo_epochs` optimiser steps on the rollout, which the devices may still have before them."""
        state = at.state
        with sl.record_timing("shard"):
            batches = [
                put_rows(self.mesh, batch)
                for batch in rollout.micro_batches(self.config.grpo.grad_accumulation)
            ]
        with sl.record_timing("reference") as timing:
            batches = [self.with_logprobs(state.params, at.reference, batch) for batch in batches]
            timing.until(batches[-1].old_logprobs)
        with sl.record_timing("update") as timing:
            timing.flow_in(rollout.flow)
            timing.since(batches[-1].old_logprobs)
            tokens, stats = self.count(batches)
            sl.ingest(stats)
            for _ in range(self.config.grpo.ppo_epochs):
                for callback in self.callbacks:
                    callback.on_update(state, batches)
                total = None
                for batch in batches:
                    gradients, stats = self.gradients(state.params, batch)
                    sl.ingest(stats)
                    total = gradients if total is None else add(total, gradients)
                state, stats = self.apply(state, total, tokens)
                sl.ingest(stats)
            timing.until(state.step)
        return state

    def _evaluate(self, run: sl.Run, step: int, params: Any, scope: str) -> Evaluation | None:
        """Evaluate on the root, and commit; all processes go on together. None but on the root."""
        evaluation = None
        with sl.scope(scope):
            if self.evaluator is not None:
                split, count = ("valid", self.config.eval.users) if scope == "eval" else ("test", None)
                with sl.record_timing("step"):
                    evaluation = self.evaluator(params, split, count)
                targets = getattr(self.dataset, split).targets[: len(evaluation.items)]
                first = evaluation.items[:, : self.config.grpo.group_size]
                rewards, parts = score(first, targets, asdict(self.config.grpo.reward))
                record_evaluation(evaluation, rewards, parts, split=split)
                record_rankings(self.dataset, split, evaluation)
                for callback in self.callbacks:
                    callback.on_evaluation(Evaluated(step, scope, evaluation))
                wait_for_root()
            else:
                with sl.record_timing("wait"):
                    wait_for_root()
        run.commit(step)
        if evaluation is not None:
            log.info("%s of step %d: %d users", scope, step, len(evaluation.items))
        return evaluation

    # What is compiled.

    def _make_find(self) -> Callable[[Any, Any, Any, Any], Candidates]:
        """`find(params, prompts, valid, key)`: `group_size` candidates for each prompt."""
        grpo = self.config.grpo
        if grpo.candidates == "sample":
            return make_sampler(
                self.mesh, self.model, self.trie, candidates=grpo.group_size, temperature=grpo.temperature
            )
        search = make_beam_search(self.mesh, self.model, self.trie, beams=grpo.group_size)
        return lambda params, prompts, valid, key: search(params, prompts, valid)

    def _logprobs(self, params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The candidates' log-probabilities and entropies, in the model's whole vocabulary (MiniOneRec).

        The trie bars tokens when candidates are found, not here: what the policy puts on tokens that are
        barred is what it lacks on items, and evaluation ranks by these same log-probabilities.
        """
        return score_items(self.model, params, batch.prompts, batch.valid, batch.tokens)

    def _with_logprobs(self, params: Any, reference: Any, batch: Batch) -> Batch:
        """The batch with log-probabilities before the update: the policy's, and the reference's if any."""
        old, _ = self._logprobs(params, batch)
        ref = self._logprobs(reference, batch)[0] if self.config.grpo.kl_beta else None
        return batch._replace(old_logprobs=old, ref_logprobs=ref)

    def _count(self, batches: list[Batch]) -> jax.Array:
        """The one number that the loss needs from everyone: how many tokens are trained, all in all."""
        record_token_diversity([batch.tokens for batch in batches], self.tokenizer.vocab_size)
        tokens: jax.Array = count_tokens([batch.mask for batch in batches])
        return tokens


def make_schedule(grpo: GrpoConfig) -> optax.Schedule:
    """The learning rate by optimiser step."""
    steps = max(grpo.steps * grpo.ppo_epochs, 1)
    return learning_rate(
        grpo.learning_rate, steps=steps, warmup_steps=grpo.lr_warmup_steps, shape=grpo.schedule
    )
