"""``run.json``: what a run is, for readers; written anew as more becomes known."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger("sightline")


class RunJson:
    """The file, which always holds the whole of what was said last.

    Args:
        path: of the file.
        facts: plain data.

    Attributes:
        facts: all of them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = RunJson(Path(folder, "run.json"), {"name": "a", "hosts": {}})
        ...     file.add({"hosts": {"n1": {"processes": [0]}}})
        ...     orjson.loads(Path(folder, "run.json").read_bytes())
        {'name': 'a', 'hosts': {'n1': {'processes': [0]}}}
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self._path = path
        self.facts = dict(facts)
        self._save()

    def add(self, facts: Mapping[str, Any]) -> None:
        """More, or the same anew; not written is only warned of."""
        self.facts = {**self.facts, **facts}
        self._save()

    def _save(self) -> None:
        part = self._path.with_suffix(".part")
        try:
            part.write_bytes(orjson.dumps(self.facts, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
            os.replace(part, self._path)
        except (OSError, TypeError) as error:
            log.warning("sightline: cannot write %s: %s", self._path, error)
