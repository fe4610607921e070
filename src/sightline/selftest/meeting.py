"""Bringing together what the processes of a self-test have found, without a collective."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from sightline.selftest.result import Failed
from sightline.transports.base import Transport

_CHANNEL = "selftest.meeting"  # no channel may be a folder of another
_PAUSE_S = 0.005
_WAIT_S = 1.0


class Meeting:
    """All processes come to the same meetings, in the same order; who does not is not waited for again.

    Args:
        transport: between them.
        deadline: of all of it, on ``time.monotonic``.

    Attributes:
        absent: on process 0, who has not come to a meeting; and to which.
        present: who came to the last one, on all.
        gone: who is not waited for any longer; on process 0.
    """

    def __init__(self, transport: Transport, deadline: float) -> None:
        self.transport = transport
        self.absent: dict[int, str] = {}
        self.present: list[int] = list(range(transport.processes))
        self.gone: set[int] = set()
        self._deadline = deadline
        self._said: dict[str, dict[int, dict[str, Any]]] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all are there, so that a collective will not wait for ever."""
        return len(self.present) == self.transport.processes

    def left(self, most: float) -> float:
        """Seconds that a wait may take."""
        return max(0.1, min(most, self._deadline - time.monotonic()))

    def meet(
        self,
        name: str,
        mine: dict[str, Any],
        *,
        word: Callable[[], dict[str, Any]] | None = None,
        serve: Callable[[], None] | None = None,
        most: float = 15.0,
    ) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
        """Comes to a meeting.

        Args:
            name: of the meeting, once used.
            mine: what this process says.
            word: on process 0, what it says to all when they are there.
            serve: on process 0, called while it waits.
            most: seconds to wait for the others.

        Returns:
            What each process has said, on process 0 (else nothing), and process 0's word.

        Raises:
            Failed: off process 0, that has not answered.
        """
        if not self.transport.is_root:
            self.transport.post(_CHANNEL, json.dumps([name, self.transport.process, mine]).encode())
            said = self.hear(name, most + 5.0)
            self.present = list(said["present"])
            return {}, dict(said["word"])
        end = time.monotonic() + self.left(most)
        said_here = self._said.setdefault(name, {})
        said_here[0] = mine
        wanted = set(range(self.transport.processes)) - set(self.absent)
        while not wanted <= {*said_here, *self.gone} and time.monotonic() < end:
            if serve is not None:
                serve()
            for post in self.transport.poll(_CHANNEL):
                about, process, said = json.loads(post)
                self._said.setdefault(about, {})[process] = said
            time.sleep(_PAUSE_S)
        for process in sorted(wanted - set(said_here)):
            self.absent[process] = name
        self.present = sorted(set(said_here))
        spoken = word() if word is not None else {}
        self.tell(name, {"present": self.present, "word": spoken})
        return said_here, spoken

    def tell(self, name: str, what: dict[str, Any]) -> None:
        """Says something to all, once for each name."""
        self.transport.publish(f"{_CHANNEL}/{name}", json.dumps(what).encode())

    def hear(self, name: str, most: float) -> dict[str, Any]:
        """What was told under a name.

        Raises:
            Failed: nothing, in ``most`` seconds.
        """
        end = time.monotonic() + self.left(most)
        while True:
            found = self.transport.lookup(f"{_CHANNEL}/{name}", _WAIT_S)
            if found is not None:
                return dict(json.loads(found))
            if time.monotonic() > end:
                raise Failed(
                    f"process 0 did not answer ({name})",
                    "it has ended, or hangs",
                    "look at what process 0 says",
                )
