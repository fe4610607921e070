"""Serving a browser on this machine, and no page of anybody else's."""

from __future__ import annotations

import re
import shutil
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

ADDRESS = "127.0.0.1"
# The name alone tells whose page asks: the port of a browser's end of `ssh -L` is another.
_OURS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_NOT_OURS = (
    "Answered is who asks for 127.0.0.1, localhost or [::1], at any port, and comes from no page of another "
    "name: open this address under one of these names."
)


class Answer(NamedTuple):
    """What is at a path.

    Attributes:
        kind: its media type.
        body: itself, or the file that has it.
        tag: by which a browser knows it again, in quotes, so that whoever has it is not sent it; None: none.
        headers: others.
    """

    kind: str
    body: bytes | Path
    tag: str | None = None
    headers: Mapping[str, str] = {}


class LoopbackServer(ABC):
    """Answers requests for what :meth:`at` gives, on threads, from the end of ``__init__`` on.

    It listens on the loopback alone. A page of somebody else's may know the address all the same, and may
    even have a name that leads here: answered is who asks for a name of ours (127.0.0.1, localhost, [::1], at
    any port, which is another where it is forwarded), and comes from no page, from one of ours, or from one
    of the guest's.

    Args:
        port: to listen on; 0: any that is free.

    Attributes:
        guest: the origin whose pages may read the answers too; None: there is none.
        port: that it listens on.
        url: of the path ``/``.

    Raises:
        OSError: the port is taken.

    Example:
        >>> from urllib.request import urlopen
        >>> class Greeter(LoopbackServer):
        ...     def at(self, path):
        ...         return Answer("text/plain", b"hello") if path == "/" else None
        >>> server = Greeter(0)
        >>> with urlopen(server.url) as got:
        ...     got.read()
        b'hello'
        >>> server.close()
    """

    guest: str | None = None

    def __init__(self, port: int) -> None:
        self._server = _Server((ADDRESS, port), partial(_Handler, self))
        self.port = int(self._server.server_address[1])
        self.url = f"http://{ADDRESS}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @abstractmethod
    def at(self, path: str) -> Answer | None:
        """What is at a path, which begins with ``/``; None if nothing is."""

    def sent(self, path: str) -> None:  # noqa: B027 - not every server wants to know
        """Told when all of a body has been sent."""

    def welcomes(self, host: str | None, origin: str | None) -> bool:
        """Whether somebody is answered who asks for this host, from a page of that origin, if from any."""
        if host is None or not _OURS.fullmatch(host):
            return False
        scheme, _, page = (origin or "").partition("://")
        return origin in (None, self.guest) or (scheme == "http" and _OURS.fullmatch(page) is not None)

    def wait(self) -> None:
        """Until it is interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Serves no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a browser may leave whenever it likes
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server_version = "sightline"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def __init__(self, serving: LoopbackServer, *args: Any) -> None:
        self._serving = serving
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_OPTIONS(self) -> None:
        """A browser asks whether a page of the guest's may ask."""
        if self._serving.guest is None:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
        elif self._is_welcome():
            self.send_response(HTTPStatus.NO_CONTENT)
            self.send_header("Access-Control-Allow-Methods", "GET, HEAD")
            self.send_header("Access-Control-Allow-Headers", "*")
            self.send_header("Access-Control-Allow-Private-Network", "true")
            self._end_headers()

    def _is_welcome(self) -> bool:
        if self._serving.welcomes(self.headers.get("Host"), self.headers.get("Origin")):
            return True
        self.send_error(HTTPStatus.FORBIDDEN, explain=_NOT_OURS)
        return False

    def _answer(self, *, with_body: bool) -> None:
        if not self._is_welcome():
            return
        path = unquote(urlsplit(self.path).path)
        found = self._serving.at(path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        if found.tag is not None and self.headers.get("If-None-Match") == found.tag:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", found.tag)
            self._end_headers()
            return
        if isinstance(found.body, bytes):
            self._head(found, len(found.body))
            if with_body:
                self.wfile.write(found.body)
        else:
            with open(found.body, "rb") as file:
                self._head(found, found.body.stat().st_size)
                if with_body:
                    shutil.copyfileobj(file, self.wfile, 1 << 20)
        if with_body:
            self.wfile.flush()
            self._serving.sent(path)

    def _head(self, found: Answer, size: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "no-store")
        if found.tag is not None:
            self.send_header("ETag", found.tag)
        for name, value in found.headers.items():
            self.send_header(name, value)
        self._end_headers()

    def _end_headers(self) -> None:
        if self._serving.guest is not None:
            self.send_header("Access-Control-Allow-Origin", self._serving.guest)
            self.send_header("Vary", "Origin")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: whoever serves has a terminal of their own."""
