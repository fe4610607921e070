"""An evaluation is every user's ranking, however the users fall into batches."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from runners.common.mesh import local_rows, make_mesh, put_replicated, put_rows
from runners.common.model import Decoder, init_params
from runners.recommendation import synthetic, tasks
from runners.recommendation.catalogue import Dataset
from runners.recommendation.decoding import make_beam_search
from runners.recommendation.evaluation import Evaluation, Evaluator
from runners.recommendation.trie import make_trie

PROMPT = 24


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic.generate(items=80, codes=8, train_users=2, valid_users=7, test_users=3, seed=0)


@pytest.fixture(scope="module")
def params_and_evaluator(dataset: Dataset) -> tuple[Any, Evaluator, Decoder]:
    tokenizer = tasks.make_tokenizer(dataset.catalogue, 4096)
    model = Decoder(tokenizer.vocab_size, width=8, layers=1, heads=1)
    params = put_replicated(make_mesh(), jax.device_get(jax.jit(init_params, static_argnums=0)(model, 0)))
    evaluator = Evaluator(
        model,
        make_trie(dataset.catalogue, tokenizer),
        dataset.catalogue,
        tokenizer,
        {"valid": dataset.valid, "test": dataset.test},
        beams=20,
        batch_size=4,
        prompt_length=PROMPT,
    )
    return params, evaluator, model


def test_batches_that_are_not_full_leave_every_user_ranked_once_and_in_order(
    dataset: Dataset, params_and_evaluator: Any
) -> None:
    params, evaluator, model = params_and_evaluator
    tokenizer = tasks.make_tokenizer(dataset.catalogue, 4096)
    data = tasks.encode(tasks.next_item(dataset.catalogue, dataset.valid), tokenizer, PROMPT, 4)
    trie, mesh = make_trie(dataset.catalogue, tokenizer), make_mesh()
    search = make_beam_search(mesh, model, trie, beams=20)
    at_once = local_rows(search(params, *put_rows(mesh, (data.prompts, data.prompt_valid))).items)
    found = evaluator(params, "valid")
    np.testing.assert_array_equal(found.items, at_once)
    for row, target, rank in zip(found.items.tolist(), dataset.valid.targets, found.ranks, strict=True):
        assert rank == (row.index(target) if target in row else 20)
    assert found.invalid == 0


def test_a_count_takes_the_first_users_and_splits_share_one_program(params_and_evaluator: Any) -> None:
    params, evaluator, _ = params_and_evaluator
    whole = evaluator(params, "valid")
    np.testing.assert_array_equal(evaluator(params, "valid", 5).items, whole.items[:5])
    assert len(evaluator(params, "test").ranks) == 3
    assert evaluator.search._cache_size() == 1


def test_predictions_that_are_no_item_would_be_counted() -> None:
    assert Evaluation(np.array([[0, -1], [-1, -1]]), np.array([0, 2])).invalid == 3
