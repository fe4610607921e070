"""The page while its run goes on, served from this machine to this machine."""

from __future__ import annotations

import hashlib
import logging
import threading
import time

from sightline.errors import ConfigurationError, SightlineError
from sightline.report.gathering import Gathered, Runs
from sightline.report.one_file import page
from sightline.support.loopback import ADDRESS, Answer, LoopbackServer

log = logging.getLogger("sightline")

_REST = 10  # times as long as gathering took, between two of them: a tenth of one core at most
_LEAST_S = 1.0
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class ReportServer(LoopbackServer):
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
            super().__init__(port)
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of {ADDRESS} cannot be had ({error.strerror}): expected a free one, or none"
            ) from error

    def at(self, path: str) -> Answer | None:
        if path == "/":
            return Answer("text/html; charset=utf-8", self.page, headers=_HEADERS)
        if path == "/data":
            data, tag = self.data()
            return Answer("application/octet-stream", data, tag, _HEADERS)
        return None

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


def _tag(found: Gathered) -> str:
    return f'"{hashlib.blake2b(found.data, digest_size=12).hexdigest()}"'
