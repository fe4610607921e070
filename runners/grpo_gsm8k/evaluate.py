"""Greedy evaluation: every process answers its share of the problems, and sightline merges the shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

import sightline as sl
from runners.common.mesh import local_rows, my_slice, put_replicated, put_rows
from runners.common.sampler import Sampler
from runners.grpo_gsm8k.data import Encoded
from runners.grpo_gsm8k.metrics import record_eval
from runners.grpo_gsm8k.rewards import score
from runners.grpo_gsm8k.tokenizer import Tokenizer


@dataclass(frozen=True)
class EvalResult:
    """This process's share. n rows."""

    problems: np.ndarray  # (n,) int64: which problems of the test set
    correct: np.ndarray  # (n,) float64, 0 or 1
    total: np.ndarray  # (n,) float64: the weighted reward
    parts: dict[str, np.ndarray]  # each (n,) float64


def evaluate(
    mesh: Mesh,
    greedy: Sampler,
    params: Any,
    data: Encoded,
    tokenizer: Tokenizer,
    weights: Mapping[str, float],
    *,
    count: int,
    batch_size: int,
    split: str,
    scope: str,
) -> EvalResult:
    """Answer the first `count` problems and record accuracy and rewards under `scope`; commits nothing."""
    key = put_replicated(mesh, np.zeros(2, np.uint32))  # greedy decoding draws nothing
    numbers: list[np.ndarray] = []
    completions: list[str] = []
    with sl.scope(scope), sl.record_timing("step"):
        with sl.record_timing("rollout"):
            for start in range(0, count, batch_size):
                # The last batch is filled up with the first problem, so that one program serves all batches,
                # and dealt out in turn, so that every process has its share of the others.
                batch = np.arange(start, start + batch_size).reshape(-1, jax.process_count()).T.ravel()
                mine = batch[my_slice(batch_size)]
                rows = np.where(mine < count, mine, 0)
                with sl.record_timing("rollout_generate"):
                    prompts, valid = put_rows(mesh, (data.prompts[rows], data.prompt_valid[rows]))
                    samples = greedy(params, prompts, valid, key)
                    tokens = local_rows(samples.tokens)[mine < count]
                with sl.record_timing("rollout_flush"):
                    completions += [tokenizer.decode(row.tolist()) for row in tokens]
                numbers.append(mine[mine < count])
        problems = np.concatenate(numbers)
        with sl.record_timing("reward"):
            total, parts = score(completions, [data.finals[i] for i in problems], weights)
        result = EvalResult(problems, parts["correct"], total, parts)
        record_eval(result.correct, parts, total, split=split)
    return result


def gather_correct(result: EvalResult, count: int) -> np.ndarray:
    """(count,) int8 in the order of the test set, on every process: 1 where the answer was right.

    The one gather of results in this runner. It is no metric: the paired comparison and `eval.json` need
    every single answer. Called before and after GRPO, never within a step.
    """
    mine = np.zeros(count, np.int8)
    mine[result.problems] = result.correct.astype(np.int8)
    if jax.process_count() == 1:
        return mine
    everyone = np.asarray(multihost_utils.process_allgather(mine))
    return np.asarray(everyone.max(axis=0))
