"""From what a user gives as ``aliases=`` to one checked list of aliases: names looked up, clashes found."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TypeAlias

from sightline.aliases.areal import AREAL
from sightline.aliases.old_runners import GRPO_GSM8K, MINIONEREC_RL, NANO_GPT, SID_SFT
from sightline.aliases.table import Alias, AliasTable, Names
from sightline.aliases.trl import TRL
from sightline.aliases.verl import VERL

log = logging.getLogger("sightline")

#: What ``aliases=`` takes: names of ready tables, tables, aliases and plain mappings, one or several.
Given: TypeAlias = str | AliasTable | Alias | Mapping[str, Names]
Aliases: TypeAlias = Given | Sequence[Given]

#: The ready tables, by name.
TABLES: Mapping[str, AliasTable] = {
    table.name: table for table in (VERL, TRL, AREAL, GRPO_GSM8K, SID_SFT, MINIONEREC_RL, NANO_GPT)
}


def tables_of(given: Aliases) -> list[AliasTable]:
    """What was given, as tables.

    Raises:
        ValueError: a name that no ready table has, or something else than :data:`Aliases`.

    Example:
        >>> [table.name for table in tables_of(["trl", {"train/loss": "other/loss"}])]
        ['trl', 'aliases']
    """
    several = [given] if isinstance(given, (str, AliasTable, Alias, Mapping)) else given
    tables = []
    if not isinstance(several, Iterable):
        several = [several]
    for each in several:
        if isinstance(each, AliasTable):
            tables.append(each)
        elif isinstance(each, str):
            if each not in TABLES:
                raise ValueError(f"{each!r} is no ready table; expected one of {', '.join(TABLES)}")
            tables.append(TABLES[each])
        elif isinstance(each, (Alias, Mapping)):
            tables.append(AliasTable("aliases", [each]))
        else:
            raise ValueError(
                f"{each!r}: expected a mapping {{key: name}}, an Alias, an AliasTable, or the name of a "
                f"ready table ({', '.join(TABLES)})"
            )
    return tables


def combined(given: Aliases) -> tuple[Alias, ...]:
    """All aliases given, each once.

    Raises:
        ValueError: as :func:`tables_of`; or two keys have one name; or a name is a key that has aliases
            itself. The message has both.

    Example:
        >>> combined({"train/loss": "loss", "train/kl": "loss"})
        Traceback (most recent call last):
        ...
        ValueError: aliases 'train/loss' -> 'loss' and 'train/kl' -> 'loss' give one name to two keys
    """
    aliases: dict[Alias, None] = {}
    by_name: dict[str, tuple[Alias, str]] = {}
    for table in tables_of(given):
        of = f" (of table {table.name!r})" if table.name in TABLES else ""
        for alias in table.aliases:
            for name in alias.names:
                first, of_first = by_name.setdefault(name, (alias, of))
                if (first.key, first.function) != (alias.key, alias.function):
                    raise ValueError(
                        f"aliases {first.key!r} -> {name!r}{of_first} and {alias.key!r} -> {name!r}{of} "
                        f"give one name to two keys"
                    )
            aliases[alias] = None
    for alias in aliases:
        if alias.key in by_name:
            other, of = by_name[alias.key]
            raise ValueError(
                f"alias {other.key!r} -> {alias.key!r}{of}: {alias.key!r} is a key with an alias of its own "
                f"({alias.names[0]!r}), so it cannot be another's old name"
            )
    return tuple(aliases)


def warn_of_passed(given: Aliases, *, today: date, version: str | None = None) -> None:
    """Logs which tables should be gone by now; ``version`` is sightline's, None: of the one installed."""
    for table in tables_of(given):
        if table.remove_after is not None and version is None:
            version = _installed()
        if table.has_passed(today, version or "0"):
            log.warning(
                "sightline: alias table %r was to be removed after %s: let its dashboards show the canonical "
                "keys, and take it out of aliases=",
                table.name, table.remove_after,
            )  # fmt: skip


def _installed() -> str:
    from importlib import metadata  # takes as long as importing NumPy

    try:
        return metadata.version("sightline")
    except metadata.PackageNotFoundError:  # sources on a path, which are of no version
        return "0"
