"""Before JAX: every process says hello to process 0, on the very port that JAX's coordinator will have.

JAX ends a process by abort when another one does not come, and does not say which. So this looks first, over
plain TCP, whether all reach that port, and names who does not.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from sightline.doctor.environment import is_loopback
from sightline.selftest.result import Failed

_HELLO = "sightline selftest"
_LINE_S = 5.0
_AGAIN_S = 0.2
_MOST_BYTES = 4096


class Place(NamedTuple):
    """A process's place in its job.

    Attributes:
        address: of the coordinator, ``host:port``.
        process, processes: which, of how many.
    """

    address: str
    process: int
    processes: int


def split(address: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        Failed: it is no address.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise Failed(f"the coordinator's address {address!r} is none", "", "give HOST:PORT of process 0")
    return host.strip("[]"), int(port)


def meet(place: Place, deadline: float) -> dict[int, str]:
    """Waits until all processes are there; returns their hosts, on process 0 of all, else of this one.

    Args:
        place: of this process.
        deadline: on ``time.monotonic``.

    Raises:
        Failed: not all came, or process 0 cannot be reached.
    """
    return _receive(place, deadline) if place.process == 0 else _go(place, deadline)


# --- process 0 ---------------------------------------------------------------------------------------------


def _receive(place: Place, deadline: float) -> dict[int, str]:
    guests = _Guests(place)
    with _listening(place.address) as server:
        while len(guests.here()) < place.processes - 1 and not guests.error:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            server.settimeout(min(left, 0.25))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            threading.Thread(target=guests.receive, args=(connection,), daemon=True).start()
        here = guests.here()
        absent = sorted(set(range(1, place.processes)) - set(here))
        guests.answer({"go": not absent and not guests.error, "absent": absent, "error": guests.error})
    if guests.error:
        raise Failed(guests.error, "", "one process for each index, all with the same number of processes")
    if absent:
        raise Failed(*_nobody(absent, place.processes))
    return {0: os.uname().nodename, **here}


def _nobody(absent: list[int], processes: int) -> tuple[str, str, str]:
    shown = ", ".join(map(str, absent[:16])) + (" and more" if len(absent) > 16 else "")
    return (
        f"process{'es' if len(absent) > 1 else ''} {shown} of {processes} never came",
        "not started, ended at once, or the coordinator's port cannot be reached from there",
        "look at the launcher's output of these processes; from their host: nc -vz COORDINATOR PORT",
    )


@contextlib.contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    host, port = split(address)
    bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", "")
    if bind:
        host = split(bind)[0]
    elif not is_loopback(host):
        host = ""  # all interfaces, as JAX has it
    if host == "localhost":
        host = "127.0.0.1"
    try:
        if host in ("", "::") and socket.has_dualstack_ipv6():
            server = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
            )
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            server = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise Failed(
            f"process 0 cannot listen on port {port}: {error.strerror}",
            "another program has it, perhaps an earlier job" if taken else "",
            f"choose another port, or find who has it: ss -ltnp | grep :{port}",
        ) from error
    with server:
        yield server


class _Guests:
    """The processes that have said hello, each with its connection, which it holds as long as it lives."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._known: dict[int, tuple[socket.socket, dict[str, Any]]] = {}
        self._all: list[socket.socket] = []
        self.error = ""

    def receive(self, connection: socket.socket) -> None:
        try:
            said = _read_line(connection, _LINE_S)
            process = said["process"]
            if said["what"] != _HELLO or not isinstance(process, int):
                raise ValueError(said)
        except (OSError, ValueError, LookupError, TypeError):
            return connection.close()  # somebody else's
        with self._lock:
            self._all.append(connection)
            if said["processes"] != self._place.processes:
                self.error = (
                    f"process {process} on {said['host']} says that there are {said['processes']} processes, "
                    f"and process 0 that there are {self._place.processes}"
                )
            elif process in self._known and self._lives(process):
                other = self._known[process][1]
                self.error = (
                    f"two processes say that they are process {process}: {other['pid']} on {other['host']}, "
                    f"and {said['pid']} on {said['host']}"
                )
            elif not 0 < process < self._place.processes:
                self.error = f"process {process} on {said['host']}: expected 1 to {self._place.processes - 1}"
            self._known.setdefault(process, (connection, said))
            if not self._lives(process):
                self._known[process] = connection, said
        return None

    def here(self) -> dict[int, str]:
        """Who is there, and has not gone; and its host."""
        with self._lock:
            return {p: said["host"] for p, (_, said) in self._known.items() if self._lives(p)}

    def _lives(self, process: int) -> bool:
        connection = self._known[process][0]
        try:
            connection.setblocking(False)
            return bool(connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def answer(self, what: dict[str, Any]) -> None:
        """Tells all, and waits until they have hung up: who does so first keeps no port busy."""
        with self._lock:
            for connection in self._all:
                with contextlib.suppress(OSError):
                    connection.settimeout(_LINE_S)
                    connection.sendall(json.dumps(what).encode() + b"\n")
            for connection in self._all:
                with contextlib.suppress(OSError):
                    connection.recv(1)
                connection.close()


# --- the others --------------------------------------------------------------------------------------------


def _go(place: Place, deadline: float) -> dict[int, str]:
    host, port = split(place.address)
    here = os.uname().nodename
    hello = {"what": _HELLO, "process": place.process, "processes": place.processes, "host": here,
             "pid": os.getpid()}  # fmt: skip
    trouble = "nobody answers"
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), min(_LINE_S, left)) as connection:
                connection.sendall(json.dumps(hello).encode() + b"\n")
                trouble = "who listens there does not answer as process 0 of a self-test does"
                said = _read_line(connection, deadline + _LINE_S - time.monotonic())
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.strerror:
                trouble = error.strerror
            time.sleep(_AGAIN_S)
            continue
        if said.get("go") is True:
            return {place.process: here}
        if said.get("error"):
            raise Failed(
                str(said["error"]), "", "one process for each index, with the same number of processes"
            )
        raise Failed(*_nobody(list(said.get("absent") or []), place.processes))
    raise Failed(
        f"process 0 cannot be reached at {place.address}: {trouble}",
        "process 0 has not started, the address is not its own, or a firewall is in between",
        f"nc -vz {host} {port} from here, while process 0 waits; on it: hostname -I",
    )


def _read_line(connection: socket.socket, timeout: float) -> dict[str, Any]:
    """One line of JSON, an object.

    Raises:
        OSError, ValueError: it did not come in time, or is none.
    """
    end = time.monotonic() + timeout
    data = b""
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.01, end - time.monotonic()))
        more = connection.recv(_MOST_BYTES)
        if not more or len(data) > _MOST_BYTES:
            raise ValueError("no line")
        data += more
    said = json.loads(data)
    if not isinstance(said, dict):
        raise ValueError(said)
    return said
