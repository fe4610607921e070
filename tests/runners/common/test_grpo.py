"""Advantages, the clipped loss and gradient accumulation, against plain NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from runners.common.grpo import (
    Apply,
    Gradients,
    clipped_loss,
    count_tokens,
    group_advantages,
    make_update,
    zero_variance_groups,
)
from runners.common.mesh import make_mesh
from runners.common.model import Decoder, completion_logits, init_params, token_logprobs
from runners.common.optimising import State, add
from runners.grpo_gsm8k.rollout import Batch
from sightline import StatsTracker

CLIP = {"clip_low": 0.2, "clip_high": 0.3}
PROMPT, COMPLETION, ROWS = 5, 4, 6


def a_batch(seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, COMPLETION + 1, ROWS)
    mask = np.arange(COMPLETION) < lengths[:, None]
    prompt_valid = np.arange(PROMPT) >= rng.integers(0, PROMPT - 1, ROWS)[:, None]
    return Batch(
        tokens=rng.integers(0, 11, (ROWS, PROMPT + COMPLETION)).astype(np.int32),
        valid=np.concatenate([prompt_valid, mask], axis=1),
        mask=mask,
        advantages=rng.normal(size=ROWS).astype(np.float32),
        old_logprobs=rng.normal(-1.5, 0.5, (ROWS, COMPLETION)).astype(np.float32),
        ref_logprobs=rng.normal(-1.5, 0.5, (ROWS, COMPLETION)).astype(np.float32),
    )


def update_of(
    model: Decoder, optimizer: Any, lr: float, *, temperature: float = 1.0, kl_beta: float = 0.0
) -> tuple[Gradients, Apply]:
    def logprobs(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        logits = completion_logits(model, params, batch.tokens, batch.valid, PROMPT)
        return token_logprobs(logits / temperature, batch.tokens[:, PROMPT:])

    return make_update(make_mesh(), logprobs, optimizer, optax.constant_schedule(lr), **CLIP, kl_beta=kl_beta)


def exported(*stats: Any) -> dict[str, Any]:
    """What compiled functions have recorded, as names and numbers."""
    tracker = StatsTracker()
    for each in stats:
        tracker.ingest(each)
    return tracker.export(reduce="local")


def test_advantages_are_the_rewards_standardised_within_their_group() -> None:
    rewards = np.array([1.0, 0.0, 0.0, 1.0, 0.2, 0.2, 0.2, 0.2])
    expected = [1.0, -1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(group_advantages(rewards, 4), expected, atol=1e-5)
    np.testing.assert_array_equal(zero_variance_groups(rewards, 4), [False, True])


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_the_loss_is_the_formula_term_by_term(beta: float) -> None:
    batch = a_batch()
    logprobs = np.random.default_rng(1).normal(-1.5, 0.5, (ROWS, COMPLETION)).astype(np.float32)
    loss = clipped = policy_kl = kl = 0.0
    for i in range(ROWS):
        for t in range(COMPLETION):
            if batch.mask[i, t]:
                ratio = np.exp(float(logprobs[i, t]) - batch.old_logprobs[i, t])
                advantage = float(batch.advantages[i])
                bounded = min(max(ratio, 0.8), 1.3)
                loss -= min(ratio * advantage, bounded * advantage)
                clipped += bounded * advantage < ratio * advantage
                policy_kl += 1 / ratio - 1 + np.log(ratio)
                difference = float(batch.ref_logprobs[i, t]) - logprobs[i, t]
                kl += np.exp(difference) - 1 - difference
    got, terms = clipped_loss(jnp.asarray(logprobs), batch, **CLIP, kl_beta=beta)
    sums = {name: np.sum(values, where=batch.mask) for name, values in terms.items()}
    np.testing.assert_allclose(got, loss + beta * kl, rtol=1e-5)
    np.testing.assert_allclose(sums["loss"], got, rtol=1e-5)
    np.testing.assert_allclose(sums["clip_fraction"], clipped)
    np.testing.assert_allclose(sums["policy_kl"], policy_kl, rtol=1e-4)
    assert ("kl" in sums) == (beta > 0)


def test_accumulated_micro_batches_give_the_gradient_and_metrics_of_the_whole_batch() -> None:
    model = Decoder(vocab_size=11, width=8, layers=1, heads=2)
    params = init_params(model, 0)
    optimizer = optax.sgd(0.1)
    gradients, apply = update_of(model, optimizer, 0.1, temperature=0.7, kl_beta=0.1)
    batch = a_batch()
    state = State(params, optimizer.init(params), np.int32(0))
    tokens = count_tokens([batch.mask])
    assert tokens == batch.mask.sum()
    total, of_tokens = gradients(params, batch)
    whole, of_step = apply(state, total, tokens)
    halves = [Batch(*(x[i : i + 3] for x in batch)) for i in (0, 3)]
    (one, of_one), (other, of_other) = (gradients(params, half) for half in halves)
    parts, of_step_of_parts = apply(state, add(one, other), count_tokens([half.mask for half in halves]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole.params, parts.params)
    metrics, of_parts = exported(of_tokens, of_step), exported(of_one, of_other, of_step_of_parts)
    assert {"loss", "entropy", "clip_fraction", "kl", "ratio/std", "advantage/mean"} <= metrics.keys()
    assert metrics.keys() == of_parts.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(of_parts[name], value, rtol=1e-4, err_msg=name)


def test_what_is_recorded_of_each_token_is_what_numpy_makes_of_the_batch() -> None:
    model = Decoder(vocab_size=11, width=8, layers=1, heads=2)
    params, batch = init_params(model, 0), a_batch()
    gradients, _ = update_of(model, optax.sgd(0.1), 0.1)
    logits = completion_logits(model, params, batch.tokens, batch.valid, PROMPT)
    logprobs = np.asarray(token_logprobs(logits, batch.tokens[:, PROMPT:])[0])
    expected = {
        "ratio": np.exp(logprobs - batch.old_logprobs)[batch.mask],
        "advantage": np.broadcast_to(batch.advantages[:, None], batch.mask.shape)[batch.mask],
    }
    metrics = exported(gradients(params, batch)[1])
    for key, values in expected.items():
        assert metrics[f"{key}__count"] == batch.mask.sum()
        for name in ("mean", "std", "min", "max"):
            np.testing.assert_allclose(metrics[f"{key}/{name}"], getattr(np, name)(values), rtol=1e-5)


def test_a_step_raises_the_probability_of_what_was_better_than_its_group() -> None:
    model = Decoder(vocab_size=11, width=8, layers=1, heads=2)
    params = init_params(model, 0)
    optimizer = optax.sgd(0.5)
    gradients, apply = update_of(model, optimizer, 0.5)

    def logprobs(params: object) -> np.ndarray:
        logits = completion_logits(model, params, batch.tokens, batch.valid, PROMPT)
        return np.asarray(token_logprobs(logits, batch.tokens[:, PROMPT:])[0])

    batch = a_batch()
    batch = batch._replace(old_logprobs=logprobs(params), advantages=np.float32([1, -1, 1, -1, 1, -1]))
    state = State(params, optimizer.init(params), np.int32(0))
    total, of_tokens = gradients(params, batch)
    state, _ = apply(state, total, count_tokens([batch.mask]))
    metrics = exported(of_tokens)
    change = ((logprobs(state.params) - batch.old_logprobs) * batch.mask).sum(axis=1)
    assert np.sum(change * batch.advantages) > 0
    assert metrics["policy_kl"] == pytest.approx(0, abs=1e-6)
    assert metrics["clip_fraction"] == 0
