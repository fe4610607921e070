"""Aliases as data: a canonical key, or a pattern of keys, and the old names that mirror it.

Keys and names are exact (``train/loss``), prefixes (``train/reward/``), or patterns with one ``*``, which
stands for one character or more: ``time/train/*_s`` → ``timing_s/*``. An exact key has exact names, a prefix
or pattern prefixes or patterns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from sightline.aliases.functions import Function
from sightline.values.naming import check_key

Names: TypeAlias = str | Sequence[str]
_VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True, init=False)
class Alias:
    """Other names of one key, of all keys under a prefix, or of all that fit a pattern.

    Args:
        key: canonical.
        names: one, or several.
        function: what they show instead of the value itself; None: the value. It applies to numbers; texts
            and histograms are mirrored by aliases without a function alone.
        without: keys that a prefix or pattern does not mean.

    Raises:
        ValueError: a prefix or pattern with an exact name or the other way round, or what cannot be a key.

    Example:
        >>> Alias("train/loss", ["loss", "train-other/loss"]).names
        ('loss', 'train-other/loss')
        >>> Alias("train/loss", "train-other/")
        Traceback (most recent call last):
        ...
        ValueError: alias 'train/loss' -> 'train-other/': an exact key has exact names, and a prefix (ending \
in '/') or pattern (with one '*') has prefixes or patterns
    """

    key: str
    names: tuple[str, ...]
    function: Function | None = None
    without: tuple[str, ...] = ()

    def __init__(
        self, key: str, names: Names, function: Function | None = None, *, without: Sequence[str] = ()
    ) -> None:
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "names", (names,) if isinstance(names, str) else tuple(names))
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "without", tuple(without))
        self._check()

    def _check(self) -> None:
        if not self.names:
            raise ValueError(f"alias {self.key!r} has no names; give one, or leave it out")
        for each in (self.key, *self.names):
            check_key(each.replace("*", "x", 1).removesuffix("/") if isinstance(each, str) else each)
            if each.count("*") > 1 or ("*" in each and each.endswith("/")):
                raise ValueError(f"alias {each!r}: expected one '*', or a '/' at the end, and not both")
            if is_exact(each) != is_exact(self.key):
                raise ValueError(
                    f"alias {self.key!r} -> {each!r}: an exact key has exact names, and a prefix (ending in "
                    f"'/') or pattern (with one '*') has prefixes or patterns"
                )
        if self.key in self.names:
            raise ValueError(f"alias {self.key!r} is its own name; leave it out")

    def of(self, key: str) -> tuple[str, ...]:
        """The names of one exact key; none if it is not meant.

        Example:
            >>> Alias("time/train/*_s", "timing_s/*").of("time/train/rollout_s")
            ('timing_s/rollout',)
        """
        if is_exact(self.key):
            return self.names if key == self.key else ()
        start, end = _ends(self.key)
        if (
            key in self.without
            or len(key) <= len(start) + len(end)
            or not (key.startswith(start) and key.endswith(end))
        ):
            return ()
        middle = key[len(start) : len(key) - len(end)]
        return tuple(middle.join(_ends(name)) for name in self.names)


@dataclass(frozen=True, init=False)
class AliasTable:
    """Aliases that come and go together.

    Args:
        name: for messages.
        aliases: ``{key: names}``, or :class:`Alias` objects, or both in a list.
        remove_after: when its users should be rid of it: a date, also as ``"2027-12-31"``, or a version of
            sightline, as ``"2.0"``. A run that starts after it says so once, and goes on. None: never.

    Raises:
        ValueError: as :class:`Alias`, or ``remove_after`` is neither.

    Example:
        >>> AliasTable("ours", {"train/reward/": "reward/"}, remove_after="2027-06-30").aliases
        (Alias(key='train/reward/', names=('reward/',), function=None, without=()),)
    """

    name: str
    aliases: tuple[Alias, ...]
    remove_after: str | date | None = None

    def __init__(
        self,
        name: str,
        aliases: Mapping[str, Names] | Sequence[Alias | Mapping[str, Names]],
        remove_after: str | date | None = None,
    ) -> None:
        found: list[Alias] = []
        for each in [aliases] if isinstance(aliases, Mapping) else aliases:
            found += [each] if isinstance(each, Alias) else [Alias(key, names) for key, names in each.items()]
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "aliases", tuple(found))
        object.__setattr__(self, "remove_after", remove_after)
        self.has_passed(date.today(), "0")

    def has_passed(self, today: date, version: str) -> bool:
        """Whether ``remove_after`` lies before ``today``, or below sightline's ``version``.

        Example:
            >>> AliasTable("ours", {}, remove_after="1.2").has_passed(date(2027, 1, 1), "1.10.0")
            True
        """
        after = self.remove_after
        if after is None:
            return False
        if isinstance(after, date):
            return today > after
        try:
            if _VERSION.fullmatch(after):
                return _numbers(version) > _numbers(after)
            return today > date.fromisoformat(after)
        except (TypeError, ValueError):
            raise ValueError(
                f"alias table {self.name!r}: remove_after={after!r}; expected a date, as in '2027-12-31', "
                f"or a version of sightline, as in '2.0'"
            ) from None


def is_exact(name: str) -> bool:
    """Whether a key or name means one key."""
    return not name.endswith("/") and "*" not in name


def alias_targets(key: str, table: Mapping[str, Sequence[str]]) -> list[str]:
    """The other names of ``key`` under a plain ``{key: names}``, as a journal's ``run`` line holds it.

    Exact ones first, then in the table's order.

    Example:
        >>> alias_targets("train/reward/total/mean", {"train/reward/": ("train-reward/", "reward/")})
        ['train-reward/total/mean', 'reward/total/mean']
    """
    exact = list(table.get(key, ()))
    return exact + [
        name
        for source, names in table.items()
        if not is_exact(source)
        for name in Alias(source, names).of(key)
    ]


def _ends(pattern: str) -> tuple[str, str]:
    start, _, end = pattern.partition("*")
    return start, end


def _numbers(version: str) -> tuple[int, ...]:
    """``"1.2.0rc1"`` → (1, 2): trailing zeros and what follows the numbers do not count."""
    found = re.match(_VERSION, version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
