"""Items with their titles and semantic ids, and who chose what after what: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from runners.common.metadata import describe_rows

LEVELS = 3  # tokens of a semantic id


@dataclass(frozen=True)
class Catalogue:
    """N items; an item is known by its index in these tuples everywhere in the runners."""

    ids: tuple[str, ...]  # as the files name them
    titles: tuple[str, ...]
    sids: tuple[tuple[str, ...], ...]  # LEVELS tokens each, as ("<a_12>", "<b_3>", "<c_7>"); no two are equal
    by_id: dict[str, int] = field(init=False, repr=False, compare=False)
    by_sid: dict[str, int] = field(init=False, repr=False, compare=False)  # of the joined tokens

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {id: i for i, id in enumerate(self.ids)})
        object.__setattr__(self, "by_sid", {"".join(sid): i for i, sid in enumerate(self.sids)})

    def __len__(self) -> int:
        return len(self.ids)

    def sid(self, item: int) -> str:
        """The joined tokens, `<a_12><b_3><c_7>`."""
        return "".join(self.sids[item])

    def sid_tokens(self) -> list[str]:
        """Every token that occurs, level by level, each level in the order of its numbers."""
        tokens: list[str] = []
        for level in zip(*self.sids, strict=True):
            tokens += sorted(set(level), key=lambda token: (len(token), token))
        return tokens


@dataclass(frozen=True)
class Interactions:
    """R rows: a user, the items that they chose, oldest first, and the one that they chose next."""

    users: tuple[str, ...]
    histories: tuple[tuple[int, ...], ...]  # item indices, at least one each
    targets: np.ndarray  # (R,) int64 item indices

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Dataset:
    catalogue: Catalogue
    train: Interactions
    valid: Interactions
    test: Interactions  # other users than in `train`, when it was generated here

    def describe(self, split: str) -> str:
        """How many rows a split has, and a digest of them and of the items, all in their order.

        Args:
            split: `train`, `valid` or `test`.
        """
        rows: Interactions = getattr(self, split)
        sid = self.catalogue.sid
        items = describe_rows(map(sid, range(len(self.catalogue))))
        return describe_rows(
            f"{items}: {' '.join(map(sid, history))} {sid(target)}"
            for history, target in zip(rows.histories, rows.targets.tolist(), strict=True)
        )
