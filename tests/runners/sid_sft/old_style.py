"""The runner's metrics computed the way that earlier runners did: gather whole arrays, then NumPy.

Run as a module on every process of a job, it trains with a callback and leaves what it computed beside the
journal: `python -m tests.runners.sid_sft.old_style CONFIG.yaml OUTPUT_DIR [KEY=VALUE ...]`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils

from runners.common.config import load
from runners.common.model import Decoder, completion_logits, token_logprobs
from runners.common.optimising import State
from runners.recommendation.config import load_dataset
from runners.recommendation.tasks import TASKS
from runners.sid_sft.callbacks import Callback, Evaluated, Step
from runners.sid_sft.config import Config
from runners.sid_sft.sft import Batch
from runners.sid_sft.train import Outcome, train
from tests.runners.jobs import Expected, exact
from tests.runners.rankings import by_hand


def gathered(array: Any) -> np.ndarray:
    """A global array, or all processes' rows of a local one, whole on every process."""
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def on_device(value: Any) -> Expected:
    """Of what is reduced on devices, in float32."""
    return float(value), max(1e-5 * abs(float(value)), 1e-7)


class OldStyle(Callback):
    """`computed`: `{"<step> train" or "<step> <eval scope>": metrics}`; evaluations on the root alone."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.computed: dict[str, dict[str, Expected]] = {}
        self.targets = {
            name: getattr(load_dataset(config.data, config.seed), name).targets for name in ("valid", "test")
        }
        self.best: tuple[float, int] | None = None
        self.logprobs = jax.jit(self._logprobs)
        self.norm = jax.jit(lambda params, batches: optax.tree.norm(jax.grad(self._loss)(params, batches)))

    def on_update(self, state: State, batches: list[Batch]) -> None:
        """Every answer token of the step, one by one, before the step is made."""
        losses, tasks = [], []
        for batch in batches:
            mask = gathered(batch.mask).astype(bool)
            losses.append(-gathered(self.logprobs(state.params, batch)).astype(np.float64)[mask])
            tasks.append(np.broadcast_to(gathered(batch.tasks)[:, None], mask.shape)[mask])
        self.losses, self.tasks = np.concatenate(losses), np.concatenate(tasks)
        self.grad_norm = float(self.norm(state.params, batches))
        self.lr = self._schedule(int(state.step))

    def on_step(self, step: Step) -> None:
        expected = {
            "train/loss": on_device(self.losses.mean()),
            "train/grad_norm": on_device(self.grad_norm),
            "train/lr": on_device(self.lr),
            "train/batch/global": exact(gathered(np.array([step.examples])).sum()),
            "train/effective_batch_size": exact(gathered(np.array([step.examples])).sum()),
            "train/tokens": exact(len(self.losses)),
        }
        for i, task in enumerate(TASKS):
            if (self.tasks == i).any():
                expected[f"train/task_loss/{task}"] = on_device(self.losses[self.tasks == i].mean())
        self.computed[f"{step.step} train"] = expected

    def on_evaluation(self, evaluated: Evaluated) -> None:
        """Under the old names, from the rankings alone."""
        scope, targets = evaluated.scope, self.targets[evaluated.split]
        expected = by_hand(scope, evaluated.evaluation.items, targets, self.config.data.items)
        expected[f"{scope}/epoch"] = exact(self._epoch(evaluated.step))
        if scope == "eval":
            value = expected["eval/ndcg@10"][0]
            if self.best is None or value > self.best[0]:
                self.best = value, evaluated.step
            expected["eval/best_metric_value"] = exact(self.best[0])
            expected["eval/best_metric_step"] = exact(self.best[1])
        self.computed[f"{evaluated.step} {scope}"] = expected

    def _epoch(self, step: int) -> float:
        """From the number of examples, counted by hand."""
        data, passes = load_dataset(self.config.data, self.config.seed), self.config.tasks
        rows, items = len(data.train), len(data.catalogue)
        sizes = {"next_item": rows, "history_to_title": rows, "titles_to_item": rows}
        sizes |= {"sid_to_title": items, "title_to_sid": items}
        examples = sum(round(getattr(passes, name) * size) for name, size in sizes.items())
        return step * self.config.sft.batch_size / examples

    def _schedule(self, step: int) -> float:
        """Up in a line, down in half a cosine."""
        sft = self.config.sft
        if step < sft.lr_warmup_steps:
            return sft.learning_rate * step / sft.lr_warmup_steps
        part = min((step - sft.lr_warmup_steps) / (sft.steps - sft.lr_warmup_steps), 1)
        return sft.learning_rate * (1 + math.cos(math.pi * part)) / 2

    def _logprobs(self, params: Any, batch: Batch) -> jax.Array:
        sizes, length = self.config.model, self.config.data.prompt_tokens
        model = Decoder(len(params["embed"]["embedding"]), sizes.width, sizes.layers, sizes.heads)
        logits = completion_logits(model, params, batch.tokens, batch.valid, length)
        return token_logprobs(logits, batch.tokens[:, length:])[0]

    def _loss(self, params: Any, batches: list[Batch]) -> jax.Array:
        """The mean over the tokens of all micro-batches at once."""
        batch = Batch(*(jnp.concatenate(arrays) for arrays in zip(*batches, strict=True)))
        return -jnp.sum(self._logprobs(params, batch) * batch.mask) / jnp.sum(batch.mask)


def train_and_compute(config: Config) -> tuple[Outcome, dict[str, dict[str, Expected]]]:
    """Train; and beside it what the old way computes on this process."""
    old = OldStyle(config)
    return train(config, [old]), old.computed


def main(config_file: str, output: str, *overrides: str) -> None:
    import sightline.jax

    sightline.jax.initialize()
    config = load(Config, config_file, [f"output.dir={output}", "output.name=run", *overrides])
    _, computed = train_and_compute(config)
    (Path(output) / "old_style.json").write_text(json.dumps(computed))


if __name__ == "__main__":
    main(*sys.argv[1:])
