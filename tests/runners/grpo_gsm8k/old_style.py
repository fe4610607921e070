"""The runner's metrics computed the way that earlier runners did: gather whole arrays, then NumPy.

Run as a module on every process of a job, it trains with hooks and leaves what it computed beside the
journal: `python -m tests.runners.grpo_gsm8k.old_style CONFIG.yaml OUTPUT_DIR [KEY=VALUE ...]`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from runners.common.config import load
from runners.grpo_gsm8k.config import Config
from runners.grpo_gsm8k.evaluate import EvalResult
from runners.grpo_gsm8k.rollout import Rollout
from runners.grpo_gsm8k.train import Hooks, Outcome, train


def gather(array: np.ndarray) -> np.ndarray:
    """All processes' rows of one array; a shorter share is padded for the gather and cut again."""
    from jax.experimental import multihost_utils

    counts = np.asarray(multihost_utils.process_allgather(np.array([len(array)]))).reshape(-1)
    padded = np.zeros((counts.max(), *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    shares = np.asarray(multihost_utils.process_allgather(padded)).reshape(-1, *padded.shape)
    return np.concatenate([share[:count] for share, count in zip(shares, counts, strict=True)])


def statistics(prefix: str, values: np.ndarray, names: str = "mean std min max") -> dict[str, float]:
    return {f"{prefix}/{name}": float(getattr(np, name)(values)) for name in names.split()}


def step_metrics(rollout: Rollout, updates: list[dict[str, float]]) -> dict[str, float]:
    """One step under the old names, and the canonical names that have no old one."""
    rewards = gather(rollout.rewards)
    mask = gather(rollout.mask)
    advantages = np.broadcast_to(gather(rollout.advantages)[:, None], mask.shape)[mask]
    prompt, completion = gather(rollout.prompt_valid).sum(axis=1), mask.sum(axis=1)
    group = len(rollout.rewards) // len(rollout.zero_variance)
    groups = rewards.reshape(-1, group)
    result = {
        **statistics("train-reward/total", rewards),
        **statistics("train-reward/advantage", advantages),
        **statistics("train-seq_len/prompt", prompt, "mean max"),
        **statistics("train-seq_len/completion", completion, "mean max"),
        **statistics("train-seq_len/total", prompt + completion, "mean max"),
        "train-other/batch_global": len(rewards),
        "train-other/batch_local": len(rollout.rewards),
        "train-other/total_valid_token_count": int(mask.sum()),
        "train/completion_length/min": completion.min(),
        "train/reward/zero_variance_groups": (groups.max(axis=1) == groups.min(axis=1)).mean(),
    }
    for name, values in rollout.reward_parts.items():
        result[f"train-reward/func/{name}/mean"] = gather(values).mean()
    for name in ("loss", "entropy"):
        result[f"train-other/{name}"] = np.mean([update[name] for update in updates])
    for name in ("kl", "policy_kl", "clip_fraction", "grad_norm"):
        result[f"train/{name}"] = np.mean([update[name] for update in updates])
    result["train/lr"] = updates[-1]["lr"]
    return {name: float(value) for name, value in result.items()}


def eval_metrics(scope: str, result: EvalResult) -> dict[str, float]:
    metrics = {f"{scope}/accuracy/mean": float(gather(result.correct).mean())}
    metrics |= statistics(f"{scope}/reward/total", gather(result.total))
    for name, values in result.parts.items():
        metrics[f"{scope}/reward/{name}/mean"] = float(gather(values).mean())
    return metrics


def train_and_compute(config: Config) -> tuple[Outcome, dict[str, dict[str, float]]]:
    """Train; and beside it `{"<step> train" or "<step> <eval scope>": metrics}`, equal on every process."""
    computed: dict[str, dict[str, float]] = {}

    def on_step(step: int, rollout: Rollout, updates: list[dict[str, float]]) -> None:
        computed[f"{step} train"] = step_metrics(rollout, updates)

    def on_eval(step: int, scope: str, result: EvalResult) -> None:
        computed[f"{step} {scope}"] = eval_metrics(scope, result)

    return train(config, Hooks(on_step, on_eval)), computed


def main(config_file: str, output: str, *overrides: str) -> None:
    import jax

    import sightline.jax

    sightline.jax.initialize()
    config = load(Config, config_file, [f"output.dir={output}", "output.name=run", *overrides])
    _, computed = train_and_compute(config)
    if jax.process_index() == 0:
        (Path(output) / "old_style.json").write_text(json.dumps(computed))


if __name__ == "__main__":
    main(*sys.argv[1:])
