"""What the runner records, and under which names: the only file that knows them, but for what is shared.

The names that earlier runners logged are sightline's alias table ``minionerec_rl``.

Shared are a GRPO update's names (`common/grpo_metrics`) and those of a ranking (`recommendation/metrics`). A
process records its own prompts as NumPy arrays and sightline merges them over the processes, so nothing here
gathers, and nothing waits for a device. An evaluation is recorded by the root, which alone has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

import sightline as sl
from runners.minionerec_rl.rollout import Rollout
from runners.recommendation.catalogue import Dataset
from runners.recommendation.evaluation import Evaluation
from runners.recommendation.metrics import record_ranking, titles_of
from runners.recommendation.scoring import with_end


def record_rollout(rollout: Rollout, *, grad_accumulation: int) -> None:
    """This process's candidates: rewards, hits, lengths, counts. Call inside scope `train`."""
    prompts, group = rollout.rewards.shape
    sl.summary("reward/total", rollout.rewards)
    for name, values in rollout.reward_parts.items():
        sl.summary(f"reward/{name}", values)
    sl.ratio("reward/group/std", rollout.rewards.std(axis=1).sum(), prompts)
    sl.ratio("reward/zero_variance_groups", int(rollout.zero_variance.sum()), prompts)

    hits = rollout.reward_parts["rule"] > 0
    sl.ratio("pass@1", int(hits[:, 0].sum()), prompts)
    sl.ratio("pass@k", int(hits.any(axis=1).sum()), prompts)
    distinct = sum(len(set(row)) for row in rollout.items.tolist())
    sl.ratio("candidate_diversity", distinct, rollout.items.size)

    completion = rollout.mask.sum(axis=-1)
    sl.summary("seq_len/prompt", rollout.prompt_valid.sum(axis=1), emit=("mean", "max"))
    sl.summary("completion_length", completion, emit=("mean", "min", "max"))

    tokens = int(completion.sum())
    sl.total("valid_tokens", tokens)
    sl.rate("valid_tokens", tokens)
    sl.rate("valid_tokens_update", tokens, over="update")
    sl.rate("candidates", rollout.items.size, over="rollout")
    sl.total("batch/global", rollout.items.size)
    sl.scalar("batch/local", rollout.items.size)
    sl.total("batch/prompts", prompts)
    sl.last("batch/group", group)
    sl.last("batch/accumulated", grad_accumulation)


def record_token_diversity(tokens: Sequence[jax.Array], vocab_size: int) -> None:
    """Different tokens of all candidates / tokens, over the whole step. Call inside jit; ingest in `train`.

    tokens: the micro-batches' (B, K, L). How many are different cannot be merged from what each process
    counts, so it is counted where all tokens are: in a compiled program over the global arrays.
    """
    said = jnp.concatenate([with_end(each).reshape(-1) for each in tokens])
    different = jnp.sum(jnp.zeros(vocab_size, jnp.int32).at[said].set(1))
    sl.ratio("token_diversity", different, said.size)


def record_candidates(dataset: Dataset, rows: np.ndarray, items: np.ndarray, rewards: np.ndarray) -> None:
    """A table for people: this process's prompts, with each candidate's title and reward.

    rows: (P,), of `dataset.train`. items: (P, K), of the catalogue. rewards: (P, K).
    """
    train, titles = dataset.train, dataset.catalogue.titles
    prompts = [titles_of(dataset, train.histories[i]) for i in rows]
    sl.sample(
        "candidates",
        prompt=[each for each in prompts for _ in range(items.shape[1])],
        completion=[titles[i] for i in items.reshape(-1)],
        answer=[titles[i] for i in np.repeat(train.targets[rows], items.shape[1])],
        reward=rewards.reshape(-1),
    )


def record_evaluation(
    evaluation: Evaluation, rewards: np.ndarray, parts: Mapping[str, np.ndarray], *, split: str
) -> None:
    """Call on the root, inside scope `eval` or `eval_full`.

    rewards and parts: (N, K), what the first K of each user's ranking are worth.
    """
    record_ranking(evaluation)
    sl.summary("reward/total", rewards)
    for name, values in parts.items():
        sl.summary(f"reward/{name}", values, emit=("mean",))
    sl.text(split=split)
