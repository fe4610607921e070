"""Which metrics are other names of others, as the journal says; old names beside the keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sightline.views.history import History


def alias_names(history: History) -> set[str]:
    """Keys of a journal that show what another key shows."""
    if not history.runs:
        return set()
    found: set[str] = set()
    for run in history.runs:
        aliases, derived = run.get("aliases"), run.get("derived")
        for key, names in aliases.items() if isinstance(aliases, dict) else ():
            for name in names if isinstance(names, list) else [names]:
                if isinstance(name, str):
                    found.update(_made(key, name, history.keys))
        for name in derived if isinstance(derived, dict) else ():
            found.update(key for key in history.keys if _pattern(name).fullmatch(key))
    return found


def _made(key: str, name: str, keys: list[str]) -> Iterator[str]:
    """What an alias makes of the keys that it is for: a prefix if it ends in ``/``; ``*`` is any part."""
    pattern = _pattern(key)
    for each in keys:
        match = pattern.fullmatch(each)
        if match:
            parts = iter(match.groups())
            made = re.sub(r"\*", lambda _, parts=parts: next(parts, "*"), name)  # type: ignore[misc]
            yield made + (next(parts, "") if name.endswith("/") else "")


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(re.escape(key).replace(r"\*", "([^/]+)") + ("(.+)" if key.endswith("/") else ""))
