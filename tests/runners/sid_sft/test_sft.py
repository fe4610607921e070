"""The update, the mixture and the end of a run, against plain NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from runners.common.model import Decoder, init_params
from runners.common.optimising import State, add, make_adamw
from runners.recommendation import synthetic, tasks
from runners.recommendation.catalogue import Dataset
from runners.recommendation.evaluation import Evaluation
from runners.recommendation.ranking import ranks
from runners.recommendation.tasks import TASKS
from runners.sid_sft.mixture import mix
from runners.sid_sft.sft import Batch, make_update
from runners.sid_sft.summary import describe, judge, write_eval

PROMPT, ANSWER, ROWS, VOCAB = 5, 3, 6, 11


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic.generate(items=80, codes=8, train_users=20, valid_users=5, test_users=30, seed=0)


def batch() -> Batch:
    rng = np.random.default_rng(0)
    mask = np.arange(ANSWER) < rng.integers(1, ANSWER + 1, ROWS)[:, None]
    return Batch(
        tokens=rng.integers(3, VOCAB, (ROWS, PROMPT + ANSWER)).astype(np.int32),
        valid=np.concatenate([np.ones((ROWS, PROMPT), bool), mask], axis=1),
        mask=mask,
        tasks=rng.integers(0, len(TASKS), ROWS).astype(np.int32),
    )


def test_micro_batches_with_unequal_numbers_of_tokens_give_the_update_of_the_whole_batch() -> None:
    model = Decoder(VOCAB, width=8, layers=1, heads=1)
    optimizer = optax.sgd(1.0)
    gradients, apply = make_update(model, optimizer, lambda step: 1.0, prompt_length=PROMPT)
    params = jax.jit(init_params, static_argnums=0)(model, 0)
    state, whole = State(params, optimizer.init(params), np.int32(0)), batch()
    at_once, update = apply(state, *gradients(params, whole))
    parts = [Batch(*(x[start : start + 2] for x in whole)) for start in (0, 2, 4)]
    assert len({int(part.mask.sum()) for part in parts}) > 1
    total: Any = None
    for part in parts:
        found = gradients(params, part)
        total = found if total is None else add(total, found)
    in_parts, again = apply(state, *total)
    close = {"rtol": 2e-5, "atol": 1e-7}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), at_once.params, in_parts.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), update, again)
    assert int(update.tokens) == whole.mask.sum()
    assert int(sum(update.task_tokens.values())) == whole.mask.sum()
    np.testing.assert_allclose(sum(update.task_loss.values()), update.loss, rtol=1e-6)


def test_weight_decay_leaves_norms_and_biases_alone() -> None:
    optimizer = make_adamw(lambda step: 0.1, weight_decay=0.5, max_grad_norm=1.0)
    params = {"kernel": np.ones((2, 2), np.float32), "scale": np.ones(2, np.float32)}
    nothing = jax.tree.map(np.zeros_like, params)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05)
    np.testing.assert_allclose(updates["scale"], 0)


def test_the_mixture_has_each_task_in_its_share(dataset: Dataset) -> None:
    passes = dict(zip(TASKS, (1.0, 2.0, 0.5, 0.25, 0.0), strict=True))
    tokenizer = tasks.make_tokenizer(dataset.catalogue, 4096)
    mixed = mix(dataset, tokenizer, passes, prompt_length=40, answer_length=6, seed=0)
    rows = len(dataset.train)
    assert np.bincount(mixed.tasks, minlength=5).tolist() == [rows, 160, 40, round(rows / 4), 0]
    twice = mixed.prompts[mixed.tasks == TASKS.index("sid_to_title")]
    np.testing.assert_array_equal(twice[:80], twice[80:])
    assert len(np.unique(mixed.prompts[mixed.tasks == TASKS.index("title_to_sid")], axis=0)) == 40
    again = mix(dataset, tokenizer, passes, prompt_length=40, answer_length=6, seed=1)
    assert not np.array_equal(again.prompts, mixed.prompts)


def test_the_summary_says_what_the_rankings_say(dataset: Dataset, tmp_path: Path) -> None:
    targets = dataset.test.targets
    items = np.stack([np.roll(np.arange(20), 1) for _ in targets])
    items[:15, 3] = targets[:15]  # half of the users are found, at rank 3, the others at most by chance
    items[15:] = np.where(items[15:] == targets[15:, None], -1, items[15:])
    result = judge(dataset, Evaluation(items, ranks(items, targets)))
    text = describe(result)
    assert result.hit_rate.after == 0.5
    assert result.invalid == (items < 0).sum() > 0
    assert "Next item of 30 held-out users, among 80" in text
    assert " 50.0%" in text
    assert f"predictions that are no item: {result.invalid}" in text
    write_eval(tmp_path / "eval.json", result, 7)
    assert '"step": 7' in (tmp_path / "eval.json").read_text()
