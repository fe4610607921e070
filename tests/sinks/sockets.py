"""Servers as they fail: one that refuses, one that never answers, one that answers with an error or so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from tests.harness import free_port

Trouble = Literal["refuses", "hangs", "answers 500"]
TROUBLES: tuple[Trouble, ...] = ("refuses", "hangs", "answers 500")

_ANSWER = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"


@contextmanager
def bad_server(trouble: Trouble, answer: bytes = _ANSWER) -> Iterator[tuple[int, list[bytes]]]:
    """The port of such a server, and the beginnings of the requests that have come.

    Args:
        trouble: what is wrong.
        answer: what it sends, if it answers.
    """
    port, came = free_port(), []  # type: ignore[var-annotated]
    if trouble == "refuses":
        yield port, came
        return
    listener = socket.create_server(("127.0.0.1", port))
    open_ones: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):  # closed below
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                came.append(connection.recv(1 << 16))
                if trouble == "answers 500":
                    connection.sendall(answer)
                    connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield port, came
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            connection.close()
        thread.join(10)
