"""MLflow: metrics in batches, on a tracking server or in a database of the run directory.

Each commit's ``seq`` is a metric of its own, logged behind the commit's values and in one request with them.
The run on the server is found by a tag, so that neither a crash nor a request whose answer was lost makes a
second one; and what it holds is asked for whenever the sink is opened.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sightline.errors import ConfigurationError
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import SEQ, commits_in, flat, values_of
from sightline.sinks.extras import need
from sightline.sinks.lineage import Rewind, check_rewind
from sightline.sinks.names import Names
from sightline.sinks.once import Once
from sightline.sinks.settings import check_types
from sightline.support.redaction import redacted

if TYPE_CHECKING:
    from sightline.sinks.mlflow_stores import Point, Store, StoredRun

RUN_TAG = "sightline.run"  #: the tag by which the run is found again
_METRICS, _TAGS = 900, 100  # in one request: MLflow takes 1,000 things, and of these 100 tags or parameters
_LONGEST = {"param": 6000, "tag": 5000}  # characters of a value; parameters of older servers: 500
_STATUS = {"failed": "FAILED", "sigterm": "KILLED"}  # by the events of the journal


@dataclass(frozen=True)
class MLflowConfig:
    """Settings of the MLflow sink.

    Attributes:
        tracking_uri: of the server or database; None: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the run
            directory, which needs ``pip install mlflow``. Credentials belong into MLflow's environment
            variables.
        experiment: its name; None: ``MLFLOW_EXPERIMENT_NAME``, else ``sightline``.
        run_name: None: the name of the run directory.
        tags: of the run.
        timeout_s: how long a server may let a request wait.
        rewind: steps that a resumed run commits again: ``"continue"`` logs them too (MLflow keeps both
            values of a step, told apart by their time), ``"skip"`` leaves them out, and ``"fork"`` begins
            another MLflow run.
    """

    tracking_uri: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10.0
    rewind: Rewind = "continue"

    def __post_init__(self) -> None:
        check_types("mlflow", self)
        check_rewind("mlflow", self.rewind)
        if not self.timeout_s > 0:
            raise ConfigurationError(f"mlflow timeout_s={self.timeout_s!r}: expected a positive number")
        if not isinstance(self.tags, Mapping):
            raise ConfigurationError(f"mlflow tags={self.tags!r}: expected names and values")


class MLflowSink:
    """Logs to one MLflow run.

    The values of commits become metrics, texts become tags (the latest counts), and the run's configuration
    becomes parameters. Characters that MLflow refuses in a key become underscores. MLflow's telemetry is
    switched off (``MLFLOW_DISABLE_TELEMETRY``) unless the environment says something else.

    Args:
        config: where to, and how.

    Raises:
        ConfigurationError: without ``pip install 'sightline[mlflow]'``, or for a database without
            ``pip install mlflow``.
    """

    name = "mlflow"
    stores_at_close = False

    def __init__(self, config: MLflowConfig | None = None) -> None:
        self._config = config or MLflowConfig()
        self.rewind: Rewind = self._config.rewind
        need("mlflow", "mlflow", "sightline[mlflow]")
        self._uri = self._config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not self._uri or self._uri.partition(":")[0].partition("+")[0] in _DATABASES:
            need("mlflow", "sqlalchemy", "mlflow")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
        self.place: Path | None = None
        self._store: Store | None = None
        self._run = ""
        self._names = Names("mlflow", clean, taken=[SEQ])
        self._status = "FINISHED"
        self._once = Once("mlflow")

    def open(self, run: SinkRun) -> int:
        """Finds or makes the MLflow run; returns the ``seq`` of the last commit that it holds."""
        from sightline.sinks.mlflow_stores import store_at

        uri = self._uri or f"sqlite:///{run.dir.absolute() / 'mlflow.db'}"
        self.place = place_of(uri)
        self._store = store = store_at(uri, self._config.timeout_s)
        self._run, found = self._find_or_create(store, run)
        run.kept["run_id"] = self._run
        self._names = Names("mlflow", clean, taken=[SEQ], kept=run.kept.setdefault("names", {}))
        self._status = "FINISHED"
        store.set_status(self._run, "RUNNING", None)
        self._log_params(store, run.config, found.params if found else {})
        store.log(self._run, [], {}, {"sightline.attempt": str(run.attempt), "sightline": _facts(run)})
        return found.seq if found else 0

    def write(self, records: Sequence[Record]) -> None:
        """As few requests as can be; a commit's ``seq`` is in its last one."""
        assert self._store is not None
        for record in records:
            if record.get("type") == "event":
                self._status = _STATUS.get(str(record.get("event")), self._status)
        for points, tags in self._requests(commits_in(records)):
            self._store.log(self._run, points, {}, tags)

    def close(self) -> None:
        """The run has ended."""
        store, self._store = self._store, None
        if store is not None:
            store.set_status(self._run, self._status, _ms(time.time()))

    def _find_or_create(self, store: Store, run: SinkRun) -> tuple[str, StoredRun | None]:
        kept = run.kept.get("run_id")
        if kept and (found := store.get(kept)) and found.is_active:
            return kept, found
        identity = run.run_id + run.suffix
        experiment = store.experiment(
            self._config.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "sightline"
        )
        tagged = store.find(experiment, RUN_TAG, identity)
        if tagged and (found := store.get(tagged)) and found.is_active:
            return tagged, found
        name = self._config.run_name or run.name
        commit = (run.facts.get("git") or {}).get("commit")
        tags = {
            **({"mlflow.source.git.commit": commit} if commit else {}),
            **{str(key): str(value) for key, value in redacted(dict(self._config.tags)).items()},
            RUN_TAG: identity,
        }
        created = store.create(
            experiment, f"{name} fork{run.fork:02d}" if run.fork else name, tags, _ms(time.time())
        )
        return created, None

    def _log_params(self, store: Store, config: Any, stored: Mapping[str, str]) -> None:
        """Those that are not there yet; MLflow never changes one."""
        names = Names("mlflow", clean)
        params = {names[key]: str(value)[: _LONGEST["param"]] for key, value in flat(config)}
        changed = sorted(key for key in params.keys() & stored.keys() if params[key] != stored[key])
        if changed:
            self._once.warn(
                "changed", f"keeps the first values of parameters that have changed: {', '.join(changed)}"
            )
        new = iter([each for each in params.items() if each[0] not in stored])
        while some := dict(islice(new, _TAGS)):
            self._log_new(store, some)

    def _log_new(self, store: Store, params: dict[str, str]) -> None:
        """MLflow refuses all of a request for one of them."""
        from sightline.sinks.mlflow_stores import RefusedError

        try:
            store.log(self._run, [], params, {})
        except RefusedError as error:
            if len(params) == 1:
                (name,) = params
                self._once.warn(f"parameter {name}", f"refuses {name!r}, which is left out: {error}")
                return
            items = list(params.items())
            for half in (items[: len(items) // 2], items[len(items) // 2 :]):
                self._log_new(store, dict(half))

    def _requests(self, commits: Iterable[Record]) -> Iterator[tuple[list[Point], dict[str, str]]]:
        points: list[Point] = []
        tags: dict[str, str] = {}
        for commit in commits:
            more, texts = self._points(commit), self._tags(commit)
            if points and (len(points) + len(more) > _METRICS or len(tags.keys() | texts.keys()) > _TAGS):
                yield points, tags
                points, tags = [], {}
            points += more
            tags |= texts
            while len(tags) > _TAGS:  # one commit of very many
                yield [], dict(islice(tags.items(), _TAGS))
                tags = dict(islice(tags.items(), _TAGS, None))
            while len(points) > _METRICS:
                yield points[:_METRICS], {}
                points = points[_METRICS:]
        if points:
            yield points, tags

    def _points(self, commit: Record) -> list[Point]:
        from sightline.sinks.mlflow_stores import Point

        when, step, seq = _ms(commit["time"]), commit["step"], commit["seq"]
        points = [Point(self._names[key], value, when, step) for key, value in values_of(commit).items()]
        # Its step is the seq too: MLflow's "latest" value is the one of the highest step.
        return [*points, Point(SEQ, seq, when, seq)]

    def _tags(self, commit: Record) -> dict[str, str]:
        texts = commit.get("texts") or {}
        return {self._names[key]: text[: _LONGEST["tag"]] for key, text in texts.items()}


def place_of(uri: str) -> Path | None:
    """The file of a SQLite database; None for anything else.

    Example:
        >>> print(place_of("sqlite:///runs/mlflow.db"), place_of("http://127.0.0.1:5000"))
        runs/mlflow.db None
    """
    scheme, _, path = uri.partition(":///")
    return Path(path) if scheme == "sqlite" else None


_DATABASES = ("sqlite", "mysql", "postgresql", "mssql")
_BAD = re.compile(r"[^\w\-./ :]")


def clean(key: str) -> str:
    """A key with underscores for what MLflow takes in no name: other characters, dots or nothing as a part.

    Example:
        >>> clean("eval/pass@1"), clean("a/../b"), clean("https://host/")
        ('eval/pass_1', 'a/_/b', 'https:/_/host/_')
    """
    return "/".join("_" if part in ("", ".", "..") else part for part in _BAD.sub("_", key).split("/"))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _facts(run: SinkRun) -> str:
    """What the run was, cut to what a tag may hold."""
    return orjson.dumps(run.facts, default=str).decode()[: _LONGEST["tag"]]
