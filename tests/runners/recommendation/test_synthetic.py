"""The generated shop has structure that a model can learn and a popularity list cannot."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from runners.common.errors import DataError
from runners.recommendation import ranking, synthetic
from runners.recommendation.catalogue import Dataset, Interactions
from runners.recommendation.config import DataConfig

SIZES = {"items": 160, "codes": 16, "train_users": 800, "valid_users": 50, "test_users": 200}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return synthetic.generate(**SIZES, seed=0)


def same(a: Dataset, b: Dataset) -> bool:
    rows = [(x, y) for x, y in ((a.train, b.train), (a.valid, b.valid), (a.test, b.test))]
    return a.catalogue == b.catalogue and all(
        x.users == y.users and x.histories == y.histories and np.array_equal(x.targets, y.targets)
        for x, y in rows
    )


def test_the_same_seed_gives_the_same_shop_and_another_seed_another(dataset: Dataset) -> None:
    assert same(dataset, synthetic.generate(**SIZES, seed=0))
    assert not same(dataset, synthetic.generate(**SIZES, seed=1))


def test_a_users_choices_do_not_depend_on_how_many_users_there_are(dataset: Dataset) -> None:
    fewer = synthetic.generate(**SIZES | {"train_users": 3}, seed=0)
    n = len(fewer.train)
    assert fewer.train.histories == dataset.train.histories[:n]


def test_titles_and_semantic_ids_are_all_different_and_have_three_words_and_tokens(dataset: Dataset) -> None:
    catalogue = dataset.catalogue
    assert len(set(catalogue.titles)) == len(set(catalogue.sids)) == len(catalogue) == 160
    assert {len(title.split()) for title in catalogue.titles} == {3}
    assert all([token[1] for token in sid] == ["a", "b", "c"] for sid in catalogue.sids)


def test_no_user_of_one_split_is_in_another(dataset: Dataset) -> None:
    splits = [set(rows.users) for rows in (dataset.train, dataset.valid, dataset.test)]
    assert [len(users) for users in splits] == [800, 50, 200]
    assert not splits[0] & splits[1] | splits[0] & splits[2] | splits[1] & splits[2]


def test_training_rows_are_every_prefix_of_a_user_and_held_out_rows_the_last_choice(dataset: Dataset) -> None:
    rows = dataset.train
    for i in range(1, len(rows)):
        if rows.users[i] == rows.users[i - 1]:
            assert rows.histories[i] == (*rows.histories[i - 1], rows.targets[i - 1])
        else:
            assert len(rows.histories[i]) == 1
    assert min(map(len, dataset.test.histories)) >= synthetic.LENGTHS[0] - 1
    assert len(set(dataset.test.users)) == len(dataset.test)


def test_nobody_chooses_an_item_twice_where_there_are_others(dataset: Dataset) -> None:
    for history, target in zip(dataset.train.histories, dataset.train.targets, strict=True):
        assert len({*history, target}) == len(history) + 1


def test_items_of_a_category_are_nearer_to_each_other_and_share_first_tokens(dataset: Dataset) -> None:
    items = synthetic.make_items(SIZES["items"], seed=0)
    distances = np.square(items.embeddings[:, None] - items.embeddings[None]).sum(axis=-1)
    together = items.categories[:, None] == items.categories[None]
    apart = ~np.eye(160, dtype=bool)
    assert distances[together & apart].mean() < 0.7 * distances[~together].mean()
    first = np.array([sid[0] for sid in dataset.catalogue.sids])
    equal = first[:, None] == first[None]
    assert equal[together & apart].mean() > 5 * equal[~together].mean()


def test_the_next_item_follows_from_its_interests_last_item_and_not_from_popularity(dataset: Dataset) -> None:
    """A rule that knows the threads finds most; one that knows the last item fewer; popularity few."""
    train, test = dataset.train, dataset.test
    category = synthetic.make_items(SIZES["items"], seed=0).categories
    hits = {}
    for name, rule in (("popular", ranking.popular), ("followers", ranking.followers)):
        found = rule(train, 160, test, 10)
        hits[name] = ranking.hit_rate(ranking.ranks(found, test.targets), 10).mean()
    hits["threads"] = np.mean(
        [target in row for row, target in zip(by_threads(train, test, category), test.targets, strict=True)]
    )
    assert hits["popular"] < 0.6 * hits["followers"]
    assert hits["followers"] < hits["threads"] - 0.1
    assert hits["threads"] > 0.6


def by_threads(train: Interactions, test: Interactions, category: np.ndarray) -> list[list[int]]:
    """For each test user, items that followed the last item of each of their categories: ten, in turn."""
    follows: dict[int, Counter[int]] = {}
    for history, target in zip(train.histories, train.targets.tolist(), strict=True):
        thread = [item for item in history if category[item] == category[target]]
        if thread:
            follows.setdefault(thread[-1], Counter())[target] += 1
    found = []
    for history in test.histories:
        last = {category[item]: item for item in history}
        lists = [
            [i for i, _ in follows.get(item, Counter()).most_common() if i not in history]
            for item in reversed(list(last.values()))
        ]
        share = -(-10 // len(lists))
        found.append([item for items in lists for item in items[:share]][:10])
    return found


def test_what_cannot_be_generated_is_refused_with_the_numbers() -> None:
    with pytest.raises(DataError, match="5000 items, but there are titles for 4096 only"):
        synthetic.generate(**SIZES | {"items": 5000}, seed=0)
    with pytest.raises(DataError, match=r"items share the codes .* more codes per level are needed"):
        synthetic.generate(**SIZES | {"items": 160, "codes": 3}, seed=0)
    with pytest.raises(DataError, match="32 items are too few for 16 categories; expected at least 80"):
        synthetic.generate(**SIZES | {"items": 32}, seed=0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_other_seeds_give_a_shop_of_the_default_size_too(seed: int) -> None:
    default = DataConfig()
    made = synthetic.generate(
        items=default.items, codes=default.codes, train_users=1, valid_users=1, test_users=1, seed=seed
    )
    assert len(set(made.catalogue.sids)) == default.items
