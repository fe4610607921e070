"""The explicit alternative: ``process_allgather`` at every commit, a collective of all processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.transports.base import Transport


class AllgatherTransport(Transport):
    """Gathers snapshots with ``jax.experimental.multihost_utils.process_allgather``.

    For jobs without a coordination client. It holds the training thread at every commit, and all processes
    must commit the same steps in the same order on their main threads, or the job hangs: the price of a
    device collective. Starts JAX's back end.
    """

    collective = True

    def __init__(self) -> None:
        import jax

        self.process = jax.process_index()
        self.processes = jax.process_count()

    def exchange(self, payload: bytes) -> Sequence[bytes]:
        from jax.experimental import multihost_utils

        # Two gathers of equal shapes: the lengths, then the padded bytes. Bytes and int32 pass unchanged;
        # float64 would arrive as float32.
        lengths = np.asarray(multihost_utils.process_allgather(np.array([len(payload)], np.int32))).ravel()
        padded = np.zeros(int(lengths.max()), np.uint8)
        padded[: len(payload)] = np.frombuffer(payload, np.uint8)
        gathered = np.asarray(multihost_utils.process_allgather(padded)).reshape(self.processes, -1)
        return [gathered[p, :n].tobytes() for p, n in enumerate(lengths.tolist())]

    def post(self, channel: str, payload: bytes) -> None:
        raise AssertionError("a collective transport exchanges; it does not post")

    def poll(self, channel: str) -> list[bytes]:
        return []

    def publish(self, name: str, value: bytes) -> None:
        pass

    def lookup(self, name: str, timeout: float) -> bytes | None:
        return None
