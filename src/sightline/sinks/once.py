"""Warnings about a sink that are said once, and not with every record."""

from __future__ import annotations

import logging
import traceback

from sightline.support.redaction import redacted

log = logging.getLogger("sightline")


class Once:
    """Says in the log what is wrong with a sink.

    Args:
        sink: its name.
    """

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._said: set[str] = set()

    def __contains__(self, about: str) -> bool:
        return about in self._said

    def warn(self, about: str, what: str, *, exc_info: bool = False) -> None:
        """Says it, unless something about the same has been said.

        Args:
            about: what it is about, a word.
            what: goes on from "sink NAME".
            exc_info: with the exception that is being handled. Credentials are taken out of its traceback,
                which therefore stands in the message.
        """
        if about not in self._said:
            self._said.add(about)
            trace = f"\n{traceback.format_exc()}" if exc_info else ""
            log.warning("sightline: sink %s %s (said once)%s", self._sink, redacted(what), redacted(trace))

    def forget(self) -> None:
        """All is well again; what goes wrong next is said."""
        self._said.clear()
