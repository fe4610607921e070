"""The runner's metrics computed the way that earlier runners did: gather whole arrays, then NumPy.

Run as a module on every process of a job, it trains with a callback and leaves what it computed beside the
journal: `python -m tests.runners.grpo_gsm8k.old_style CONFIG.yaml OUTPUT_DIR [KEY=VALUE ...]`.
"""

from __future__ import annotations

import json
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
from runners.grpo_gsm8k.callbacks import Callback, Evaluated, Step
from runners.grpo_gsm8k.config import Config
from runners.grpo_gsm8k.evaluate import EvalResult
from runners.grpo_gsm8k.rollout import Batch, Rollout
from runners.grpo_gsm8k.train import Outcome, make_schedule, train
from tests.runners.jobs import Expected, exact

OLD_REWARDS = {"correct": "reward_correct", "format": "reward_format", "tag_count": "tag_count_reward"}


def gather(array: np.ndarray) -> np.ndarray:
    """All processes' rows of one array; a shorter share is padded for the gather and cut again.

    As bytes: JAX would make float32 of float64.
    """
    counts = np.asarray(multihost_utils.process_allgather(np.array([len(array)]))).reshape(-1)
    padded = np.zeros((counts.max(), *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    everyone = np.asarray(multihost_utils.process_allgather(padded[..., None].view(np.uint8)))
    shares = everyone.view(array.dtype).reshape(-1, *padded.shape)
    return np.concatenate([share[:count] for share, count in zip(shares, counts, strict=True)])


def statistics(prefix: str, values: np.ndarray, names: str = "mean std min max") -> dict[str, Expected]:
    return {f"{prefix}/{name}": exact(getattr(np, name)(values)) for name in names.split()}


def mean_on_device(values: np.ndarray) -> Expected:
    """Of what is reduced on devices, in float32: 1e-5·max(|mean|, std), and the rounding of one value."""
    return float(values.mean()), max(1e-5 * max(abs(values.mean()), values.std()), 1e-7)


def statistics_on_device(prefix: str, values: np.ndarray) -> dict[str, Expected]:
    mean, tolerance = mean_on_device(values)
    ends = {f"{prefix}/{name}": float(getattr(np, name)(values)) for name in ("min", "max")}
    return {
        **{key: (end, max(2e-6 * abs(end), 1e-7)) for key, end in ends.items()},
        f"{prefix}/mean": (mean, tolerance),
        f"{prefix}/std": (float(values.std()), tolerance),
    }


class OldUpdate:
    """What one optimiser step is made of, token by token, before it is made."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.schedule = make_schedule(config.grpo)
        self.logprobs = jax.jit(self._logprobs)
        self.norm = jax.jit(lambda params, batches: optax.tree.norm(jax.grad(self._loss)(params, batches)))

    def __call__(self, state: State, batches: list[Batch]) -> dict[str, np.ndarray]:
        """Each metric of each token that is trained, `(tokens,)`; those of the whole step have length 1."""
        parts = [self._tokens(state.params, batch) for batch in batches]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} | {
            "grad_norm": np.float64(self.norm(state.params, batches)).reshape(1),
            "lr": np.float64(self.schedule(state.step)).reshape(1),
        }

    def _tokens(self, params: Any, batch: Batch) -> dict[str, np.ndarray]:
        arrays = (*self.logprobs(params, batch), *batch[2:])
        # Global arrays, whole on every process.
        found = (multihost_utils.process_allgather(array, tiled=True) for array in arrays)
        logprobs, entropy, mask, advantages, old, reference = (np.asarray(array) for array in found)
        mask, grpo = mask.astype(bool), self.config.grpo
        log_ratio = (logprobs - old).astype(np.float64)
        difference = (reference - logprobs).astype(np.float64)
        ratio, advantage = np.exp(log_ratio), np.broadcast_to(advantages[:, None], mask.shape)
        clipped = np.clip(ratio, 1 - grpo.clip_low, 1 + grpo.clip_high) * advantage
        kl = np.exp(difference) - 1 - difference
        tokens = {
            "loss": -np.minimum(ratio * advantage, clipped) + grpo.kl_beta * kl,
            "entropy": entropy.astype(np.float64),
            "clip_fraction": clipped < ratio * advantage,
            "policy_kl": np.exp(-log_ratio) - 1 + log_ratio,
            "kl": kl,
            "ratio": ratio,
        }
        return {name: values[mask] for name, values in tokens.items()}

    def _logprobs(self, params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        sizes, length = self.config.model, self.config.data.prompt_tokens
        model = Decoder(len(params["embed"]["embedding"]), sizes.width, sizes.layers, sizes.heads)
        logits = completion_logits(model, params, batch.tokens, batch.valid, length)
        return token_logprobs(logits / self.config.grpo.temperature, batch.tokens[:, length:])

    def _loss(self, params: Any, batches: list[Batch]) -> jax.Array:
        """The mean over the tokens of all micro-batches at once."""
        batch = Batch(*(jnp.concatenate(arrays) for arrays in zip(*batches, strict=True)))
        grpo, (logprobs, _) = self.config.grpo, self._logprobs(params, batch)
        ratio, advantage = jnp.exp(logprobs - batch.old_logprobs), batch.advantages[:, None]
        clipped = jnp.clip(ratio, 1 - grpo.clip_low, 1 + grpo.clip_high)
        difference = batch.ref_logprobs - logprobs
        kl = jnp.exp(difference) - 1 - difference
        losses = -jnp.minimum(ratio * advantage, clipped * advantage) + grpo.kl_beta * kl
        return jnp.sum(losses * batch.mask) / jnp.sum(batch.mask)


def step_metrics(rollout: Rollout, updates: list[dict[str, np.ndarray]]) -> dict[str, Expected]:
    """One step under the old names, and the canonical names that have no old one."""
    rewards = gather(rollout.rewards)
    mask = gather(rollout.mask)
    advantages = np.broadcast_to(gather(rollout.advantages)[:, None], mask.shape)[mask]
    prompt, completion = gather(rollout.prompt_valid).sum(axis=1), mask.sum(axis=1)
    group = len(rollout.rewards) // len(rollout.zero_variance)
    groups = rewards.reshape(-1, group)
    result = {
        **statistics("train-reward/total", rewards),
        **statistics_on_device("train-reward/advantage", advantages.astype(np.float64)),
        **statistics("train-seq_len/prompt", prompt, "mean max"),
        **statistics("train-seq_len/completion", completion, "mean max"),
        **statistics("train-seq_len/total", prompt + completion, "mean max"),
        "train-other/batch_global": exact(len(rewards)),
        "train-other/batch_local": exact(len(rollout.rewards)),
        "train-other/total_valid_token_count": exact(mask.sum()),
        "train/completion_length/min": exact(completion.min()),
        "train/reward/zero_variance_groups": exact((groups.max(axis=1) == groups.min(axis=1)).mean()),
    }
    for name, values in rollout.reward_parts.items():
        result[f"train-reward/func/{OLD_REWARDS[name]}/mean"] = exact(gather(values).mean())
    tokens = {name: np.concatenate([update[name] for update in updates]) for name in updates[0]}
    for name in ("loss", "entropy"):
        result[f"train-other/{name}"] = mean_on_device(tokens[name])
    for name in ("kl", "policy_kl", "clip_fraction", "grad_norm"):
        result[f"train/{name}"] = mean_on_device(tokens[name])
    result |= statistics_on_device("train/ratio", tokens["ratio"])
    result["train/lr"] = exact(np.float32(tokens["lr"][-1]))
    return result


def eval_metrics(scope: str, result: EvalResult) -> dict[str, Expected]:
    accuracy, questions = exact(gather(result.correct).mean()), exact(len(gather(result.correct)))
    metrics = {f"{scope}/accuracy/mean": accuracy, f"{scope}/questions": questions}
    metrics[f"{scope}/samples_per_question"] = exact(1)
    metrics |= statistics(f"{scope}/reward/total", gather(result.total))
    means = {name: exact(gather(values).mean()) for name, values in result.parts.items()}
    if scope == "eval":
        return metrics | {f"eval/reward/func/{OLD_REWARDS[name]}/mean": mean for name, mean in means.items()}
    for prefix in ("eval_full", "eval/accuracy"):
        metrics[f"{prefix}/questions_global"] = questions
    metrics["eval/accuracy/samples_per_question"] = exact(1)
    metrics["eval_full/accuracy"] = metrics["eval_full/accuracy/pass_at_1"] = accuracy
    metrics["eval/accuracy/accuracy"] = metrics["eval/accuracy/pass_at_1"] = accuracy
    metrics["eval_full/enabled"] = metrics["eval/accuracy/full_sweep"] = exact(1)
    return metrics | {
        f"eval_full/{OLD_REWARDS[name]}/mean_per_completion": mean for name, mean in means.items()
    }


class OldStyle(Callback):
    """`computed`: `{"<step> train" or "<step> <eval scope>": metrics}`, equal on every process."""

    def __init__(self, config: Config) -> None:
        self.update = OldUpdate(config)
        self.updates: list[dict[str, np.ndarray]] = []
        self.computed: dict[str, dict[str, Expected]] = {}

    def on_update(self, state: State, batches: list[Batch]) -> None:
        self.updates.append(self.update(state, batches))

    def on_step(self, step: Step) -> None:
        self.computed[f"{step.step} train"] = step_metrics(step.rollout, self.updates)
        self.updates.clear()

    def on_evaluation(self, evaluated: Evaluated) -> None:
        metrics = eval_metrics(evaluated.scope, evaluated.result)
        self.computed[f"{evaluated.step} {evaluated.scope}"] = metrics


def train_and_compute(config: Config) -> tuple[Outcome, dict[str, dict[str, Expected]]]:
    """Train, and compute beside it."""
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
