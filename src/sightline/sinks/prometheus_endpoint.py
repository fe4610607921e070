"""The HTTP server of the Prometheus sink: prometheus_client's answers, from a socket of our own."""

from __future__ import annotations

import os
import socket
import socketserver
import weakref
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler

_SLOW_CLIENT_S = 10.0


class Endpoint(ThreadingHTTPServer):
    """Listens from its construction on, and answers once it serves. A forked child lets the port go.

    Args:
        host, port: where to listen.
        collector: gives what is shown.

    Raises:
        OSError: the address is taken, or is none of this machine's.
    """

    daemon_threads = True  # a scraper that is slow holds up neither others nor the end of the program

    def __init__(self, host: str, port: int, collector: Any) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        handler: Any = MetricsHandler.factory(registry)
        handler.timeout = _SLOW_CLIENT_S
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        super().__init__((str(address[0]), port), handler)
        _listening.add(self)

    def server_bind(self) -> None:
        """Without looking up the name of the host, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


_listening: weakref.WeakSet[Endpoint] = weakref.WeakSet()


def _close_in_child() -> None:
    # A data loader's worker that outlives its parent must not keep the port from the next attempt.
    for endpoint in list(_listening):
        endpoint.socket.close()


os.register_at_fork(after_in_child=_close_in_child)
