"""A seeded shop: items with categories, titles and embeddings, and users whose next choice can be learned.

Items. A category has nouns; a title is `<brand> <adjective> <noun>`. The embedding is a sum of vectors of the
category, the noun, the adjective and the brand, and a little noise: what an encoder of titles would give.
Quantised, items that are alike share the first tokens of their semantic ids.

Users. Everyone has two or three interests, each a category. An interest is a thread: its next item follows
from the *last item of that thread*, mostly one of three fixed successors among the item's neighbours, else
something popular in the category. From choice to choice a user stays with an interest, or goes over to
another of theirs and takes up its thread where it was left. So the next item depends on the last few ones
and not on the last alone, and what is popular over all says little. Nobody chooses an item twice while
their categories have others.

The users of the three splits are different people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runners.common.errors import DataError
from runners.recommendation.catalogue import LEVELS, Catalogue, Dataset, Interactions
from runners.recommendation.quantize import residual_kmeans, without_collisions

CATEGORIES = {
    "tools": "Hammer Wrench Pliers Saw",
    "fasteners": "Bolt Screw Washer Rivet",
    "electrical": "Cable Fuse Switch Relay",
    "plumbing": "Valve Faucet Hose Gasket",
    "paint": "Brush Roller Primer Varnish",
    "lighting": "Lamp Lantern Bulb Dimmer",
    "safety": "Gloves Goggles Helmet Respirator",
    "storage": "Bin Shelf Rack Crate",
    "measuring": "Ruler Caliper Level Scale",
    "abrasives": "Sandpaper File Grinder Polisher",
    "adhesives": "Glue Epoxy Tape Sealant",
    "garden": "Spade Rake Shears Trowel",
    "cleaning": "Mop Bucket Sponge Squeegee",
    "kitchen": "Pan Knife Ladle Kettle",
    "office": "Stapler Folder Pencil Notebook",
    "camping": "Tent Stove Rope Compass",
}
ADJECTIVES = ("Heavy", "Light", "Compact", "Precision", "Steel", "Brass", "Rubber", "Coated")
BRANDS = ("Arlo", "Brenn", "Corva", "Delta", "Ember", "Fjord", "Grano", "Hexel")

DIMENSION = 32
SUCCESSORS = (0.6, 0.25, 0.15)  # of the three items that may follow an item, how likely each is
NEIGHBOURS = 5  # among how many nearest items of its category they are
STAY = 0.5  # with an interest, from one choice to the next
FOLLOW = 0.85  # a successor, rather than something popular in the category
LENGTHS = (5, 9)  # choices of a user, from and to


@dataclass(frozen=True)
class Items:
    """N items before they are quantised."""

    categories: np.ndarray  # (N,) int64: which of CATEGORIES
    titles: tuple[str, ...]  # all different
    embeddings: np.ndarray  # (N, DIMENSION) float64


def generate(
    *, items: int, codes: int, train_users: int, valid_users: int, test_users: int, seed: int
) -> Dataset:
    """A catalogue of `items` items, `codes` codes a level, and its users; the same for the same arguments.

    A user of the training split gives a row for each of their choices but the first, a user of the others one
    row, for the last choice.

    Raises:
        DataError: more items than there are titles, or more than the codes can tell apart.
    """
    try:
        made = make_items(items, seed)
        quantized = residual_kmeans(made.embeddings, levels=LEVELS, codes=codes, seed=seed)
        unique = without_collisions(quantized, made.embeddings)
    except ValueError as e:
        raise DataError(f"generated catalogue: {e}") from e
    catalogue = Catalogue(
        ids=tuple(str(i) for i in range(items)),
        titles=made.titles,
        sids=tuple(
            tuple(f"<{letter}_{code}>" for letter, code in zip("abc", row, strict=True)) for row in unique
        ),
    )
    shop = _Shop(made, seed)
    return Dataset(
        catalogue,
        shop.rows("train", train_users, every_choice=True),
        shop.rows("valid", valid_users, every_choice=False),
        shop.rows("test", test_users, every_choice=False),
    )


def make_items(count: int, seed: int) -> Items:
    """`count` items, spread evenly over the categories.

    Raises:
        ValueError: there are not that many titles.
    """
    rng = np.random.default_rng([seed, 0])
    nouns = [names.split() for names in CATEGORIES.values()]
    per_category = [len(BRANDS) * len(ADJECTIVES) * len(names) for names in nouns]
    categories = np.arange(count) % len(nouns)
    if count > len(nouns) * min(per_category):
        raise ValueError(f"{count} items, but there are titles for {len(nouns) * min(per_category)} only")
    orders = [rng.permutation(n) for n in per_category]

    def vectors(n: int, length: float) -> np.ndarray:
        drawn: np.ndarray = rng.normal(size=(n, DIMENSION)) * length / np.sqrt(DIMENSION)
        return drawn

    of_category, of_noun = vectors(len(nouns), 1.0), vectors(sum(map(len, nouns)), 0.7)
    of_adjective, of_brand = vectors(len(ADJECTIVES), 0.5), vectors(len(BRANDS), 0.3)
    titles, embeddings = [], []
    for i, c in enumerate(categories):
        rest, noun = divmod(int(orders[c][i // len(nouns)]), len(nouns[c]))
        brand, adjective = divmod(rest, len(ADJECTIVES))
        titles.append(f"{BRANDS[brand]} {ADJECTIVES[adjective]} {nouns[c][noun]}")
        first_noun = sum(len(names) for names in nouns[:c])
        embeddings.append(
            of_category[c] + of_noun[first_noun + noun] + of_adjective[adjective] + of_brand[brand]
        )
    noise = vectors(count, 0.2)
    return Items(categories, tuple(titles), np.stack(embeddings) + noise)


class _Shop:
    """How users choose."""

    def __init__(self, items: Items, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng([seed, 1])
        used = sorted(set(items.categories.tolist()))
        self.members = [np.flatnonzero(items.categories == c) for c in used]
        if min(map(len, self.members)) <= len(SUCCESSORS) + 1:
            raise DataError(
                f"generated catalogue: {len(items.titles)} items are too few for {len(used)} categories; "
                f"expected at least {(len(SUCCESSORS) + 2) * len(CATEGORIES)}"
            )
        self.category_weight = _zipf(len(used), 0.5, rng)
        self.popularity = [_zipf(len(members), 1.0, rng) for members in self.members]
        self.successors: dict[int, np.ndarray] = {}
        for members in self.members:
            near = items.embeddings[members]
            distances = np.square(near[:, None] - near[None]).sum(axis=-1)
            np.fill_diagonal(distances, np.inf)
            for i, item in enumerate(members):
                others = min(NEIGHBOURS, len(members) - 1)
                candidates = members[np.argsort(distances[i], kind="stable")[:others]]
                self.successors[int(item)] = rng.choice(candidates, len(SUCCESSORS), replace=False)

    def rows(self, split: str, users: int, *, every_choice: bool) -> Interactions:
        names, histories, targets = [], [], []
        for number in range(users):
            rng = np.random.default_rng([self.seed, 2, ("train", "valid", "test").index(split), number])
            chosen = self._choices(rng)
            for end in range(1 if every_choice else len(chosen) - 1, len(chosen)):
                names.append(f"{split}-{number}")
                histories.append(tuple(chosen[:end]))
                targets.append(chosen[end])
        return Interactions(tuple(names), tuple(histories), np.array(targets, np.int64))

    def _choices(self, rng: np.random.Generator) -> list[int]:
        interests = rng.choice(
            len(self.members), size=rng.integers(2, 4), replace=False, p=self.category_weight
        )
        thread: dict[int, int] = {}  # the last item of each interest
        chosen: list[int] = []
        at = int(interests[0])
        for _ in range(rng.integers(LENGTHS[0], LENGTHS[1] + 1)):
            if chosen and rng.random() >= STAY:
                at = int(rng.choice([c for c in interests if c != at]))
            item = self._next(at, thread.get(at), set(chosen), rng)
            thread[at] = item
            chosen.append(item)
        return chosen

    def _next(self, category: int, last: int | None, seen: set[int], rng: np.random.Generator) -> int:
        if last is not None and rng.random() < FOLLOW:
            new = [
                (int(s), p) for s, p in zip(self.successors[last], SUCCESSORS, strict=True) if s not in seen
            ]
            if new:
                items, weights = zip(*new, strict=True)
                return int(rng.choice(items, p=np.array(weights) / sum(weights)))
        members, weight = self.members[category], self.popularity[category]
        unseen = np.array([item not in seen for item in members])
        if not unseen.any():  # a small category, all of it chosen: again from the start
            unseen[:] = True
        weight = weight * unseen
        return int(rng.choice(members, p=weight / weight.sum()))


def _zipf(n: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Weights (n,) that fall as rank^-exponent, in random order; they sum to 1."""
    weight = np.arange(1, n + 1) ** -exponent
    shuffled: np.ndarray = rng.permutation(weight / weight.sum())
    return shuffled
