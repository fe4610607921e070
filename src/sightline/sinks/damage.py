"""What of a journal the sinks cannot be handed: said once, however many of them read it."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from sightline.support import wording
from sightline.support.redaction import redacted

log = logging.getLogger("sightline")


class Damage:
    """Says what is wrong with a journal. Readers on several threads share one.

    Args:
        path: the journal.
        is_said: whether it is; not by one who counts it himself.
    """

    def __init__(self, path: Path | str, *, is_said: bool = True) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._said: set[str] = set() if is_said else {"hole", "odd"}

    def hole(self, size: int) -> None:
        """So many bytes are gone."""
        self._say("hole", f"has lost {wording.size(size)} to a crash of the machine, and no sink gets them")

    def odd(self) -> None:
        """A line is not as sightline writes them."""
        self._say("odd", "has lines that are damaged; sinks get what is sound of them")

    def _say(self, about: str, what: str) -> None:
        with self._lock:
            if about in self._said:
                return
            self._said.add(about)
        log.warning("sightline: %s %s (said once)", redacted(str(self._path)), what)
