"""Keys as a back end takes them: what it refuses is replaced, and no two keys get one name."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterable

log = logging.getLogger("sightline")


class Names:
    """The names of keys in one back end.

    A key that the back end takes keeps its name. One whose clean name another key has already got is told
    apart by the eight hexadecimal digits of its CRC-32, and that is said in the log.

    Args:
        sink: its name, for messages.
        clean: gives the name that a key would have by itself; the same for a name that is good.
        longest: characters that a name may have.
        taken: names that no key gets, since the sink itself has them.
        kept: the names that are not their keys, by key. Changed as new ones come; keep it from one attempt to
            the next, so that a key has one name however the attempts meet their keys.

    Example:
        >>> names = Names("mlflow", lambda key: key.replace("@", "_"))
        >>> names["eval/pass@1"], names["eval/loss"]
        ('eval/pass_1', 'eval/loss')
        >>> names["eval/pass_1"]
        'eval/pass_1_a84adcc9'
        >>> names["eval/pass@1"]
        'eval/pass_1'
    """

    def __init__(
        self,
        sink: str,
        clean: Callable[[str], str],
        *,
        longest: int = 250,
        taken: Iterable[str] = (),
        kept: dict[str, str] | None = None,
    ) -> None:
        self._sink = sink
        self._clean = clean
        self._longest = longest
        self._kept = {} if kept is None else kept
        self._names = dict(self._kept)
        self._keys = {name: repr(key) for key, name in self._kept.items()}
        self._keys.update(dict.fromkeys(taken, "the sink itself"))

    def __getitem__(self, key: str) -> str:
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self._new(key)
            self._keys[name] = repr(key)
            if name != key:
                self._kept[key] = name
        return name

    def _new(self, key: str) -> str:
        clean = self._clean(key)
        name = clean[: self._longest]
        if name == clean and name not in self._keys:
            return name
        digits = f"{zlib.crc32(key.encode(errors='backslashreplace')):08x}"
        name = f"{clean[: self._longest - len(digits) - 1]}_{digits}"
        why = f"since {self._keys[clean]} has its name" if clean in self._keys else "since it is too long"
        log.warning("sightline: sink %s shows %r as %r, %s", self._sink, key, name, why)
        return name
