"""Real sinks behind a boundary at which something goes wrong, all of them in the same way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from sightline.sinks import Sink, SinkRun, StoringSink
from sightline.sinks.lineage import Rewind

Kind = Literal[
    "open raises", "write raises", "open exits", "write exits", "hangs", "slow", "answers are lost"
]


class Trouble:
    """What goes wrong at the boundary of each sink, until it is over.

    Sinks that are never opened (they store nothing) have their ``write`` raise where others have ``open``.
    With "answers are lost", every second ``write`` raises when the sink has done it, the first one too.

    Attributes:
        over: set when everything goes well again.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.over = threading.Event()

    def call(self, sink: FaultySink, method: str, do: Callable[[], Any]) -> Any:
        sink.threads.add(threading.get_ident())
        if self.over.is_set():
            return do()
        sink.calls.append(method)
        if self.kind == "hangs":
            while method == "write":  # for ever, whatever is over
                time.sleep(60)
        elif self.kind == "slow":
            time.sleep(1)
        elif method == ("open" if self.kind.startswith("open") and sink.stores else "write"):
            if self.kind.endswith("exits"):
                raise SystemExit(f"{method} of {sink.name} exits")
            if self.kind == "answers are lost" and sink.stores and sink.calls.count("write") % 2:
                do()
            raise ConnectionError(f"{method} of {sink.name} fails")
        return do()


class FaultySink:
    """A sink that shows what it gets, in trouble.

    Attributes:
        calls: made while there was trouble.
        threads: that it was called from.
    """

    stores = False

    def __init__(self, sink: Sink, trouble: Trouble) -> None:
        self.name = sink.name
        self.sink = sink
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self._trouble = trouble

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._trouble.call(self, "write", lambda: self.sink.write(records))

    def close(self) -> None:
        self.sink.close()


class FaultyStore(FaultySink):
    """A sink that stores what it gets, in trouble."""

    stores = True

    def __init__(self, sink: StoringSink, trouble: Trouble) -> None:
        super().__init__(sink, trouble)
        self.rewind: Rewind = sink.rewind
        self.stores_at_close = sink.stores_at_close

    def open(self, run: SinkRun) -> int | None:
        stored: int | None = self._trouble.call(self, "open", lambda: self.sink.open(run))
        return stored


def faulty(sink: Sink, trouble: Trouble) -> FaultySink:
    return FaultyStore(sink, trouble) if isinstance(sink, StoringSink) else FaultySink(sink, trouble)
