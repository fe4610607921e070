"""How far each process's clock is from the root's, asked through the store, on a thread of its own.

A process posts that it wants to know. The root takes one after another, sends each a number of questions
(``ask/<nonce>/<i>``) and waits for the answers (``ask/<nonce>/<i>/back``), which hold when the question came
and when the answer left. A question is sent when the process waits for it in the store already, so that both
ways take equally long, as :func:`sightline.support.clock.offset_of` takes them to. The last one says what
came out.

At its end a process compares once more, unless it shares the root's clock, so that nothing is drawn far
beyond the last comparison; the root answers until all have ended. That costs 2.5 s at most.

A process that is gone costs the root a second. No wait in the store is longer than half a second, since a
thread must not be in JAX's C++ when the interpreter ends.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, perf_counter_ns
from typing import Any

import orjson

from sightline.errors import TransportError
from sightline.support.clock import APART_NS, RoundTrip, Sync, anchor, offset_of
from sightline.transports.base import Transport

log = logging.getLogger("sightline")

_TRIPS = 16
_FIRST_PAUSE_S = 5.0  # doubled each time, so that a drift is never drawn out for longer than it was seen
_LONGEST_PAUSE_S = 600.0
_QUEUE_S = 300.0  # that a process waits for its turn
_WAIT_S = 0.5
_GONE_S = 1.0
_LAST_S = 2.5  # that the end waits for the root's turn: it looks every other second
_AGAIN_S = 10.0  # after the store did not answer
_LOOK_S = (0.25, 2.0)  # the root's looking for who wants to know: first, and when nobody does


class ClockSync:
    """Finds this process's offset at its start, and again and again; nothing in a job of one process.

    Args:
        transport: between the processes. One that is ``collective`` has no store, and nothing is done.
        channel: names the attempt of the run, the same on all processes; None while that is not known.
        found: told of each offset, on the thread of this class; off the root only.
        pause_s: until the second time; doubled from there, up to ten minutes.
    """

    def __init__(
        self,
        transport: Transport,
        channel: Callable[[], str | None],
        found: Callable[[Sync], object],
        *,
        pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._found = found
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._ending = threading.Event()  # one comparison more, then stop
        self._latest: Sync | None = None
        self._thread: threading.Thread | None = None
        if transport.processes > 1 and not transport.collective:
            self._thread = threading.Thread(target=self._run, name="sightline-clock", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Has it end, without waiting."""
        self._stopping.set()
        self._ending.set()

    def end(self) -> None:
        """Compares once more and ends; on the root, which has the others to answer, looks for them more.

        To be called before the last post, after which the root may end at any moment.
        """
        self._ending.set()
        if self._thread is not None and not self._transport.is_root:
            self._thread.join(_LAST_S + 2 * _GONE_S)
            self.close()

    def close(self, timeout: float = 2 * _GONE_S) -> bool:
        """Ends it as it is; returns whether it has ended in time."""
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        is_root = self._transport.is_root
        halt = self._stopping if is_root else self._ending
        while (channel := self._channel()) is None:
            if halt.wait(_LOOK_S[0]):
                return
        work = self._serve if is_root else self._ask_for
        while not self._stopping.is_set():
            try:
                work(f"clock/{channel}")
            except TransportError as error:  # told by the commits, which need the store more
                log.debug("sightline: clocks cannot be compared: %s", error)
                if self._ending.is_set() and not is_root:
                    return
                halt.wait(_AGAIN_S)
            except Exception:
                log.warning("sightline: comparing clocks fails, and is left", exc_info=True)
                return

    # --- the root ------------------------------------------------------------------------------------------

    def _serve(self, channel: str) -> None:
        pause = _LOOK_S[0]
        while not self._stopping.wait(pause):
            wanted = self._transport.poll(channel)
            pause = _LOOK_S[0] if wanted or self._ending.is_set() else min(2 * pause, _LOOK_S[1])
            for each in wanted:
                if not self._stopping.is_set():
                    self._measure(f"{channel}/ask/{each.decode()}")

    def _measure(self, place: str) -> None:
        """One process, from the first question to the result."""
        trips: list[RoundTrip] = []
        is_same_boot = True
        for i in range(_TRIPS):
            answer = self._ask(f"{place}/{i}", b"{}")
            if answer is None:
                return
            sent, data, returned = answer
            received, replied, boot = orjson.loads(data)
            trips.append(RoundTrip(sent, received, replied, returned))
            is_same_boot &= bool(boot) and boot == boot_id()
            # Until its next wait has reached the store.
            if self._stopping.wait(0.001 + 3e-9 * max(0, trips[-1].under_way_ns)):
                return
        self._ask(f"{place}/{_TRIPS}", orjson.dumps(_result(trips, is_same_boot)))

    def _ask(self, name: str, question: bytes) -> tuple[int, bytes, int] | None:
        transport = self._transport
        try:
            sent = perf_counter_ns()
            transport.publish(name, question)
            end = monotonic() + _GONE_S
            while (answer := transport.lookup(f"{name}/back", _WAIT_S)) is None and monotonic() < end:
                if self._stopping.is_set():
                    break
            returned = perf_counter_ns()
        finally:
            transport.retract(name)
        if answer is None:
            return None
        transport.retract(f"{name}/back")
        return sent, answer, returned

    # --- the others ----------------------------------------------------------------------------------------

    def _ask_for(self, channel: str) -> None:
        pause = self._pause_s
        while not self._stopping.is_set():
            is_last = self._ending.is_set()
            if is_last and not self._is_worth_another():
                return self._stopping.set()
            nonce = os.urandom(6).hex()
            self._transport.post(channel, nonce.encode())
            result = self._answer(f"{channel}/ask/{nonce}", is_last)
            if result is not None:
                self._latest = result
                self._found(result)
            if is_last:
                return self._stopping.set()
            self._ending.wait(pause)
            pause = max(pause, min(2 * pause, _LONGEST_PAUSE_S))
        return None

    def _is_worth_another(self) -> bool:
        latest = self._latest
        return (
            latest is not None
            and latest.uncertainty_ns > 0  # else one kernel, one clock
            and perf_counter_ns() - latest.perf_counter_ns > APART_NS
        )

    def _answer(self, place: str, is_last: bool) -> Sync | None:
        transport = self._transport
        end = monotonic() + (_LAST_S if is_last else _QUEUE_S)
        for i in range(_TRIPS + 1):
            name = f"{place}/{i}"
            while (question := transport.lookup(name, _WAIT_S)) is None:
                is_too_late = self._ending.is_set() and not is_last and not i
                if self._stopping.is_set() or is_too_late or monotonic() > end:
                    if i:
                        transport.retract(f"{place}/{i - 1}/back")  # which the root may not have taken
                    return None
            received = perf_counter_ns()
            result = orjson.loads(question)
            transport.publish(f"{name}/back", orjson.dumps([received, perf_counter_ns(), boot_id()]))
            end = monotonic() + 2 * _GONE_S
            if result:
                return Sync(**result)
        return None


def _result(trips: list[RoundTrip], is_same_boot: bool) -> dict[str, Any]:
    offset, uncertainty, at = offset_of(trips)
    if is_same_boot and abs(offset) <= uncertainty:
        offset = uncertainty = 0  # one kernel, one clock
    now = anchor()
    return Sync(at, offset, uncertainty, now.time_ns - (now.perf_counter_ns - (at + offset)))._asdict()


def boot_id() -> str:
    """Which start of which kernel this is; empty where that cannot be known.

    Processes of one kernel share the clock of ``perf_counter_ns``, unless they have time namespaces.
    """
    global _boot_id
    if _boot_id is None:
        try:
            _boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            _boot_id = ""
    return _boot_id


_boot_id: str | None = None
