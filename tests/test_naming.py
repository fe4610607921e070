"""Keys, scopes, and the other names that aliases give them."""

import pytest

from sightline.naming import alias_targets, ancestors, check_aliases, check_key, folders_among, join


@pytest.mark.parametrize(
    "key", ["loss", "reward/total", "pass@1", "hr@k", "a.b", "GPU 0", "Größe", "x" * 500]
)
def test_paths_of_printable_parts_are_keys(key: str) -> None:
    """Whatever people name metrics in practice."""
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "empty part"),
        ("/loss", "empty part"),
        ("loss/", "empty part"),
        ("a//b", "empty part"),
        ("a\nb", "control characters"),
        ("a\x1b[0m", "control characters"),
        ("\ud800", "control characters"),
        ("loss__count", "reserved"),
        (None, "NoneType"),
        (3, "int"),
    ],
)
def test_what_is_no_key_is_told_why(key: object, said: str) -> None:
    """The message holds the value and the reason."""
    with pytest.raises(ValueError, match=said) as raised:
        check_key(key)
    assert repr(key) in str(raised.value)


def test_scopes_join_with_a_slash() -> None:
    """And the empty scope with nothing."""
    assert join("train", "loss") == "train/loss"
    assert join("", "loss") == "loss"


def test_ancestors_are_the_folders_of_a_key() -> None:
    """Proper prefixes at slashes, shortest first."""
    assert list(ancestors("a/b/c/d")) == ["a", "a/b", "a/b/c"]
    assert list(ancestors("a")) == []


def test_a_key_that_is_a_folder_is_found() -> None:
    """``loss`` beside ``loss/max`` and beside ``loss/x/y``, but not beside ``loss_max``."""
    assert folders_among(["loss", "loss_max", "loss.max"]) == {}
    assert set(folders_among(["loss", "loss/x/y", "lr", "lr/a", "b/c"])) == {"loss", "lr"}


def test_aliases_mirror_prefixes_and_exact_keys_one_to_many() -> None:
    """The example of the design, and several targets at once; an exact name is no prefix."""
    table = check_aliases(
        {"train/reward/": "train-reward/", "train/": ["t/", "all/train/"], "train/loss": ("loss", "old/loss")}
    )
    assert alias_targets("train/reward/total/mean", table) == [
        "t/reward/total/mean", "all/train/reward/total/mean", "train-reward/total/mean",
    ]  # fmt: skip
    assert alias_targets("train/loss", table) == ["loss", "old/loss", "t/loss", "all/train/loss"]
    assert alias_targets("train/loss2", {"train/loss": ("loss",)}) == []
    assert alias_targets("training/x", table) == []


@pytest.mark.parametrize(
    "aliases",
    [{"train/": "t"}, {"train": "t/"}, {"": "x"}, {"a//b": "x"}, {"a": "x__count"}, {"a": [3]}, {"/": "x/"}],
)
def test_an_alias_that_cannot_work_is_refused(aliases: dict[str, str]) -> None:
    """A prefix maps to prefixes, a key to keys, and both are well formed."""
    with pytest.raises(ValueError, match=r"prefix|part|reserved|string"):
        check_aliases(aliases)
