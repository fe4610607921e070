"""The runner's metrics computed the way that earlier runners did: gather whole arrays, then NumPy.

Run as a module on every process of a job, it trains with a callback and leaves what it computed beside the
journal: `python -m tests.runners.minionerec_rl.old_style CONFIG.yaml OUTPUT_DIR [KEY=VALUE ...]`.

Of the run it takes items, advantages and predictions. Rewards, log-probabilities (of whole sequences, a
candidate a row) and the reference's are worked out here again.
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

from runners.common.batches import batch_indices
from runners.common.config import load
from runners.common.mesh import make_mesh, put_replicated
from runners.common.model import completion_logits, token_logprobs
from runners.common.optimising import State
from runners.common.tokenizer import EOS
from runners.minionerec_rl.callbacks import Callback, Evaluated, Step
from runners.minionerec_rl.config import Config
from runners.minionerec_rl.rollout import Batch, Rollout
from runners.minionerec_rl.train import Outcome, make_schedule, train
from runners.recommendation.config import load_dataset
from runners.recommendation.policy import load_policy
from tests.runners.grpo_gsm8k.old_style import (
    gather,
    mean_on_device,
    statistics,
    statistics_on_device,
)
from tests.runners.jobs import Expected, exact
from tests.runners.rankings import by_hand

UPDATE = ("loss", "kl", "entropy", "clip_fraction", "policy_kl", "grad_norm")


def old_rewards(items: np.ndarray, targets: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The rule's reward and the penalty of each candidate, (Q, K) each, one by one."""
    discounts = [1 / math.log2(rank + 2) for rank in range(k)]
    rule, ndcg = [], []
    for row, target in zip(items.tolist(), targets.tolist(), strict=True):
        hit = [item == target for item in row]
        rule.append([1.0 if h else 0.0 for h in hit])
        penalty = [0.0 if h else -d / sum(discounts) for h, d in zip(hit, discounts, strict=True)]
        ndcg.append(penalty if any(hit) else [0.0] * k)
    return np.array(rule), np.array(ndcg)


