"""The aliases of a run at work: which other names each key has, and what they show, commit by commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sightline.aliases.functions import Step
from sightline.aliases.table import Alias, is_exact
from sightline.errors import RecordError
from sightline.values.host_values import to_number
from sightline.values.snapshot import Value


class Mirrored(NamedTuple):
    """A commit's values with their aliases.

    Attributes:
        values: keys first, then their other names.
        hidden: names that were not given: ``(key, name, why)``.
    """

    values: dict[str, Any]
    hidden: list[tuple[str, str, str]]


class Mirror:
    """Other names for keys. Used by one thread.

    A name that is a key of the commit too keeps the key's value; one that two keys of it would have, through
    patterns, is the first key's.

    Args:
        aliases: from :func:`sightline.aliases.combined`.

    Example:
        >>> Mirror([Alias("train/", "old/")]).values({"train/loss": 0.5}).values
        {'train/loss': 0.5, 'old/loss': 0.5}
    """

    def __init__(self, aliases: Sequence[Alias] = ()) -> None:
        self._aliases = sorted(aliases, key=lambda alias: not is_exact(alias.key))
        self._known: dict[str, list[tuple[str, Step | None]]] = {}

    @property
    def plain(self) -> dict[str, list[str]]:
        """``{key: names}`` of those that show a key's own value, for the journal."""
        table: dict[str, list[str]] = {}
        for alias in self._aliases:
            if alias.function is None:
                table.setdefault(alias.key, []).extend(alias.names)
        return table

    @property
    def derived(self) -> dict[str, str]:
        """``{name: what it shows}`` of the others."""
        return {
            name: f"{alias.function} of {alias.key}"
            for alias in self._aliases
            if alias.function is not None
            for name in alias.names
        }

    def names(self, key: str) -> list[str]:
        """All other names of a key."""
        return [name for name, _ in self._of(key)]

    def values(self, values: Mapping[str, Value]) -> Mirrored:
        """The numbers of the next commit, with their aliases. Windows and totals go one commit further."""
        return self._mirrored(values, with_functions=True)

    def others(self, values: Mapping[str, Any]) -> Mirrored:
        """Texts or histograms, with their aliases."""
        return self._mirrored(values, with_functions=False)

    def derives_from(self, key: str) -> bool:
        """Whether a window, total or other function looks at this key."""
        return any(alias.function is not None and alias.of(key) for alias in self._aliases)

    def forget(self) -> None:
        """Windows and totals begin anew."""
        self._known.clear()

    def replay(self, commits: Iterable[Mapping[str, Value]]) -> None:
        """Brings windows and totals to where the commits of earlier attempts left them."""
        for values in commits:
            self.values(values)

    def _mirrored(self, values: Mapping[str, Any], *, with_functions: bool) -> Mirrored:
        result: dict[str, Any] = dict(values)
        hidden: list[tuple[str, str, str]] = []
        giver: dict[str, str] = {}
        for key, value in values.items():
            for name, step in self._of(key):
                if step is not None and not with_functions:
                    continue
                try:
                    shown = value if step is None else _number(name, step(value))
                except RecordError as error:
                    hidden.append((key, name, f"its function gave no number: {error}"))
                    continue
                except Exception as error:  # noqa: BLE001 - of a user's function; the commit must not be lost
                    hidden.append((key, name, f"its function raised {type(error).__name__}: {error}"))
                    continue
                if shown is None:
                    continue
                if name not in result:
                    result[name] = shown
                    giver[name] = key
                else:
                    has = f"{giver[name]} has this name" if name in giver else f"{name} is recorded"
                    hidden.append((key, name, f"{has} too"))
        return Mirrored(result, hidden)

    def _of(self, key: str) -> list[tuple[str, Step | None]]:
        found = self._known.get(key)
        if found is None:
            steps: dict[str, Step | None] = {}
            for alias in self._aliases:
                for name in alias.of(key):
                    if name not in steps:
                        steps[name] = None if alias.function is None else alias.function.start()
            found = self._known[key] = list(steps.items())
        return found


def _number(name: str, given: object) -> Value | None:
    """What a function gave, as the journal holds it; None: nothing yet."""
    return None if given is None else to_number("alias", name, given)
