"""What a timeline is made of. Times are ns since the epoch by the root's time of day."""

from __future__ import annotations

from typing import Any, NamedTuple

Args = dict[str, Any]
SESSION_LANES = 2 << 24  #: lanes from here on hold sessions, and those below spans


class FlowEnd(NamedTuple):
    """One end of an arrow.

    Attributes:
        id: the same at both ends.
        at: when.
        is_out: whether the arrow begins here.
    """

    id: int
    at: int
    is_out: bool


class Span(NamedTuple):
    """Something that took its time.

    Attributes:
        name: what.
        start, end: when.
        tid: the thread, in its process.
        lane: None, or where it is drawn if it shares its thread with others, in its process.
        category: empty if it has none.
        args: what is known of it.
        flows: arrows that begin or end in it.
    """

    name: str
    start: int
    end: int
    tid: int
    lane: int | None
    category: str
    args: Args
    flows: tuple[FlowEnd, ...] = ()


class Instant(NamedTuple):
    """A moment. ``scope`` is ``"t"`` for one of the thread, ``"p"`` of the process, ``"g"`` of all."""

    name: str
    at: int
    tid: int
    scope: str
    category: str
    args: Args


class Counter(NamedTuple):
    """The values of a curve, or of several that are drawn in one place."""

    name: str
    at: int
    values: dict[str, float]


class Flow(NamedTuple):
    """One end of an arrow that is in no span."""

    tid: int
    end: FlowEnd


class Thread(NamedTuple):
    """The name of a thread."""

    tid: int
    name: str


Event = Span | Instant | Counter | Flow | Thread