class OldUpdate:
    """What one optimiser step is made of, token by token, before it is made."""

    def __init__(self, config: Config) -> None:
        self.config = config
        policy = load_policy(str(config.start.run))
        self.model, self.reference = policy.model, put_replicated(make_mesh(), policy.params)
        self.schedule = make_schedule(config.grpo)
        self.logprobs = jax.jit(self._logprobs)
        self.norm = jax.jit(lambda *args: optax.tree.norm(jax.grad(self._loss)(*args)))
        self.old_params: Any = None  # those before the rollout's first optimiser step

    def __call__(self, state: State, batches: list[Batch]) -> dict[str, np.ndarray]:
        """Each metric of each token that is trained, `(tokens,)`; those of the whole step have length 1."""
        if self.old_params is None:
            self.old_params = state.params
        parts = [self._tokens(state.params, batch) for batch in batches]
        norm = self.norm(state.params, self.old_params, self.reference, batches)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} | {
            "grad_norm": np.float64(norm).reshape(1),
            "lr": np.float64(self.schedule(state.step)).reshape(1),
        }

    def _tokens(self, params: Any, batch: Batch) -> dict[str, np.ndarray]:
        new, entropy = self.logprobs(params, batch)
        old, reference = (self.logprobs(p, batch)[0] for p in (self.old_params, self.reference))
        found = (
            multihost_utils.process_allgather(array, tiled=True)
            for array in (new, entropy, old, reference, batch.advantages)
        )
        new, entropy, old, reference, advantages = (np.asarray(x, np.float64) for x in found)
        grpo, log_ratio, difference = self.config.grpo, new - old, reference - new
        ratio, advantage = np.exp(log_ratio), np.broadcast_to(advantages[..., None], new.shape)
        clipped = np.clip(ratio, 1 - grpo.clip_low, 1 + grpo.clip_high) * advantage
        kl = np.exp(difference) - 1 - difference
        tokens = {
            "loss": -np.minimum(ratio * advantage, clipped) + grpo.kl_beta * kl,
            "entropy": entropy,
            "clip_fraction": clipped < ratio * advantage,
            "policy_kl": np.exp(-log_ratio) - 1 + log_ratio,
            "kl": kl,
            "ratio": ratio,
        }
        return {name: values.reshape(-1) for name, values in tokens.items()}

    def _logprobs(self, params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        prompts, count, levels = batch.tokens.shape
        said = jnp.pad(batch.tokens, ((0, 0), (0, 0), (0, 1)), constant_values=EOS)
        said = said.reshape(prompts * count, levels + 1)
        tokens = jnp.concatenate([jnp.repeat(batch.prompts, count, axis=0), said], axis=1)
        valid = jnp.concatenate([jnp.repeat(batch.valid, count, axis=0), said >= 0], axis=1)
        logits = completion_logits(self.model, params, tokens, valid, batch.prompts.shape[1])
        shape = (prompts, count, levels + 1)
        logprobs, entropy = token_logprobs(logits, said)
        return logprobs.reshape(shape), entropy.reshape(shape)

    def _loss(self, params: Any, old_params: Any, reference: Any, batches: list[Batch]) -> jax.Array:
        """The mean over the tokens of all micro-batches at once."""
        batch = Batch(*(jnp.concatenate(arrays) for arrays in zip(*batches, strict=True)))
        new, old, ref = (self._logprobs(p, batch)[0] for p in (params, old_params, reference))
        grpo, ratio, advantage = self.config.grpo, jnp.exp(new - old), batch.advantages[..., None]
        clipped = jnp.clip(ratio, 1 - grpo.clip_low, 1 + grpo.clip_high)
        kl = jnp.exp(ref - new) - 1 - (ref - new)
        return jnp.mean(-jnp.minimum(ratio * advantage, clipped * advantage) + grpo.kl_beta * kl)


class OldStyle(Callback):
    """`computed`: `{"<step> train" or "<step> <eval scope>": metrics}`; evaluations on the root alone."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset = load_dataset(config.data, config.seed)
        self.update = OldUpdate(config)
        self.updates: list[dict[str, np.ndarray]] = []
        self.computed: dict[str, dict[str, Expected]] = {}

    def on_update(self, state: State, batches: list[Batch]) -> None:
        self.updates.append(self.update(state, batches))

    def on_step(self, step: Step) -> None:
        self.computed[f"{step.step} train"] = self._step_metrics(step.step, step.rollout)
        self.updates.clear()
        self.update.old_params = None

    def on_evaluation(self, evaluated: Evaluated) -> None:
        """From the predictions alone."""
        scope, items = evaluated.scope, evaluated.evaluation.items
        split = self.dataset.test if scope == "eval_full" else self.dataset.valid
        targets = split.targets[: len(items)]
        metrics = by_hand(scope, items, targets, self.config.data.items)
        k = self.config.grpo.group_size
        rule, ndcg = old_rewards(items[:, :k], targets, k)
        for name, values in (("rule", rule), ("ndcg", ndcg)):
            metrics[f"{scope}/reward/{name}/mean"] = exact(values.mean())
        metrics |= statistics(f"{scope}/reward/total", rule + ndcg)
        if scope == "eval":
            metrics["eval_small/reward_mean"] = exact((rule + ndcg).mean())
        self.computed[f"{evaluated.step} {scope}"] = metrics

    def _step_metrics(self, step: int, rollout: Rollout) -> dict[str, Expected]:
        """One step under the old names, and the canonical names that have no old one."""
        grpo, train_rows = self.config.grpo, self.dataset.train
        count, k = grpo.prompts_per_step, grpo.group_size
        items, tokens = gather(rollout.items), gather(rollout.tokens)
        indices = batch_indices((step - 1) * count, count, len(train_rows), grpo.seed)
        rule, ndcg = old_rewards(items, train_rows.targets[indices], k)
        total = rule + ndcg
        advantages = (total - total.mean(1, keepdims=True)) / (total.std(1, keepdims=True) + 1e-6)
        said = np.append(tokens.reshape(-1), [EOS] * (count * k))
        prompt = gather(rollout.prompt_valid).sum(axis=1)
        result = {
            "train/reward_mean": exact(total.mean()),
            "reward": exact(total.mean()),
            "reward_std": exact(np.mean([row.std() for row in total])),
            **statistics("train/reward/total", total),
            **statistics("train/reward/rule", rule),
            **statistics("train/reward/ndcg", ndcg),
            "train/reward_rule_mean": exact(rule.mean()),
            "rewards/rule_reward": exact(rule.mean()),
            "train/reward_ndcg_mean": exact(ndcg.mean()),
            "rewards/ndcg_rule_reward": exact(ndcg.mean()),
            "train/reward/zero_variance_groups": exact(np.mean([len(set(row)) == 1 for row in total])),
            "train/pass@1": exact(rule[:, 0].mean()),
            "train/pass@K": exact(rule.max(axis=1).mean()),
            "categorical_diversity": exact(np.mean([len(set(row)) / k for row in items.tolist()])),
            "token_diversity": (len(set(said.tolist())) / len(said), 1e-7),  # a quotient in float32
            "train/prompt_batch_size": exact(count),
            "train/num_generations": exact(k),
            "train/completions_per_step": exact(items.size),
            "train/grad_accum_steps": exact(grpo.grad_accumulation),
            "train/batch/local": exact(rollout.items.size),
            "train/valid_tokens": exact(len(said)),
            "train/completion_length": exact(len(said) / items.size),
            **statistics(
                "train/completion_length", np.full(items.size, tokens.shape[-1] + 1), "mean min max"
            ),
            **statistics("train/seq_len/prompt", prompt, "mean max"),
            **statistics_on_device("train/advantage", advantages),
        }
        terms = {name: np.concatenate([update[name] for update in self.updates]) for name in self.updates[0]}
        result |= {f"train/{name}": mean_on_device(terms[name]) for name in UPDATE}
        result |= statistics_on_device("train/ratio", terms["ratio"])
        result["train/lr"] = exact(np.float32(terms["lr"][-1]))
        return result


def train_and_compute(config: Config) -> tuple[Outcome, dict[str, dict[str, Expected]]]:
    """Train, and compute beside it; what is of a step is equal on every process."""
    old = OldStyle(config)
    return train(config, [old]), old.computed


def main(config_file: str, output: str, *overrides: str) -> None:
    import sightline.jax

    sightline.jax.initialize()
    config = load(Config, config_file, [f"output.dir={output}", "output.name=run", *overrides])
    _, computed = train_and_compute(config)
    if jax.process_index() == 0:
        (Path(output) / "old_style.json").write_text(json.dumps(computed))


if __name__ == "__main__":
    main(*sys.argv[1:])
