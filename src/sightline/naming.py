"""Names: what a key may look like, how scopes and suffixes build it, and how aliases mirror it.

Keys are paths such as ``train/reward/total/mean``. Two rules keep every dashboard able to show them:
a key is never the folder of another (``loss`` beside ``loss/max``), and ``__count`` is reserved for counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

COUNT_SUFFIX = "__count"
TIMING_KEY = "time/{key}_s"
RESERVED = "obs/"
LEADING = ("time", "timeperf", "throughput")  #: what stands before the scope in keys of times and rates

Aliases = Mapping[str, str | Sequence[str]]


def check_key(key: object) -> str:
    """Returns ``key`` if it can name a metric, else raises ``ValueError`` that says what is wrong.

    Example:
        >>> check_key("reward/total")
        'reward/total'
        >>> check_key("loss//kl")
        Traceback (most recent call last):
        ...
        ValueError: 'loss//kl' has an empty part; write parts divided by single slashes, as in 'reward/total'
    """
    if not isinstance(key, str):
        raise ValueError(f"{key!r} is a {type(key).__name__}; a key is a string, as in 'reward/total'")
    if not key or key[0] == "/" or key[-1] == "/" or "//" in key:
        raise ValueError(
            f"{key!r} has an empty part; write parts divided by single slashes, as in 'reward/total'"
        )
    if not key.isprintable():
        raise ValueError(f"{key!r} has control characters; they would break log lines and tables")
    if key.endswith(COUNT_SUFFIX):
        raise ValueError(
            f"{key!r} ends in {COUNT_SUFFIX!r}, which is reserved for the counts beside each key"
        )
    return key


def join(scope: str, key: str) -> str:
    """``key`` under ``scope``; an empty scope adds nothing."""
    return f"{scope}/{key}" if scope else key


def under(name: str, key: str) -> str:
    """``key`` as it would be if it had been recorded in the scope ``name``.

    Example:
        >>> under("actor", "loss"), under("actor", "time/update_s")
        ('actor/loss', 'time/actor/update_s')
    """
    leading, slash, rest = key.partition("/")
    return f"{leading}/{name}/{rest}" if slash and leading in LEADING else join(name, key)


def ancestors(key: str) -> Iterator[str]:
    """The proper prefixes of a key that end before a slash, shortest first.

    Example:
        >>> list(ancestors("a/b/c"))
        ['a', 'a/b']
    """
    at = key.find("/")
    while at != -1:
        yield key[:at]
        at = key.find("/", at + 1)


def folders_among(keys: Iterable[str]) -> dict[str, str]:
    """Keys that break the no-prefix rule: each key that is also a folder, with one key inside it.

    Example:
        >>> folders_among(["loss", "loss/max", "lr"])
        {'loss': 'loss/max'}
    """
    names = set(keys)
    return {folder: key for key in sorted(names) for folder in ancestors(key) if folder in names}


def check_aliases(aliases: Aliases) -> dict[str, tuple[str, ...]]:
    """The table in its normal form, ``{name: (targets, …)}``.

    A name that ends in ``/`` is a prefix and maps to prefixes; any other is one exact key and maps to keys.

    Raises:
        ValueError: a prefix mapped to a key or the other way round, or a target that is no key.

    Example:
        >>> check_aliases({"train/reward/": "train-reward/", "train/loss": ["loss", "train-other/loss"]})
        {'train/reward/': ('train-reward/',), 'train/loss': ('loss', 'train-other/loss')}
    """
    table: dict[str, tuple[str, ...]] = {}
    for name, targets in aliases.items():
        table[name] = (targets,) if isinstance(targets, str) else tuple(targets)
        for each in (name, *table[name]):
            check_key(each.removesuffix("/") if isinstance(each, str) else each)
            if each.endswith("/") != name.endswith("/"):
                raise ValueError(
                    f"alias {name!r} -> {each!r}: a prefix (ending in '/') maps to prefixes, "
                    f"an exact key to exact keys"
                )
    for target, names in _by_target(table).items():
        if len(names) > 1:
            raise ValueError(f"aliases {names[0]!r} and {names[1]!r} both give {target!r}; only one can")
    return table


def _by_target(table: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, targets in table.items():
        for target in targets:
            names.setdefault(target, []).append(name)
    return names


def alias_targets(key: str, table: Mapping[str, Sequence[str]]) -> list[str]:
    """The other names of ``key`` under a table made by :func:`check_aliases`, exact ones first.

    Example:
        >>> alias_targets("train/reward/total/mean", {"train/reward/": ("train-reward/", "reward/")})
        ['train-reward/total/mean', 'reward/total/mean']
    """
    names = list(table.get(key, ()))
    for folder in ancestors(key):
        prefix = folder + "/"
        names.extend(target + key[len(prefix) :] for target in table.get(prefix, ()))
    return names
