"""The default transport under JAX: the key-value store of the coordination service that JAX already runs."""

from __future__ import annotations

import os
import time

from sightline.errors import TransportError
from sightline.jax import calls
from sightline.jax.distributed import Client
from sightline.transports.base import Transport


class JaxStoreTransport(Transport):
    """Posts each payload under a key of its own; the root reads the directory and deletes what it has read.

    Keys are ``sl/<channel>/<process>.<incarnation>.<seq>``. The incarnation is random, so that a process that
    was restarted under the same index never meets its own old keys; no key is written twice. Threads may use
    different channels at the same time.

    Args:
        client: JAX's coordination client (see :mod:`sightline.jax.distributed`).
        process, processes: this process's place.
    """

    def __init__(self, client: Client, process: int, processes: int) -> None:
        self.process = process
        self.processes = processes
        self._client = client
        self._incarnation = os.urandom(4).hex()
        self._seq: dict[str, int] = {}  # of the next post, by channel
        # On the root, by channel: the order in which incarnations were first seen, and the last seq of each.
        self._incarnations: dict[str, dict[str, int]] = {}
        self._taken: dict[str, dict[tuple[int, int], int]] = {}

    def post(self, channel: str, payload: bytes) -> None:
        seq = self._seq.get(channel, 0)
        key = f"sl/{channel}/{self.process}.{self._incarnation}.{seq}"
        try:
            with calls.CALLS.one():
                self._client.key_value_set_bytes(key, payload)
        except RuntimeError as error:
            # A key that exists is an earlier try that arrived, and only its answer was lost.
            if "ALREADY_EXISTS" not in str(error):
                raise TransportError(f"posting {len(payload)} bytes as {key} failed: {error}") from error
        self._seq[channel] = seq + 1

    def poll(self, channel: str) -> list[bytes]:
        try:
            with calls.CALLS.one():
                entries = self._client.key_value_dir_get_bytes(f"sl/{channel}/")
            below = len(f"sl/{channel}/")
            entries = [(key, value) for key, value in entries if "/" not in key[below:]]  # of this one alone
        except RuntimeError as error:
            raise TransportError(f"reading the posts of {channel} failed: {error}") from error
        taken = []
        last = self._taken.setdefault(channel, {})
        order = self._incarnations.setdefault(channel, {})
        for (process, incarnation, seq), key, payload in sorted((_place(k, order), k, v) for k, v in entries):
            if seq > last.get((process, incarnation), -1):  # else read before, and not deleted then
                last[process, incarnation] = seq
                taken.append(payload)
            try:
                # One by one: deleting the directory would lose what has arrived since the read.
                with calls.CALLS.one():
                    self._client.key_value_delete(key)
            except (RuntimeError, TransportError):
                pass  # it stays, and is known as taken at the next poll
        return taken

    def publish(self, name: str, value: bytes) -> None:
        try:
            with calls.CALLS.one():
                self._client.key_value_set_bytes(f"sl/@/{name}", value)
        except RuntimeError as error:
            raise TransportError(f"publishing {name} failed: {error}") from error

    def lookup(self, name: str, timeout: float) -> bytes | None:
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                with calls.CALLS.one():
                    return self._client.blocking_key_value_get_bytes(
                        f"sl/@/{name}", max(1, int(1000 * min(left, calls.SLICE_S)))
                    )
            except RuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise TransportError(f"waiting for {name} failed: {error}") from error
            if left <= calls.SLICE_S:
                return None

    def retract(self, name: str) -> None:
        try:
            with calls.CALLS.one():
                self._client.key_value_delete(f"sl/@/{name}")
        except RuntimeError as error:
            raise TransportError(f"deleting {name} failed: {error}") from error


def _place(key: str, order: dict[str, int]) -> tuple[int, int, int]:
    """Process, the place of its incarnation among those that were seen, and seq."""
    name = key.rpartition("/")[2]
    try:
        process, incarnation, seq = name.split(".")
        place = int(process), int(seq)
    except ValueError:
        # A key of somebody else's: a place of its own, and whoever reads the payload says so.
        process, incarnation, place = "", name, (-1, 0)
    return place[0], order.setdefault(f"{process}.{incarnation}", len(order)), place[1]
