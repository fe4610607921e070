"""The loop: steps with evaluations and checkpoints, and a last evaluation on users that were never seen.

Step numbers count optimiser steps; step n commits the n-th one. Evaluation is the root's alone: the other
processes wait for it outside of their steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import sightline as sl
from runners.common import metadata
from runners.common.batches import batch_indices
from runners.common.config import ConfigError
from runners.common.ending import closing
from runners.common.loop import due
from runners.common.mesh import make_mesh, my_slice, put_replicated, put_rows, to_host
from runners.common.model import Decoder, init_params
from runners.common.optimising import State, add, learning_rate, make_adamw
from runners.common.saves import Saves
from runners.recommendation.config import load_dataset
from runners.recommendation.evaluation import Evaluation, make_evaluator, wait_for_root
from runners.recommendation.metrics import record_rankings
from runners.recommendation.policy import (
    catalogue_of,
    check_catalogue,
    check_vocabulary,
    describe_policy,
    tokenizer_of,
)
from runners.recommendation.ranking import ndcg
from runners.recommendation.tasks import make_tokenizer
from runners.recommendation.trie import make_trie
from runners.sid_sft.callbacks import Best, Callback, Evaluated, Step
from runners.sid_sft.config import Config, check_divisible
from runners.sid_sft.metrics import Recorder
from runners.sid_sft.mixture import mix
from runners.sid_sft.sft import Batch, Update, make_update
from runners.sid_sft.summary import Result, describe, judge, next_command, write_eval

log = sl.get_logger("sid_sft")


@dataclass(frozen=True)
class Outcome:
    """What `train` returns on every process."""

    params: Any  # nested dict of NumPy arrays
    step: int
    result: Result | None  # on the root, with a full evaluation


@dataclass
class Progress:
    """What a run carries from step to step, and a checkpoint keeps. Arrays are replicated over the mesh."""

    state: State
    step: int = 0  # the last step that is done
    position: int = 0  # examples consumed; which come next follows from it
    best: Best | None = None  # on the root

    def arrays(self) -> dict[str, Any]:
        return dict(self.state._asdict())


@dataclass(frozen=True)
class Share:
    """The part of a step that comes from this process."""

    batches: list[Batch]  # the micro-batches, in global arrays
    examples: int  # this process's rows
    tokens: int  # answer tokens in them


def train(config: Config, callbacks: Sequence[Callback] = ()) -> Outcome:
    """Run the whole of `config` on every process of the job; `jax.distributed` is up already.

    Raises:
        ConfigError, DataError, CheckpointError: what was given cannot be used; raised before anything is
            written to a run directory.
    """
    return _Training(config, [Recorder(), *callbacks]).run()


class _Training:
    """The parts that stay the same over the steps, and the phases as methods."""

    def __init__(self, config: Config, callbacks: Sequence[Callback]) -> None:
        check_divisible(config, jax.device_count())
        self.config, self.callbacks, data = config, callbacks, config.data
        self.dataset = load_dataset(data, config.seed)
        catalogue = self.dataset.catalogue
        if len(catalogue) < config.eval.beams:
            raise ConfigError(f"eval.beams: {config.eval.beams} is more than the {len(catalogue)} items")
        self.tokenizer = make_tokenizer(catalogue, data.max_words)
        self.examples = mix(
            self.dataset,
            self.tokenizer,
            asdict(config.tasks),
            prompt_length=data.prompt_tokens,
            answer_length=data.answer_tokens,
            seed=config.seed,
        )
        self.mesh: Mesh = make_mesh()
        self.model = Decoder(self.tokenizer.vocab_size, **asdict(config.model))
        sft = config.sft
        self.policy = describe_policy(self.model, self.tokenizer, catalogue)
        shares = {f"tasks.{name}": share for name, share in asdict(config.tasks).items()}
        self.settings = {"seed": config.seed, "sft.batch_size": sft.batch_size, **shares}
        self.rows = {"the training data": self.dataset.describe("train")}
        self.schedule = learning_rate(
            sft.learning_rate, steps=sft.steps, warmup_steps=sft.lr_warmup_steps, shape=sft.schedule
        )
        self.optimizer = make_adamw(
            self.schedule, weight_decay=sft.weight_decay, max_grad_norm=sft.max_grad_norm
        )
        self.gradients, self.apply = make_update(
            self.model, self.optimizer, self.schedule, prompt_length=data.prompt_tokens
        )
        self.evaluator = make_evaluator(
            self.model,
            make_trie(catalogue, self.tokenizer),
            self.dataset,
            self.tokenizer,
            beams=config.eval.beams,
            batch_size=config.eval.batch_size,
            prompt_length=config.data.prompt_tokens,
        )
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
            aliases="sid_sft",
            naming="strict",
            resume=output.resume,
            state_dict=saved[1] if saved else None,
            console_format=output.console_format,
        ) as run:
            at = saved[0] if saved else self._begin()
            log.info("steps %d to %d on %d processes", at.step + 1, config.sft.steps, run.processes)
            following: Share | None = None
            for step in run.steps(config.sft.steps + 1, start=at.step + 1):
                with sl.scope("train"), sl.record_timing("step"):
                    share = following or self._share(at.position)
                    at.state, update = self._update(at.state, share.batches)
                    at.step, at.position = step, at.position + config.sft.batch_size
                    for callback in self.callbacks:
                        callback.on_step(Step(step, share.examples, share.tokens, update))
                    # The next batch is made while the devices compute; then the host lets them catch up:
                    # running further ahead would only fill memory.
                    following = self._share(at.position)
                    # sightline: allow it bounds how far the host runs ahead, and reads nothing
                    jax.block_until_ready(at.state.step)
                run.commit(step)
                if due(config.eval.every, step):
                    self._evaluate(run, at, "eval")
                if due(config.checkpoint.every, step):
                    self._save(run, at)

            full = self._evaluate(run, at, "eval_full") if config.eval.full else None
            self._save(run, at)
            run_dir = run.dir if run.is_root else None
            result = judge(self.dataset, full) if full else None
            if run_dir and result:
                write_eval(run_dir / "eval.json", result, at.step)
        self.saves.close()
        if run_dir and result:
            ending = closing(run_dir, "sft.steps", config.sft.steps, next_command(config, run_dir))
            print(describe(result) + ending, flush=True)
        return Outcome(to_host(at.state.params), at.step, result)

    # Where a run begins, and where it can go on.

    def _begin(self) -> Progress:
        state = jax.jit(self._first_state)()  # one program, where one by one they would be many
        return Progress(put_replicated(self.mesh, to_host(state)))

    def _first_state(self) -> State:
        params = init_params(self.model, self.config.seed)
        return State(params, self.optimizer.init(params), jnp.int32(0))

    def _save(self, run: sl.Run, at: Progress) -> None:
        """Write a checkpoint of this step, unless there is one."""
        meta = {
            **self.policy,
            "settings": self.settings,
            "rows": self.rows,
            "position": at.position,
            "best": None if at.best is None else asdict(at.best),
        }
        if self.saves.save(run, at.step, at.arrays(), meta):
            log.info("checkpoint of step %d", at.step)

    def _restore(self, step: int) -> tuple[Progress, dict[str, Any]]:
        """The checkpoint to go on from, and the run's state_dict."""
        source, saved = self.saves.found, self.saves.meta()
        metadata.check_same(source, saved, "settings", self.settings)
        check_vocabulary(source, tokenizer_of(source, saved), self.tokenizer, "the data")
        check_catalogue(source, catalogue_of(source, saved), self.dataset.catalogue, "the data")
        metadata.check_same(source, saved, "rows", self.rows)
        position = metadata.count(source, saved, "position")
        best = metadata.section(source, saved, "best", Best) if saved.get("best") is not None else None
        like = jax.eval_shape(self._first_state)
        arrays, _ = self.saves.restore(dict(like._asdict()))
        state = State(**put_replicated(self.mesh, arrays))
        return Progress(state, step, position, best), metadata.mapping(source, saved, "sightline")

    # The phases of a step.

    def _share(self, position: int) -> Share:
        """What this process puts into the step that begins at this position."""
        sft, data = self.config.sft, self.examples
        with sl.record_timing("data"):
            rows = batch_indices(position, sft.batch_size, len(data), self.config.seed)
            mine = rows[my_slice(sft.batch_size)]
            mask = data.answer_valid[mine]
            whole = Batch(
                tokens=np.concatenate([data.prompts[mine], data.answers[mine]], axis=1),
                valid=np.concatenate([data.prompt_valid[mine], mask], axis=1),
                mask=mask,
                tasks=data.tasks[mine],
            )
            parts = zip(*(np.split(x, sft.grad_accumulation) for x in whole), strict=True)
            batches = [put_rows(self.mesh, Batch(*part)) for part in parts]
            return Share(batches, len(mine), int(mask.sum()))

    def _update(self, state: State, batches: list[Batch]) -> tuple[State, Update]:
        """One optimiser step, which the devices still have before them."""
        for callback in self.callbacks:
            callback.on_update(state, batches)
        with sl.record_timing("update") as timing:
            total = self.gradients(state.params, batches[0])
            for batch in batches[1:]:
                total = add(total, self.gradients(state.params, batch))
            state, update = self.apply(state, *total)
            timing.until(state.step)
        return state, update

    # Evaluation.

    def _evaluate(self, run: sl.Run, at: Progress, scope: str) -> Evaluation | None:
        """Evaluate on the root, and commit; all processes go on together. None but on the root."""
        evaluation = None
        with sl.scope(scope):
            if self.evaluator is not None:
                split, count = ("valid", self.config.eval.users) if scope == "eval" else ("test", None)
                with sl.record_timing("step"):
                    evaluation = self.evaluator(at.state.params, split, count)
                if scope == "eval":
                    at.best = _better(at.best, evaluation, at.step)
                record_rankings(self.dataset, split, evaluation)
                epoch = at.position / len(self.examples)
                best = at.best if scope == "eval" else None
                for callback in self.callbacks:
                    callback.on_evaluation(Evaluated(at.step, scope, split, epoch, evaluation, best))
                wait_for_root()
            else:
                with sl.record_timing("wait"):
                    wait_for_root()
        run.commit(at.step)
        if evaluation is not None:
            log.info("%s of step %d: %d users", scope, at.step, len(evaluation.items))
        return evaluation


def _better(best: Best | None, evaluation: Evaluation, step: int) -> Best:
    value = float(ndcg(evaluation.ranks, 10).mean())
    return best if best is not None and best.value >= value else Best(value, step)
