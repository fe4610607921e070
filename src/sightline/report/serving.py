"""The page while its run goes on, served from this machine to this machine."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from sightline.errors import ConfigurationError, SightlineError
from sightline.report.gathering import Gathered, Runs
from sightline.report.one_file import page

log = logging.getLogger("sightline")

_LOOPBACK = "127.0.0.1"
_REST = 10  # times as long as gathering took, between two of them: a tenth of one core at most
_LEAST_S = 1.0


class ReportServer:
    """Serves the report of some runs on the loopback: the page, and its data as it becomes more.

    Args:
        runs: to be shown.
        port: to listen on; 0: any that is free.

    Attributes:
        url: to be opened in a browser.

    Raises:
        ConfigurationError: the port is taken, or the plotting library is not installed.
    """

    def __init__(self, runs: Runs, *, port: int = 0) -> None:
        self._runs = runs
        self._lock = threading.Lock()
        runs.update()
        start = time.monotonic()
        self.found = runs.gather()
        self._next = time.monotonic() + max(_LEAST_S, _REST * (time.monotonic() - start))
        self._tag = _tag(self.found)
        self.page = page(self.found.names, None)
        try:
            self._server = _Server((_LOOPBACK, port), partial(_Handler, self))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of {_LOOPBACK} cannot be had ({error.strerror}): expected a free one, or none"
            ) from error
        self.port = int(self._server.server_address[1])
        self.hosts = {f"{name}:{self.port}" for name in (_LOOPBACK, "localhost")}
        self.url = f"http://{_LOOPBACK}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def data(self) -> tuple[bytes, str]:
        """What there is now, and its tag; made anew at most once a second."""
        with self._lock:
            if time.monotonic() >= self._next:
                start = time.monotonic()
                try:
                    if self._runs.update():
                        self.found = self._runs.gather()
                        self._tag = _tag(self.found)
                except (OSError, SightlineError) as error:  # as while files are moved: the last one stays
                    log.warning("sightline report: %s", error)
                self._next = time.monotonic() + max(_LEAST_S, _REST * (time.monotonic() - start))
            return self.found.data, self._tag

    def wait(self) -> None:
        """Until it is interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Serves no more."""
        self._server.shutdown()
        self._server.server_close()


def _tag(found: Gathered) -> str:
    return f'"{hashlib.blake2b(found.data, digest_size=12).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    server_version = "sightline"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def __init__(self, serving: ReportServer, *args: object) -> None:
        self._serving = serving
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        origin = self.headers.get("Origin")
        own = {f"http://{host}" for host in self._serving.hosts}
        # A page of somebody else's may have a name that leads here: the name that it asks for must be ours.
        if self.headers.get("Host", "") not in self._serving.hosts or (
            origin is not None and origin not in own
        ):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        path = urlsplit(self.path).path
        if path == "/":
            self._send(self._serving.page, "text/html; charset=utf-8", None, with_body)
        elif path == "/data":
            data, tag = self._serving.data()
            if self.headers.get("If-None-Match") == tag:
                self.send_response(HTTPStatus.NOT_MODIFIED)
                self.send_header("ETag", tag)
                self.end_headers()
            else:
                self._send(data, "application/octet-stream", tag, with_body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send(self, body: bytes, kind: str, tag: str | None, with_body: bool) -> None:
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("Referrer-Policy", "no-referrer")
            if tag is not None:
                self.send_header("ETag", tag)
            self.end_headers()
            if with_body:
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass
