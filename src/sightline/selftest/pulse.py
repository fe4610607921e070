"""Notices a process that is gone while the others wait for it inside JAX, where nothing else can be done."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from sightline.errors import TransportError
from sightline.transports.base import Transport

_CHANNEL = "selftest.pulse"
_GONE = "selftest.gone"
_BEAT_S = 1.0
_SILENT_S = 15.0
_TOLD_S = 3.0  # for the others to hear it, before their store goes with process 0


class Pulse:
    """A thread on every process; all but process 0 tell it every second that they live.

    Args:
        transport: between the processes.
        is_bound: whether this process waits in JAX for all others.
        gone: on process 0, of which nothing was heard for long; filled here.
        lost: called where somebody is gone and this process is bound, with who; it ends the process.
    """

    def __init__(
        self,
        transport: Transport,
        is_bound: Callable[[], bool],
        gone: set[int],
        lost: Callable[[list[int]], object],
    ) -> None:
        self._transport = transport
        self._is_bound = is_bound
        self._gone = gone
        self._lost = lost
        self._stopping = threading.Event()
        if transport.processes > 1:
            threading.Thread(target=self._run, name="selftest-pulse", daemon=True).start()

    def stop(self) -> None:
        """Ends it, without waiting."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            (self._listen if self._transport.is_root else self._beat)()
        except TransportError:
            return  # what goes by the store says so itself

    def _listen(self) -> None:
        seen = dict.fromkeys(range(1, self._transport.processes), time.monotonic())
        looked = time.monotonic()
        while not self._stopping.wait(_BEAT_S):
            now = time.monotonic()
            if now - looked > 3 * _BEAT_S:  # this process stood still itself, and could hear nobody
                seen = dict.fromkeys(seen, now)
            looked = now
            for post in self._transport.poll(_CHANNEL):
                seen[int(post)] = now
            self._gone |= {process for process, at in seen.items() if now - at > _SILENT_S}
            if self._gone and self._is_bound():
                self._transport.publish(_GONE, json.dumps(sorted(self._gone)).encode())
                self._stopping.wait(_TOLD_S)
                self._lost(sorted(self._gone))
                return

    def _beat(self) -> None:
        while not self._stopping.wait(_BEAT_S / 2):
            self._transport.post(_CHANNEL, str(self._transport.process).encode())
            said = self._transport.lookup(_GONE, _BEAT_S / 2)
            if said is not None and self._is_bound():
                self._lost(json.loads(said))
                return
