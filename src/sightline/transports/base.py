"""What a transport is: how bytes get from every process to the root."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sightline.errors import TransportError


class Transport(ABC):
    """Moves small byte strings from all processes to process 0, and announcements the other way.

    Posting may block, and is done by background threads, of which each has channels of its own. Posts of one
    process on one channel arrive in their order. Process 0, the root, does not post: what it has is there
    already.

    Attributes:
        process: this process's index, from 0.
        processes: how many there are.
        collective: True if bytes move by :meth:`exchange`, which all processes call together on their main
            threads, instead of by :meth:`post` and :meth:`poll`.
    """

    process: int
    processes: int
    collective: bool = False

    @property
    def is_root(self) -> bool:
        """Whether this is the process that merges, and writes the journal."""
        return self.process == 0

    @abstractmethod
    def post(self, channel: str, payload: bytes) -> None:
        """Sends to the root; off the root only. May block.

        Raises:
            TransportError: the store does not answer.
        """

    @abstractmethod
    def poll(self, channel: str) -> list[bytes]:
        """Takes what has arrived, on the root; never blocks for others.

        Raises:
            TransportError: the store does not answer.
        """

    @abstractmethod
    def publish(self, name: str, value: bytes) -> None:
        """Says something to all, once for each name: the root, or where it is asked something, a process."""

    @abstractmethod
    def lookup(self, name: str, timeout: float) -> bytes | None:
        """What was published under a name, waiting up to ``timeout`` seconds; None if nothing."""

    def retract(self, name: str) -> None:  # noqa: B027 - forgetting is optional
        """Forgets a published name."""

    def exchange(self, payload: bytes) -> Sequence[bytes]:
        """All processes' payloads, on all, in the order of the processes; of a ``collective`` transport only.

        Raises:
            TransportError: this transport is not collective.
        """
        raise TransportError(
            f"{type(self).__name__} is not collective and has no exchange: it moves bytes by post and poll"
        )
