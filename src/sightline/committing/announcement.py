"""What the root says of a run to the other processes, once: where it begins, or what keeps it from that."""

from __future__ import annotations

import itertools
import logging
from typing import NamedTuple

import orjson

from sightline.errors import RunDirectoryError, SightlineError
from sightline.transports.base import Transport

log = logging.getLogger("sightline")

_run_numbers = itertools.count()


class Begun(NamedTuple):
    """A run that begins.

    Attributes:
        run_id: its identity over all attempts.
        name: of its directory, which each process has below its own ``log_dir``.
        attempt: how often it was started, from 1.
        next_step: the first step of its loop.
    """

    run_id: str
    name: str
    attempt: int
    next_step: int


class Announcement:
    """Said by the root, heard by the others. By their number among those that several processes share, the
    announcements of the processes pair, so each makes one for every run.

    Args:
        transport: between the processes. With a collective one, saying and hearing are one exchange.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._name = f"run/{next(_run_numbers)}" if transport.processes > 1 else ""

    def say(self, begun: Begun) -> None:
        """That the run begins; whoever has heard it looks no further.

        Raises:
            TransportError: the store does not answer.
        """
        self._publish(orjson.dumps(begun._asdict()))

    def say_failure(self, error: BaseException) -> None:
        """That it does not: else the others would wait for it."""
        # Loads much, and only a run that fails needs it here.
        from sightline.committing.facts import without_secrets

        what = str(error) if isinstance(error, SightlineError) else f"{type(error).__name__}: {error}"
        try:
            self._publish(orjson.dumps({"error": without_secrets(what)}))
        except Exception:  # the first one is what counts
            log.exception("sightline: the other processes cannot be told that the run does not begin")

    def hear(self, timeout: float) -> Begun | None:
        """What the root has said, waiting up to ``timeout`` seconds; None: nothing yet.

        Raises:
            RunDirectoryError: the run does not begin.
            TransportError: the store does not answer.
        """
        transport = self._transport
        data = transport.exchange(b"")[0] if transport.collective else transport.lookup(self._name, timeout)
        if data is None:
            return None
        said = orjson.loads(data)
        if "error" in said:
            raise RunDirectoryError(f"the root cannot start the run: {said['error']}")
        return Begun(**said)

    def _publish(self, data: bytes) -> None:
        if self._transport.collective:
            self._transport.exchange(data)
        else:
            self._transport.publish(self._name, data)
