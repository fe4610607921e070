"""Prompts, answers, and the arrays that they become."""

from __future__ import annotations

import numpy as np
import pytest

from runners.common.tokenizer import BOS, EOS
from runners.recommendation import synthetic, tasks
from runners.recommendation.catalogue import Dataset
from runners.recommendation.tasks import TASKS, Encoded, Example


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic.generate(items=160, codes=16, train_users=20, valid_users=5, test_users=5, seed=0)


def all_tasks(dataset: Dataset) -> list[Example]:
    catalogue, rows = dataset.catalogue, dataset.train
    return [
        *tasks.next_item(catalogue, rows),
        *tasks.sid_to_title(catalogue),
        *tasks.title_to_sid(catalogue),
        *tasks.history_to_title(catalogue, rows),
        *tasks.titles_to_item(catalogue, rows),
    ]


def encoded(dataset: Dataset, examples: list[Example], length: int, answer: int = 6) -> Encoded:
    tokenizer = tasks.make_tokenizer(dataset.catalogue, 4096)
    return tasks.encode(examples, tokenizer, length, answer)


def test_history_and_answer_are_in_the_languages_that_the_task_is_named_for(dataset: Dataset) -> None:
    catalogue, rows = dataset.catalogue, dataset.train
    history, target = rows.histories[2], int(rows.targets[2])
    sids, titles = [catalogue.sid(i) for i in history], [catalogue.titles[i] for i in history]
    for make, shown, answer in (
        (tasks.next_item, sids, catalogue.sid(target)),
        (tasks.history_to_title, sids, catalogue.titles[target]),
        (tasks.titles_to_item, titles, catalogue.sid(target)),
    ):
        example = list(make(catalogue, rows))[2]
        positions = [example.prompt.index(text) for text in shown]
        assert positions == sorted(positions)
        assert example.answer.strip() == answer
    for item in range(3):
        there, back = (list(make(catalogue))[item] for make in (tasks.sid_to_title, tasks.title_to_sid))
        assert catalogue.sid(item) in there.prompt
        assert there.answer.strip() == catalogue.titles[item]
        assert catalogue.titles[item] in back.prompt
        assert back.answer == catalogue.sid(item)


def test_no_prompt_gives_its_answer_away(dataset: Dataset) -> None:
    assert not any(example.answer.strip() in example.prompt for example in all_tasks(dataset))


def test_arrays_give_back_the_text_prompts_padded_on_the_left_answers_on_the_right(
    dataset: Dataset,
) -> None:
    examples = all_tasks(dataset)
    data = encoded(dataset, examples, 64)
    tokenizer = tasks.make_tokenizer(dataset.catalogue, 4096)
    assert set(data.tasks.tolist()) == set(range(len(TASKS)))
    for i, example in enumerate(examples):
        prompt, answer = data.prompts[i][data.prompt_valid[i]], data.answers[i][data.answer_valid[i]]
        assert (prompt[0], answer[-1]) == (BOS, EOS)
        assert data.prompt_valid[i, -1]
        assert data.answer_valid[i, 0]
        assert tokenizer.decode(prompt.tolist()) == example.prompt
        assert tokenizer.decode(answer.tolist()) == example.answer
        assert TASKS[data.tasks[i]] == example.task


def test_a_semantic_id_is_three_tokens_and_a_title_one_a_word(dataset: Dataset) -> None:
    tokenizer = tasks.make_tokenizer(dataset.catalogue, 4096)
    for i in range(len(dataset.catalogue)):
        ids = tokenizer.encode(dataset.catalogue.sid(i))
        assert len(ids) == 3
        assert min(ids) >= tokenizer.first_added
        assert len(tokenizer.encode(" " + dataset.catalogue.titles[i])) == 3


def test_a_history_that_is_too_long_loses_its_oldest_items_whole(dataset: Dataset) -> None:
    tokenizer = tasks.make_tokenizer(dataset.catalogue, 4096)
    sids = tuple(dataset.catalogue.sid(i) for i in range(9))
    example = Example("next_item", "history ", sids, " next item:", sids[0])
    whole = len(tokenizer.encode(example.prompt)) + 1
    for length in range(12, whole + 3):
        data = encoded(dataset, [example], length)
        text = tokenizer.decode(data.prompts[0][data.prompt_valid[0]].tolist())
        kept = min((length - (whole - 27)) // 3, 9)
        assert text == "history " + "".join(sids[9 - kept :]) + " next item:"


def test_the_vocabulary_follows_from_the_catalogue_alone(dataset: Dataset) -> None:
    other = synthetic.generate(items=160, codes=16, train_users=3, valid_users=1, test_users=1, seed=0)
    a, b = (tasks.make_tokenizer(d.catalogue, 4096) for d in (dataset, other))
    assert (a.words, a.added) == (b.words, b.added)
    assert list(a.added) == dataset.catalogue.sid_tokens()
    numbers = [int(token[3:-1]) for token in a.added if token.startswith("<a_")]
    assert numbers == sorted(numbers)


def test_an_answer_that_is_too_long_is_cut_before_its_end_token(dataset: Dataset) -> None:
    data = encoded(dataset, [*tasks.sid_to_title(dataset.catalogue)], 16, answer=2)
    assert data.answer_valid.all()
    assert EOS not in np.unique(data.answers)
