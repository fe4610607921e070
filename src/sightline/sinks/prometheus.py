"""Prometheus: an endpoint that shows the latest value of each key to whoever scrapes it."""

from __future__ import annotations

import logging
import re
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.errors import ConfigurationError
from sightline.sinks.base import Record
from sightline.sinks.commits import commits_in, values_of
from sightline.sinks.extras import need
from sightline.sinks.names import Names
from sightline.sinks.settings import check_types

log = logging.getLogger("sightline")

_PREFIX = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)?")
_BAD = re.compile(r"[^a-zA-Z0-9_]")
_OWN = {
    "step": "the step of the latest commit",
    "seq": "the number of the latest commit in the journal",
    "attempt": "how often the run has been started",
    "commit_time_seconds": "when the latest commit was made, in seconds since the epoch",
}
_LOOK_S = 0.1


@dataclass(frozen=True)
class PrometheusConfig:
    """Settings of the Prometheus sink.

    Attributes:
        host: the address to listen on. ``"0.0.0.0"`` shows the values to everyone who can reach the machine.
        port: 0: a free one, which is said in the log.
        prefix: of all names.
    """

    host: str = "127.0.0.1"
    port: int = 9464
    prefix: str = "sightline_"

    def __post_init__(self) -> None:
        check_types("prometheus", self)
        if not 0 <= self.port < 1 << 16:
            raise ConfigurationError(f"prometheus port={self.port!r}: expected 0 to 65535")
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigurationError(
                f"prometheus prefix={self.prefix!r}: expected letters, digits and underscores, no digit first"
            )


class PrometheusSink:
    """Answers scrapes of ``http://host:port/metrics``.

    Each key is a gauge that keeps its last value; its help text is the key. The labels are ``run`` (the run's
    id) and ``name`` (of the run directory). ``sightline_step``, ``_seq``, ``_attempt`` and
    ``_commit_time_seconds`` are those of the latest commit. Whatever is no letter, digit or underscore in a
    key becomes an underscore. What was committed before this attempt is not shown.

    Args:
        config: where to listen.

    Attributes:
        port: that it listens on.

    Raises:
        ConfigurationError: without ``pip install 'sightline[prometheus]'``, or if it cannot listen there.

    Example:
        >>> import sightline as sl, tempfile, urllib.request
        >>> sink = PrometheusSink(PrometheusConfig(port=0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[sink]) as run:
        ...         run.commit(7, {"train/loss": 0.5})
        ...         _ = run.flush()
        ...         page = urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics").read().decode()
        >>> [line.split()[-1] for line in page.splitlines() if line.startswith("sightline_train_loss{")]
        ['0.5']
    """

    name = "prometheus"

    def __init__(self, config: PrometheusConfig | None = None) -> None:
        config = config or PrometheusConfig()
        need("prometheus", "prometheus_client", "sightline[prometheus]")
        from sightline.sinks.prometheus_endpoint import Endpoint

        self._latest = _Latest(config.prefix)
        try:
            self._server = Endpoint(config.host, config.port, self._latest)
        except OSError as error:
            raise ConfigurationError(
                f"sink 'prometheus' cannot listen on {config.host}:{config.port}: {error}. Set another "
                f"prometheus.port (0: whichever is free)"
            ) from error
        self.port = self._server.server_port
        self._thread: threading.Thread | None = None
        self._give_up = weakref.finalize(self, self._server.server_close)  # if the run never begins

    def write(self, records: Sequence[Record]) -> None:
        """Takes the latest values; nothing can go wrong."""
        for record in records:
            if record.get("type") == "run":
                self._latest.labels = {"run": str(record["run_id"]), "name": str(record.get("name", ""))}
        for commit in commits_in(records):
            self._latest.take(commit)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(_LOOK_S,), name="sightline-prometheus", daemon=True
            )
            self._thread.start()
            log.info(
                "sightline: Prometheus may scrape http://%s:%d/metrics", self._server.server_name, self.port
            )

    def close(self) -> None:
        """Frees the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread = None
        self._give_up()


class _Latest:
    """What a scrape shows: a collector of prometheus_client."""

    def __init__(self, prefix: str) -> None:
        self.labels = {"run": "", "name": ""}
        self._prefix = prefix
        self._names = Names("prometheus", self._clean, longest=1000, taken=[prefix + own for own in _OWN])
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[str, float]] = {}  # by its name, a help text and a value

    def take(self, commit: Record) -> None:
        own = {
            "step": commit["step"],
            "seq": commit["seq"],
            "attempt": commit["attempt"],
            "commit_time_seconds": commit["time"],
        }
        with self._lock:
            self._shown.update({self._prefix + name: (_OWN[name], value) for name, value in own.items()})
            self._shown.update({self._names[key]: (key, value) for key, value in values_of(commit).items()})

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        with self._lock:
            shown = list(self._shown.items())
        for name, (about, value) in shown:
            family = GaugeMetricFamily(name, about, labels=list(self.labels))
            family.add_metric(list(self.labels.values()), value)
            yield family

    def _clean(self, key: str) -> str:
        name = self._prefix + _BAD.sub("_", key)
        return f"_{name}" if name[0].isdigit() else name
