"""Sinks whose back end is a file: what it holds, and what has become of it, is seen without opening them."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from sightline.sinks.base import SinkRun


class Seen(NamedTuple):
    """What a back end holds.

    Attributes:
        seq: of the last commit that is stored with all before it, as ``open`` would answer; 0: none is.
        damage: what is wrong with it, in a sentence; empty if nothing is.
    """

    seq: int
    damage: str = ""


@runtime_checkable
class LookingSink(Protocol):
    """A sink that can say what it has, and changes nothing for that."""

    def look(self, run: SinkRun) -> Seen:
        """What the back end has of a run.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds something else.
        """
