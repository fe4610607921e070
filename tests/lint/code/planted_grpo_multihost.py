"""GRPO on several hosts: rollouts, rewards, gathers of everything for a handful of means."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import wandb as wb
from jax.experimental import multihost_utils
from jax.experimental.multihost_utils import process_allgather

from .rollout import sample_completions
from .update import grpo_update_step


def _stats(x):
    return {"mean": float(np.mean(x)), "std": float(np.std(x)), "max": float(np.max(x))}


def pad_right(x, width, value):
    return np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=value)


def run(cfg, state, sampler, reward_fns, prompts, tokenizer):
    is_root = jax.process_index() == 0
    if is_root:
        wb.init(project=cfg.project, name=cfg.name, config=vars(cfg))
    for step in range(cfg.steps):
        timing = {}
        t0 = time.perf_counter()
        tokens, mask = sample_completions(sampler, state.params, prompts[step])
        timing["rollout_s"] = time.perf_counter() - t0  # expect: SL104

        t1 = time.perf_counter()
        texts = tokenizer.batch_decode(tokens)
        rewards = np.stack([fn(texts) for fn in reward_fns])
        timing["reward_s"] = time.perf_counter() - t1  # expect: SL104

        width = int(multihost_utils.process_allgather(np.int32(tokens.shape[1])).max())
        tokens, mask = pad_right(tokens, width, 0), pad_right(mask, width, 0)

        total = rewards.sum(axis=0)
        total_global = np.asarray(process_allgather(total)).reshape(-1)  # expect: SL102
        reward_stats = _stats(total_global)
        per_func = process_allgather(rewards).mean(axis=(0, 2))  # expect: SL102

        grouped = total.reshape(-1, cfg.group)
        advantages = (grouped - grouped.mean(1, keepdims=True)) / (grouped.std(1, keepdims=True) + 1e-6)

        t2 = time.perf_counter()
        state, meta = grpo_update_step(state, jnp.asarray(tokens), jnp.asarray(mask), advantages.reshape(-1))
        jax.block_until_ready(meta["loss"])  # expect: SL103
        timing["update_s"] = time.perf_counter() - t2  # expect: SL104

        lengths = process_allgather(mask.sum(axis=1))  # expect: SL102
        valid = int(np.asarray(process_allgather(np.asarray([mask.sum()], dtype=np.int64))).sum())  # expect: SL102
        log = {
            "train/loss": np.asarray(meta["loss"]).item(),  # expect: SL103
            "train/kl": float(meta["kl"]),  # expect: SL103
            "train/reward/mean": reward_stats["mean"],
            "train/reward/std": reward_stats["std"],
            "train/completion_length/mean": lengths.mean(),
            "train/completion_length/max": lengths.max(),
            "train/valid_tokens": valid,
        }
        for fn, value in zip(reward_fns, per_func):
            log[f"train/reward/{fn.__name__}"] = value
        log.update({f"time/train/{name}": seconds for name, seconds in timing.items()})
        if is_root:
            wb.log(log, step=step)  # expect: SL101
            print(f"step={step} reward={reward_stats['mean']:.3f} t={sum(timing.values()):.1f}s")
    return state
