"""Keys that break the conventions, found as they are met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sightline.aliases import Mirror
from sightline.values.key_specs import Spec
from sightline.values.naming import COUNT_SUFFIX, TIMING_KEY, unconventional

_TIMINGS = TIMING_KEY.partition("{")[0]


class NamingCheck:
    """Finds out, once for each key, why it is outside of the conventions.

    Timings that ``timing_key`` spells otherwise were asked for, and are left alone.

    Args:
        namespaces: first parts of keys that are welcome too.
        mirror: of a run whose aliases may not be recorded as keys.
    """

    def __init__(self, namespaces: Sequence[str] = (), mirror: Mirror | None = None) -> None:
        self._namespaces = tuple(namespaces)
        self._mirror = mirror
        self._reasons: dict[str, str | None] = {}  # of the keys that have been looked at
        self._names: set[str] = set()  # that they export
        self._old: dict[str, str] = {}  # names that aliases make of these -> of which

    def of_specs(self, specs: Iterable[Spec]) -> list[str]:
        """What is wrong with recorded keys: a line for each that is odd."""
        lines = []
        for spec in specs:
            if spec.key not in self._reasons:
                exempt = spec.kind == "timing" and not spec.key.startswith(_TIMINGS)
                self._reasons[spec.key] = self._reason(spec.exported(), exempt=exempt)
            if (reason := self._reasons[spec.key]) is not None:
                lines.append(f"{spec.key!r} (recorded at {spec.site}): {reason}")
        return lines

    def of_keys(self, keys: Iterable[str]) -> list[str]:
        """The same for the keys of final values; counts are not looked at."""
        lines = []
        for key in keys:
            if key not in self._reasons:
                self._reasons[key] = None if key.endswith(COUNT_SUFFIX) else self._reason([key])
            if (reason := self._reasons[key]) is not None:
                lines.append(f"{key!r}: {reason}")
        return lines

    def _reason(self, names: Sequence[str], *, exempt: bool = False) -> str | None:
        for name in names:
            reason = None if exempt else unconventional(name, namespaces=self._namespaces)
            if reason := reason or self._clash(name):
                return reason
        return None

    def _clash(self, name: str) -> str | None:
        if self._mirror is None:
            return None
        if name in self._old:
            return f"alias {self._old[name]!r} -> {name!r} gives this name to another key"
        self._names.add(name)
        for old in self._mirror.names(name):
            if old in self._names:
                return f"its alias {old!r} is a key itself"
            self._old[old] = name
        return None
