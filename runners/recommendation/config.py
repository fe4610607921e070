"""Where the data comes from: the section `data` of every recommendation runner."""

from __future__ import annotations

from dataclasses import dataclass

from runners.common.config import ConfigError
from runners.common.sections import at_least
from runners.recommendation import files, synthetic
from runners.recommendation.catalogue import Dataset

_FILES = ("train_file", "valid_file", "test_file", "index_file", "item_file")


@dataclass(frozen=True)
class DataConfig:
    train_file: str | None = None  # MiniOneRec's CSV, and so on: all five, or none for generated data
    valid_file: str | None = None
    test_file: str | None = None
    index_file: str | None = None
    item_file: str | None = None
    info_file: str | None = None  # only checked against the others
    items: int = 512  # what to generate
    codes: int = 32  # of each of the three levels of a semantic id
    train_users: int = 2000
    valid_users: int = 256
    test_users: int = 512
    max_words: int = 4096  # words of titles and prompts that are one token each
    prompt_tokens: int = 48  # longer histories lose their oldest items
    answer_tokens: int = 8  # longer titles are cut

    def __post_init__(self) -> None:
        at_least(self, 1, "items", "train_users", "valid_users", "test_users")
        at_least(self, 2, "codes")
        at_least(self, 16, "prompt_tokens")
        at_least(self, 4, "answer_tokens")  # a semantic id and the end
        given = [name for name in _FILES if getattr(self, name) is not None]
        if (given or self.info_file) and len(given) < len(_FILES):
            missing = ", ".join(name for name in _FILES if name not in given)
            raise ConfigError(f"{missing}: missing; files are given all together or not at all")


def load_dataset(data: DataConfig, seed: int) -> Dataset:
    """The data set of the files, or a generated one.

    Raises:
        DataError: a file is missing or malformed, or what to generate is impossible.
    """
    if data.train_file is None:
        return synthetic.generate(
            items=data.items,
            codes=data.codes,
            train_users=data.train_users,
            valid_users=data.valid_users,
            test_users=data.test_users,
            seed=seed,
        )
    train, valid, test, index, items = (str(getattr(data, name)) for name in _FILES)
    return files.read(files.Paths(train, valid, test, index, items, data.info_file))
