"""What the runner records, and under which names: the only file that knows them, but for the update's.

The names that earlier runners logged are sightline's alias table ``grpo_gsm8k``.

A process records its own rows as NumPy arrays and sightline merges them over the processes, so nothing here
gathers, and nothing waits for a device. The update is recorded as `common/grpo_metrics` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import sightline as sl
from runners.grpo_gsm8k.rollout import Rollout


def record_rollout(rollout: Rollout) -> None:
    """This process's completions: rewards, lengths, token counts. Call inside scope `train`."""
    rows = len(rollout.rewards)
    sl.summary("reward/total", rollout.rewards)
    for name, values in rollout.reward_parts.items():
        sl.summary(f"reward/{name}", values, emit=("mean",))
    sl.ratio("reward/zero_variance_groups", int(rollout.zero_variance.sum()), len(rollout.zero_variance))

    prompt = rollout.prompt_valid.sum(axis=1)
    completion = rollout.mask.sum(axis=1)
    sl.summary("seq_len/prompt", prompt, emit=("mean", "max"))
    sl.summary("seq_len/total", prompt + completion, emit=("mean", "max"))
    sl.summary("completion_length", completion, emit=("mean", "min", "max"))

    tokens = int(completion.sum())
    sl.total("valid_tokens", tokens)
    sl.rate("valid_tokens", tokens)
    sl.rate("valid_tokens_update", tokens, over="update")
    sl.total("batch/global", rows)
    sl.scalar("batch/local", rows)


def record_warmup(*, loss: jax.Array, grad_norm: jax.Array, step: int, lr: Any) -> None:
    """One supervised step: its outputs, while the devices still compute them. Call inside scope `warmup`."""
    sl.scalar(loss=loss, grad_norm=grad_norm)
    sl.last(step=step, lr=lr)


def record_eval(
    correct: np.ndarray, parts: Mapping[str, np.ndarray], total: np.ndarray, *, split: str
) -> None:
    """This process's share of an evaluation, a sample a question. Call inside scope `eval` or `eval_full`."""
    sl.text(split=split)
    sl.total(questions=len(correct))
    sl.last(samples_per_question=1)
    sl.summary("accuracy", correct, emit=("mean",))
    sl.summary("reward/total", total)
    for name, values in parts.items():
        sl.summary(f"reward/{name}", values, emit=("mean",))
