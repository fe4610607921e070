"""Where MLflow keeps runs: a tracking server, called within a time limit of ours, or what its client reaches.

MLflow's client has its time limit and its retries (two minutes, seven times) from environment variables,
which hold for the whole process: a server that hangs would hold the sink's thread for a quarter of an hour,
and changing them would change the program's own use of MLflow. A server's REST calls are therefore made one
by one, through MLflow's own request function (which knows its authentication), and tried once: the sink's
reader tries again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from sightline.sinks.commits import SEQ


class Point(NamedTuple):
    """One value of a metric; ``time`` in ms since the epoch."""

    key: str
    value: float
    time: int
    step: int


class StoredRun(NamedTuple):
    """What is known of a run.

    Attributes:
        is_active: it has not been deleted.
        seq: of the last commit that it holds.
        params: its parameters.
    """

    is_active: bool
    seq: int
    params: dict[str, str]


class RefusedError(Exception):
    """The store does not take what it was given, however often it is given."""


class NotThereError(Exception):
    """The store says that it has no such thing."""


class Store(Protocol):
    """The calls that the sink makes."""

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is made if there is none."""

    def find(self, experiment: str, tag: str, value: str) -> str | None:
        """The id of the newest run with a tag."""

    def create(self, experiment: str, name: str, tags: Mapping[str, str], time: int) -> str:
        """A new run."""

    def get(self, run: str) -> StoredRun | None:
        """None: there is no such run."""

    def log(
        self, run: str, metrics: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Stores all of it."""

    def set_status(self, run: str, status: str, time: int | None) -> None:
        """RUNNING, or how it ended and when."""


def store_at(uri: str, timeout_s: float) -> Store:
    """The store of a tracking URI."""
    return Server(uri, timeout_s) if uri.startswith(("http://", "https://")) else Client(uri)


class Server:
    """A tracking server, by its REST interface (version 2.0).

    Args:
        uri: of the server.
        timeout_s: for connecting, and for every pause in the answer.
    """

    def __init__(self, uri: str, timeout_s: float) -> None:
        self._rest: Any = import_module("mlflow.utils.rest_utils")
        credentials: Any = import_module("mlflow.utils.credentials")
        self._credentials = credentials.get_default_host_creds(uri)
        self._timeout_s = timeout_s

    def experiment(self, name: str) -> str:
        try:
            found = self._get("experiments/get-by-name", "experiment", experiment_name=name)
        except NotThereError:
            return str(self._post("experiments/create", name=name)["experiment_id"])
        return str(found["experiment_id"])

    def find(self, experiment: str, tag: str, value: str) -> str | None:
        answer = self._post(
            "runs/search",
            experiment_ids=[experiment],
            filter=_with_tag(tag, value),
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        runs = answer.get("runs") or []
        return str(runs[0]["info"]["run_id"]) if runs else None

    def create(self, experiment: str, name: str, tags: Mapping[str, str], time: int) -> str:
        answer = self._post(
            "runs/create", experiment_id=experiment, run_name=name, start_time=time, tags=_pairs(tags)
        )
        return str(answer["run"]["info"]["run_id"])

    def get(self, run: str) -> StoredRun | None:
        try:
            found = self._get("runs/get", "run", run_id=run)
        except NotThereError:
            return None
        data = found.get("data") or {}
        return StoredRun(
            found["info"].get("lifecycle_stage") != "deleted",
            max((int(each["value"]) for each in data.get("metrics") or () if each["key"] == SEQ), default=0),
            {each["key"]: each.get("value", "") for each in data.get("params") or ()},
        )

    def log(
        self, run: str, metrics: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        points = [
            {"key": each.key, "value": _json_number(each.value), "timestamp": each.time, "step": each.step}
            for each in metrics
        ]
        self._post("runs/log-batch", run_id=run, metrics=points, params=_pairs(params), tags=_pairs(tags))

    def set_status(self, run: str, status: str, time: int | None) -> None:
        self._post("runs/update", run_id=run, status=status, **({} if time is None else {"end_time": time}))

    def _get(self, what: str, part: str, **arguments: Any) -> dict[str, Any]:
        """A part of the answer. Raises NotThereError where the server says that there is no such thing."""
        answer = self._call("GET", what, params=arguments)
        found = answer.get(part)
        if not isinstance(found, dict):
            raise ConnectionError(f"{what}: expected an answer with {part!r}, got {answer!r:.100}")
        return found

    def _post(self, what: str, **arguments: Any) -> dict[str, Any]:
        return self._call("POST", what, json=arguments)

    def _call(self, method: str, what: str, **arguments: Any) -> dict[str, Any]:
        from mlflow.exceptions import RestException

        endpoint = f"/api/2.0/mlflow/{what}"
        response = self._rest.http_request(
            self._credentials, endpoint, method,
            max_retries=0, timeout=self._timeout_s, raise_on_status=False, **arguments,
        )  # fmt: skip
        try:
            self._rest.verify_rest_response(response, endpoint)
        except RestException as error:
            raise _plainer(error) from error
        answer = response.json()
        if not isinstance(answer, dict):
            raise ConnectionError(f"{endpoint}: expected a JSON object, got {answer!r:.100}")
        return answer


class Client:
    """Whatever MLflow's own client reaches: a database, a folder, Databricks."""

    def __init__(self, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(uri)

    def experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def find(self, experiment: str, tag: str, value: str) -> str | None:
        runs = self._client.search_runs(
            [experiment], _with_tag(tag, value), max_results=1, order_by=["attributes.start_time DESC"]
        )
        return str(runs[0].info.run_id) if runs else None

    def create(self, experiment: str, name: str, tags: Mapping[str, str], time: int) -> str:
        run = self._client.create_run(experiment, run_name=name, tags=dict(tags), start_time=time)
        return str(run.info.run_id)

    def get(self, run: str) -> StoredRun | None:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run)
        except MlflowException as error:
            if isinstance(_plainer(error), NotThereError):
                return None
            raise
        is_active = found.info.lifecycle_stage != "deleted"
        return StoredRun(is_active, int(found.data.metrics.get(SEQ, 0)), dict(found.data.params))

    def log(
        self, run: str, metrics: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(
                run,
                [Metric(*each) for each in metrics],
                [Param(*each) for each in params.items()],
                [RunTag(*each) for each in tags.items()],
            )
        except MlflowException as error:
            raise _plainer(error) from error

    def set_status(self, run: str, status: str, time: int | None) -> None:
        if time is None:
            self._client.update_run(run, status=status)
        else:
            self._client.set_terminated(run, status, time)


def _with_tag(tag: str, value: str) -> str:
    return f"tags.`{tag}` = '{value}'"


def _pairs(mapping: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


def _json_number(value: float) -> float | str:
    """As the JSON of protocol buffers has it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plainer(error: Any) -> Exception:
    """MLflow's error by what can be done about it."""
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return NotThereError(str(error))
    if error.error_code == "INVALID_PARAMETER_VALUE":
        return RefusedError(str(error))
    return ConnectionError(str(error))
