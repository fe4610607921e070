"""The side of every process but the root: a queue of commits and one thread that posts them in order."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from sightline.errors import SightlineError, TransportError
from sightline.posting.message import Message, Pending
from sightline.posting.patience import Patience
from sightline.posting.slots import Slot
from sightline.posting.stall import StallWatch
from sightline.tracing.whereabouts import FOR_FILES, look, told
from sightline.transports.base import Transport

log = logging.getLogger("sightline")

_RETRY_S = (0.2, 5.0)  # first and longest pause after a failed post
_UNHEARD_S = 60.0  # without a word of the root, until that is said


class Poster:
    """Posts commits in the background; the caller never waits, whatever becomes of the root.

    When the queue is full (the root has stopped, or its network), neighbouring commits are folded together,
    so that memory stays bounded and nothing is lost but the resolution in time.

    Args:
        transport: how to reach the root.
        channel: gives the channel's name, or None while it is not known; called on the poster's thread.
        patience: how long commits wait for their device values.
        queue_size: commits held before folding begins.
    """

    def __init__(
        self,
        transport: Transport,
        channel: Callable[[], str | None],
        patience: Patience,
        *,
        queue_size: int = 64,
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._patience = patience
        self._hurried = False
        self._queue: deque[Pending | Message] = deque()
        self._queue_size = queue_size
        self._changed = threading.Condition()
        self._commits = StallWatch()
        self._last_slot: Slot = (0, 0)
        self._busy = False
        self._closed = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="sightline-poster", daemon=True)
        self._thread.start()

    def put(self, item: Pending | Message) -> None:
        """Queues a commit; returns at once."""
        with self._changed:
            if isinstance(item, Pending):
                self._commits.beat(now=time.monotonic())
                self._last_slot = item.slot
            if self._closed:
                return
            newest = self._queue[-1] if self._queue else None
            if (
                len(self._queue) >= self._queue_size
                and isinstance(item, Pending)
                and isinstance(newest, Pending)
            ):
                self._queue[-1] = newest.absorb(item, self._transport.process)
            else:
                self._queue.append(item)
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Waits until all that was queued has been posted; returns whether it was, in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, timeout)

    def close(self, timeout: float) -> bool:
        """Posts what is queued, then END, and stops; returns whether that was done in time.

        Device values are waited for no longer than leaves time to post the rest.
        """
        self.put(Message("end", self._transport.process))
        end = time.monotonic() + timeout
        if not self.flush(0.8 * timeout):
            self._hurried = True
        done = self.flush(max(0.0, end - time.monotonic()))
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(2.0)  # an interpreter that ends while it is in JAX's C++ would abort
        return done

    def _run(self) -> None:
        channel = None
        started = time.monotonic()
        while channel is None:
            try:
                channel = self._channel()
                if channel is None and time.monotonic() > started + _UNHEARD_S:
                    self._warn(TransportError("it has not started a run; commits wait here"))
            except TransportError as error:
                self._warn(error)
                time.sleep(_RETRY_S[0])
            except SightlineError as error:
                log.error("sightline: process %d commits nothing: %s", self._transport.process, error)
                with self._changed:
                    self._closed = True
                    self._queue.clear()
                    self._changed.notify_all()
            if self._closed:
                return
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed, self._commits.wait_s())
                if self._closed:
                    return
                item = self._queue.popleft() if self._queue else self._stalled()
                if item is None:
                    continue
                self._busy = True
            try:
                if isinstance(item, Pending):
                    self._wait_for_devices(item)
                self._post(channel, self._encode(item))
            except Exception:  # whatever it was, the next commits must go out
                log.exception("sightline: process %d loses a commit", self._transport.process)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _wait_for_devices(self, pending: Pending) -> None:
        while not self._patience.is_over(pending, hurry=self._hurried or self._closed):
            time.sleep(self._patience.pause_s())

    def _encode(self, item: Pending | Message) -> bytes:
        if isinstance(item, Message):
            return item.to_bytes()
        try:
            return item.message(self._transport.process).to_bytes()
        except Exception as error:  # a defect in one commit must not be the end of the others
            log.exception("sightline: the commit of step %d failed inside sightline", item.slot[0])
            note = f"{type(error).__name__}: {error}"
            return Message("commit", self._transport.process, item.slot, item.wall_s, note=note).to_bytes()

    def _stalled(self) -> Message | None:
        """No commit for long: tells the root where this process is, and its own log where each thread is."""
        now = time.monotonic()
        if not self._commits.overdue(now=now):
            return None
        return stalled(self._transport.process, self._last_slot, self._commits.since_s(now=now))

    def _post(self, channel: str, payload: bytes) -> None:
        pause = _RETRY_S[0]
        while not self._closed:
            try:
                return self._transport.post(channel, payload)
            except TransportError as error:
                self._warn(error)
            time.sleep(pause)
            pause = min(2 * pause, _RETRY_S[1])
        return None

    def _warn(self, error: TransportError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("sightline: process %d cannot reach the root: %s", self._transport.process, error)


def stalled(process: int, slot: Slot, waited_s: float) -> Message:
    """The post of a process that has not committed for ``waited_s`` seconds; its log gets all stacks."""
    here = look()
    place = here.plain()
    spans = " > ".join(f"{name} ({seconds:.0f} s)" for name, seconds in here.spans) or "none"
    log.warning("sightline: no commit for %.0f s, since step %d: %s", waited_s, slot[0], told(process, place))
    log.warning(
        "sightline: open spans: %s; the threads are at\n%s", spans, here.stacks, extra={FOR_FILES: True}
    )
    return Message("stalled", process, slot, waited_s, note=here.stack, place=place)
