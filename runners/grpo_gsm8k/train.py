"""The loop: warm-up, evaluation, GRPO steps with checkpoints, evaluation.

Step numbers count GRPO updates: step n is measured with, and commits, the n-th update. What comes before the
first one (warm-up, first evaluation) is committed at step 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import sightline as sl
from runners.common import metadata
from runners.common.batches import batch_indices
from runners.common.comparison import Comparison, compare
from runners.common.ending import closing
from runners.common.groups import GroupSessions
from runners.common.grpo import count_tokens, group_advantages, make_update, zero_variance_groups
from runners.common.loop import due, fold_in
from runners.common.mesh import local_rows, make_mesh, my_slice, put_replicated, put_rows, to_host
from runners.common.model import Decoder, completion_logits, init_params, token_logprobs
from runners.common.optimising import State, add, learning_rate
from runners.common.sampler import make_sampler
from runners.common.saves import Saves
from runners.grpo_gsm8k.callbacks import Callback, Evaluated, Step
from runners.grpo_gsm8k.config import Config, GrpoConfig, check_divisible
from runners.grpo_gsm8k.data import Encoded, encode, load_problems, target_text
from runners.grpo_gsm8k.evaluate import evaluate, gather_correct
from runners.grpo_gsm8k.metrics import record_rollout, record_warmup
from runners.grpo_gsm8k.rewards import score
from runners.grpo_gsm8k.rollout import Batch, Rollout
from runners.grpo_gsm8k.summary import describe, write_eval
from runners.grpo_gsm8k.tokenizer import EOS, PAD, train_tokenizer
from runners.grpo_gsm8k.warmup import Examples, make_warmup_step

log = sl.get_logger("grpo_gsm8k")


@dataclass(frozen=True)
class Outcome:
    """What `train` returns on every process."""

    params: Any  # nested dict of NumPy arrays
    step: int
    comparison: Comparison | None  # none without full evaluations


@dataclass
class Progress:
    """What a run carries from step to step, and a checkpoint keeps. Arrays are replicated over the mesh."""

    state: State
    reference: Any  # the frozen parameters of the KL term; an empty dict without one
    rng: Any  # (2,) uint32: the data of the key from which each step's key follows
    step: int = 0  # the last step that is done
    position: int = 0  # prompts consumed
    before: np.ndarray | None = None  # (test problems,) int8: right or wrong after the warm-up

    def arrays(self) -> dict[str, Any]:
        return {"state": self.state, "reference": self.reference, "rng": self.rng}


@dataclass(frozen=True)
class Saved:
    """A checkpoint, read back."""

    progress: Progress
    sightline: dict[str, Any]  # the run's state_dict


def train(config: Config, callbacks: Sequence[Callback] = ()) -> Outcome:
    """Run the whole of `config` on every process of the job; `jax.distributed` is up already."""
    return _Training(config, callbacks).run()


class _Training:
    """The parts that stay the same over the steps, and the phases as methods."""

    def __init__(self, config: Config, callbacks: Sequence[Callback]) -> None:
        check_divisible(config, jax.device_count(), jax.process_count())
        self.config, self.callbacks, grpo = config, callbacks, config.grpo
        data = config.data
        train_problems = load_problems("train", data.train_file, data.train_problems, config.seed)
        test_problems = load_problems("test", data.test_file, data.test_problems, config.seed)
        self.tokenizer = train_tokenizer(
            (text for p in train_problems for text in (p.question, target_text(p))), data.max_words
        )
        self.settings = {"seed": config.seed, "grpo.prompts_per_step": grpo.prompts_per_step}
        self.rows = {
            f"the {name} data": metadata.describe_rows(f"{p.question}\0{p.answer}" for p in some)
            for name, some in (("training", train_problems), ("test", test_problems))
        }
        lengths = data.prompt_tokens, data.completion_tokens
        self.train_set: Encoded = encode(train_problems, self.tokenizer, *lengths)
        self.test_set: Encoded = encode(test_problems, self.tokenizer, *lengths)

        self.mesh: Mesh = make_mesh()
        self.model = Decoder(
            self.tokenizer.vocab_size, config.model.width, config.model.layers, config.model.heads
        )
        samplers = {"max_new_tokens": data.completion_tokens, "eos_id": EOS, "pad_id": PAD}
        self.sample = make_sampler(
            self.mesh, self.model, group=grpo.group_size, temperature=grpo.temperature, **samplers
        )
        self.greedy = make_sampler(self.mesh, self.model, group=1, temperature=0.0, **samplers)
        self.schedule = make_schedule(grpo)
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(grpo.max_grad_norm), optax.adam(self.schedule, b2=0.98)
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
        self.reference_logprobs = jax.jit(lambda reference, batch: self._logprobs(reference, batch)[0])
        self.copy = jax.jit(lambda params: jax.tree.map(jnp.copy, params))
        self.saves = Saves(config.output, config.checkpoint)

    def run(self) -> Outcome:
        """The run from its start, or from its newest checkpoint, to the end."""
        config, output = self.config, self.config.output
        step = self.saves.find()
        saved = self._restore(step) if step is not None else None
        with sl.start(
            output.dir,
            name=output.name,
            config=config,
            sinks=list(output.sinks),
            aliases="grpo_gsm8k",
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
                    at.state = self._update(at.state, rollout)
                    at.step, at.position = step, at.position + config.grpo.prompts_per_step
                    record_rollout(rollout)
                    for callback in self.callbacks:
                        callback.on_step(Step(step, rollout))
                run.commit(step)
                if due(config.eval.every, step):
                    self._evaluate(run, step, at.state.params, "eval")
                if due(config.checkpoint.every, step):
                    self._save(run, at)

            comparison = None
            if config.eval.full:
                after = self._evaluate(run, at.step, at.state.params, "eval_full")
                if at.before is not None:
                    comparison = compare(at.before, after)
                    if run.is_root:
                        write_eval(run.wait_dir() / "eval.json", at.before, after, comparison, at.step)
            self._save(run, at)
            run_dir = run.dir if run.is_root else None
        self.saves.close()
        if run_dir and comparison:
            print(describe(comparison) + closing(run_dir, "grpo.steps", config.grpo.steps), flush=True)
        return Outcome(to_host(at.state.params), at.step, comparison)

    # Where a run begins, and where it can go on.

    def _begin(self, run: sl.Run) -> Progress:
        params = self._warm_up(run)
        rng = to_host(jax.random.key_data(jax.random.key(self.config.seed)))
        return Progress(
            state=State(params, self.optimizer.init(params), put_replicated(self.mesh, np.int32(0))),
            reference=self.copy(params) if self.config.grpo.kl_beta else {},
            rng=put_replicated(self.mesh, rng),
            before=self._evaluate(run, 0, params, "eval_full") if self.config.eval.full else None,
        )

    def _save(self, run: sl.Run, at: Progress) -> None:
        """Write a checkpoint of this step, unless there is one."""
        meta = {
            "settings": self.settings,
            "rows": self.rows,
            "position": at.position,
            "before": None if at.before is None else at.before.tolist(),
        }
        if self.saves.save(run, at.step, at.arrays(), meta):
            log.info("checkpoint of step %d", at.step)

    def _restore(self, step: int) -> Saved:
        """The checkpoint to go on from."""
        source, meta = self.saves.found, self.saves.meta()
        for name, now in (("settings", self.settings), ("rows", self.rows)):
            metadata.check_same(source, meta, name, now)
        before = metadata.numbers(source, meta, "before", most=1)
        position = metadata.count(source, meta, "position")
        sightline = metadata.mapping(source, meta, "sightline")
        params = init_params(self.model, self.config.seed)
        like = Progress(
            state=State(params, self.optimizer.init(params), np.int32(0)),
            reference=params if self.config.grpo.kl_beta else {},
            rng=jax.random.key_data(jax.random.key(0)),
        )
        arrays, _ = self.saves.restore(to_host(like.arrays()))
        progress = Progress(
            **put_replicated(self.mesh, arrays),
            step=step,
            position=position,
            before=None if before is None else np.array(before, np.int8),
        )
        return Saved(progress, sightline)

    # The phases of a run.

    def _warm_up(self, run: sl.Run) -> Any:
        """Parameters after supervised training on worked answers, replicated."""
        warmup, data = self.config.warmup, self.train_set
        params = put_replicated(self.mesh, to_host(init_params(self.model, self.config.seed)))
        if not warmup.steps:
            return params
        rise = min(20, warmup.steps // 4)
        peaks = warmup.learning_rate, warmup.adam_learning_rate
        muon, adam = (
            optax.warmup_cosine_decay_schedule(0.0, peak, rise, warmup.steps, 0.1 * peak) for peak in peaks
        )
        optimizer = optax.contrib.muon(muon, adam_learning_rate=adam)
        step = make_warmup_step(self.model, optimizer, self.config.data.prompt_tokens)
        state = State(params, optimizer.init(params), np.int32(0))
        tokens = np.concatenate([data.prompts, data.targets], axis=1)
        valid = np.concatenate([data.prompt_valid, data.target_valid], axis=1)
        log.info("warm-up: %d steps on worked answers", warmup.steps)
        for n in range(1, warmup.steps + 1):
            batch = batch_indices((n - 1) * warmup.batch_size, warmup.batch_size, len(data), self.config.seed)
            mine = batch[my_slice(warmup.batch_size)]
            with sl.scope("warmup"):
                with sl.record_timing("step"):
                    state, metrics = step(state, Examples(*put_rows(self.mesh, (tokens[mine], valid[mine]))))
                if n % warmup.log_every == 0 or n == warmup.steps:
                    record_warmup(**metrics, step=n, lr=muon(n - 1))
                    run.commit(0)
        return state.params

    def _rollout(self, step: int, at: Progress) -> Rollout:
        """Sample a group of completions for this process's prompts, score them, compare within the groups."""
        grpo, data = self.config.grpo, self.train_set
        batch = batch_indices(at.position, grpo.prompts_per_step, len(data), self.config.seed + 1)
        mine = batch[my_slice(grpo.prompts_per_step)]
        repeated = np.repeat(mine, grpo.group_size)
        groups = GroupSessions([f"problem {i}" for i in mine], step)
        with sl.record_timing("rollout") as whole:
            whole.since(at.state.step)  # what is left of the last update is not the rollout's time
            with sl.record_timing("rollout_sync") as timing:  # the sampler's own copy of the weights
                timing.since(at.state.step)
                weights = self.copy(at.state.params)
                synced = jax.tree.leaves(weights)[0]
                timing.until(synced)
            # Until this process's rows are on the host.
            with sl.record_timing("rollout_generate") as timing, groups.phase("generate", timing):
                timing.since(synced)
                prompts, valid = put_rows(self.mesh, (data.prompts[mine], data.prompt_valid[mine]))
                samples = self.sample(weights, prompts, valid, fold_in(at.rng, step))
                tokens, mask, logprobs = map(local_rows, samples)
            with sl.record_timing("rollout_flush"):  # as text, which is what is rewarded
                completions = [self.tokenizer.decode(row.tolist()) for row in tokens]
            with sl.record_timing("rollout_release"):
                jax.tree.map(lambda x: x.delete(), weights)
        with sl.record_timing("reward") as timing, groups.phase("reward", timing):
            truths = [data.finals[i] for i in repeated]
            rewards, parts = score(completions, truths, asdict(grpo.reward))
        asked = [self.tokenizer.decode(data.prompts[i][data.prompt_valid[i]].tolist()) for i in mine]
        sl.sample(
            "rollouts",
            prompt=[each for each in asked for _ in range(grpo.group_size)],
            completion=completions, answer=truths, reward=rewards,
        )  # fmt: skip
        with sl.record_timing("advantages"):
            advantages = group_advantages(rewards, grpo.group_size)
            zero_variance = zero_variance_groups(rewards, grpo.group_size)
        groups.finish(rewards, mask.sum(1), zero_variance)
        rollout = Rollout(
            prompts=data.prompts[repeated],
            prompt_valid=data.prompt_valid[repeated],
            tokens=tokens,
            mask=mask,
            logprobs=logprobs,
            ref_logprobs=np.zeros_like(logprobs),
            rewards=rewards,
            reward_parts=parts,
            zero_variance=zero_variance,
            advantages=advantages,
            flow=groups.flow,
        )
        if grpo.kl_beta:
            with sl.record_timing("reference"):
                rollout = self._with_reference(rollout, at.reference)
        return rollout

    def _with_reference(self, rollout: Rollout, reference: Any) -> Rollout:
        parts = [
            local_rows(self.reference_logprobs(reference, put_rows(self.mesh, batch)))
            for batch in rollout.micro_batches(self.config.grpo.grad_accumulation)
        ]
        return rollout.with_reference(np.concatenate(parts))

    def _logprobs(self, params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The completions' log-probabilities and entropies: of the distribution that was sampled from."""
        length = self.config.data.prompt_tokens
        logits = completion_logits(self.model, params, batch.tokens, batch.valid, length)
        return token_logprobs(logits / self.config.grpo.temperature, batch.tokens[:, length:])

    def _update(self, state: State, rollout: Rollout) -> State:
        """`ppo_epochs` optimiser steps on the rollout, which the devices may still have before them."""
        with sl.record_timing("shard"):
            batches = [
                put_rows(self.mesh, batch)
                for batch in rollout.micro_batches(self.config.grpo.grad_accumulation)
            ]
        with sl.record_timing("update") as timing:
            timing.flow_in(rollout.flow)
            # The one number that the loss needs from everyone: how many tokens are trained, all in all.
            tokens = count_tokens([batch.mask for batch in batches])
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

    def _evaluate(self, run: sl.Run, step: int, params: Any, scope: str) -> np.ndarray:
        """Evaluate, commit, and (for the full evaluation) return each problem's 0 or 1 on every process."""
        count = len(self.test_set)
        result = evaluate(
            self.mesh,
            self.greedy,
            params,
            self.test_set,
            self.tokenizer,
            asdict(self.config.grpo.reward),
            count=count if scope == "eval_full" else min(count, self.config.eval.problems),
            batch_size=self.config.eval.batch_size,
            split="test",
            scope=scope,
        )
        with sl.scope(scope):
            for callback in self.callbacks:
                callback.on_evaluation(Evaluated(step, scope, result))
        run.commit(step)
        right, tried = int(result.correct.sum()), len(result.correct)
        log.info("%s of step %d: %d of %d right on this process", scope, step, right, tried)
        return gather_correct(result, count) if scope == "eval_full" else result.correct


def make_schedule(grpo: GrpoConfig) -> optax.Schedule:
    """The learning rate by optimiser step."""
    steps = max(grpo.steps * grpo.ppo_epochs, 1)
    return learning_rate(
        grpo.learning_rate, steps=steps, warmup_steps=grpo.lr_warmup_steps, shape=grpo.schedule
    )
