"""What sessions and profiles are laid beside: the traces of a timeline, and their clocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sightline.timeline.clocks import ProcessClock
from sightline.timeline.finding import ProcessTrace
from sightline.timeline.report import Report


class Timed(Protocol):
    """A timeline, as far as they need it: of each trace its clock, and the report that they add to."""

    @property
    def traces(self) -> Sequence[ProcessTrace]: ...
    @property
    def clocks(self) -> Sequence[ProcessClock]: ...
    @property
    def report(self) -> Report: ...
