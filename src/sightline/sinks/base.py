"""What a sink is, and the thread that feeds it from the journal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import orjson

log = logging.getLogger("sightline")

_BATCH_BYTES = 4 << 20


@runtime_checkable
class Sink(Protocol):
    """Shows or stores what the journal says. Called from one thread of its own, with NumPy-free plain data.

    ``write`` may raise: the trouble is counted and logged once, and neither training nor other sinks notice.
    """

    name: str

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Takes the next records of the journal, in order (see :mod:`sightline.journal`)."""

    def close(self) -> None:
        """Nothing more will come."""


class SinkReader:
    """One thread that tails a journal and feeds one sink.

    Args:
        sink: where the records go.
        path: the journal.
        offset: where to begin; a place where a line begins.
    """

    def __init__(self, sink: Sink, path: Path, offset: int = 0) -> None:
        self.sink = sink
        self._path = path
        self._offset = offset  # everything before has been handed over
        self._target = offset
        self._errors = 0
        self._failed = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"sightline-sink-{sink.name}", daemon=True)
        self._thread.start()

    def wake(self, size: int) -> None:
        """The journal has grown to ``size`` bytes."""
        with self._changed:
            self._target = size
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Waits until all has been handed over; returns whether it was, in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._offset >= self._target, timeout)

    def close(self, timeout: float) -> bool:
        """Hands over what is left, closes the sink, and waits for it; a stuck sink is left behind."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def take_errors(self) -> int:
        """How many batches the sink failed on since the last call."""
        with self._changed:
            errors, self._errors = self._errors, 0
        return errors

    def _run(self) -> None:
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._offset < self._target or self._closing)
                    if self._offset >= self._target:
                        break
                self._hand_over(file.readlines(min(_BATCH_BYTES, self._target - self._offset)))
        self._guard(self.sink.close)

    def _hand_over(self, lines: list[bytes]) -> None:
        records = []
        for line in lines:
            try:
                records.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue  # torn by a crash of the machine
        if records:
            self._guard(lambda: self.sink.write(records))
        with self._changed:
            self._offset = self._offset + sum(map(len, lines)) if lines else self._target
            self._changed.notify_all()

    def _guard(self, call: Any) -> None:
        try:
            call()
        except Exception as error:  # a sink's trouble, whatever it is, stays the sink's
            with self._changed:
                self._errors += 1
            if not self._failed:
                self._failed = True
                log.exception("sightline: sink %s fails: %s (said once)", self.sink.name, error)
            time.sleep(0.1)
