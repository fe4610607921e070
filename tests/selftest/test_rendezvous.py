"""Saying hello to process 0 before JAX: all who come go on together, and who does not is named."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from sightline.selftest.rendezvous import Place, meet, split
from sightline.selftest.result import Failed
from tests.harness import free_port


def together(*processes: int, of: int, patience_s: float = 20.0) -> dict[int, object]:
    """Each process in a thread of its own; what came of it."""
    address = f"127.0.0.1:{free_port()}"
    found: dict[int, object] = {}

    def one(process: int) -> None:
        try:
            found[process] = meet(Place(address, process, of), time.monotonic() + patience_s)
        except Failed as failed:
            found[process] = failed

    threads = [threading.Thread(target=one, args=(process,)) for process in processes]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found


def test_all_who_come_go_on() -> None:
    """Process 0 knows their hosts, and its port is free afterwards."""
    found = together(3, 1, 0, 2, of=4)
    here = socket.gethostname()
    assert found[0] == dict.fromkeys(range(4), here)
    assert found[3] == {3: here}


def test_who_does_not_come_is_named_to_all() -> None:
    found = together(0, 2, of=4, patience_s=2.0)
    assert {str(each) for each in found.values()} == {"processes 1, 3 of 4 never came"}


def test_who_came_and_went_has_not_come() -> None:
    address = f"127.0.0.1:{free_port()}"
    ended: list[object] = []

    def root() -> None:
        try:
            meet(Place(address, 0, 3), time.monotonic() + 4.0)
        except Failed as failed:
            ended.append(str(failed))

    thread = threading.Thread(target=root)
    thread.start()
    reached(lambda: socket.create_connection(split(address), 1.0)).close()
    with reached(lambda: socket.create_connection(split(address), 1.0)) as gone:
        gone.sendall(b'{"what": "sightline selftest", "process": 1, "processes": 3, "host": "a", "pid": 1}\n')
    with reached(lambda: socket.create_connection(split(address), 1.0)) as other:
        other.sendall(b"GET / HTTP/1.1\r\n\r\n")
        thread.join()
    assert ended == ["processes 1, 2 of 3 never came"]


def reached(connect: Callable[[], socket.socket]) -> socket.socket:
    end = time.monotonic() + 20.0
    while True:
        try:
            return connect()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:port", "host:70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Failed, match="is none"):
        split(address)
    assert split("[::1]:8476") == ("::1", 8476)
