"""What MLflow's client finds on a real server is what the journal says, after crashes and outages too."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.tracking import MlflowClient

import sightline as sl
from sightline.sinks.commits import values_of
from sightline.sinks.mlflow import MLflowSink
from tests.harness import free_port, until
from tests.sinks import attempts
from tests.sinks.attempts import attempt, commits, kill_and_go_on, rewound, settings, start
from tests.sinks.readers.mlflow import runs_of, seqs, shown
from tests.sinks.sockets import TROUBLES, Trouble, bad_server

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own


class Server:
    """MLflow's server, as its command starts it, with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "log.txt", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env={**os.environ, **off}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        until(self._answers, "MLflow's server")

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # the group of the process started here
        self._process.wait()

    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log.txt").read_text()
        try:
            return requests.get(f"{self.uri}/health", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow-server"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.05, 0.5))


def logger_to(server: Server, experiment: Path, **its: Any) -> sl.StatsLoggerConfig:
    """To an experiment named after a test's folder."""
    return settings("mlflow", tracking_uri=server.uri, experiment=experiment.name, **its)


def test_mlflow_has_every_value_of_the_journal(server: Server, tmp_path: Path) -> None:
    """Infinite values become the largest finite ones, as MLflow's databases keep them."""
    config = {"lr": 1e-3, "model": {"width": 8, "heads": [1, 2]}}
    logger = logger_to(server, tmp_path, tags={"team": "rl"})
    with start(tmp_path, logger, config=config) as run:
        for step in run.steps(7):
            sl.scalar(**{"loss": step / 8, "eval/pass@1": step, "odd": attempts.ODD[step % 6]})
            sl.text(split=f"part {step}")
            run.commit(step)
    client = server.client()
    (found,) = runs_of(client, tmp_path)
    largest = sys.float_info.max
    for key in commits(run.dir)[0]["values"]:
        name = {"eval/pass@1": "eval/pass_1"}.get(key, key)
        expected = [
            (step, max(-largest, min(value, largest)) if not math.isnan(value) else value)
            for step, value in attempts.series(run.dir, key)
        ]
        assert attempts.same(shown(client, found, name), expected), key
    assert seqs(client, found) == list(range(1, 8))
    assert found.data.params == {"lr": "0.001", "model.width": "8", "model.heads": "[1, 2]"}
    tags = found.data.tags
    assert (tags["team"], tags["split"], tags["sightline.attempt"]) == ("rl", "part 6", "1")
    assert found.info.run_name == "run"
    assert found.info.status == "FINISHED"


def test_a_commit_of_thousands_of_values_is_stored_whole(server: Server, tmp_path: Path) -> None:
    """MLflow takes a thousand in one request."""
    with start(tmp_path, logger_to(server, tmp_path)) as run:
        for step in range(2):
            texts = {f"note_{i}": f"{step}" for i in range(150)}
            run.commit(step, {f"many/k{i}": float(i + step) for i in range(2500)} | texts)
    client = server.client()
    (found,) = runs_of(client, tmp_path)
    assert {key: value for key, value in found.data.metrics.items() if key.startswith("many/")} == {
        f"many/k{i}": float(i + 1) for i in range(2500)
    }
    assert [found.data.tags[f"note_{i}"] for i in range(150)] == ["1"] * 150
    assert shown(client, found, "many/k2499") == [(0, 2499.0), (1, 2500.0)]
    assert seqs(client, found) == [1, 2]


def test_keys_that_would_get_one_name_are_told_apart_in_every_attempt(server: Server, tmp_path: Path) -> None:
    with attempts.warnings_said() as said:
        for step, order in enumerate((("a@1", "a_1"), ("a_1", "a@1"))):
            with start(tmp_path, logger_to(server, tmp_path)) as run:
                run.commit(step, {key: {"a@1": 1.0, "a_1": 2.0}[key] for key in order})
    client = server.client()
    (found,) = runs_of(client, tmp_path)
    assert shown(client, found, "a_1") == [(0, 1.0), (1, 1.0)]
    (other,) = [key for key in found.data.metrics if key.startswith("a_1_")]
    assert shown(client, found, other) == [(0, 2.0), (1, 2.0)]
    assert any(f"shows 'a_1' as {other!r}, since 'a@1' has its name" in each for each in said)


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.long)])
def test_killed_runs_have_every_commit_once(kills: int, server: Server, tmp_path: Path) -> None:
    client = server.client()

    def stored() -> int:
        return max(
            (int(run.data.metrics.get("sightline/seq", 0)) for run in runs_of(client, tmp_path)), default=0
        )

    its = {"tracking_uri": server.uri, "experiment": tmp_path.name}
    run = kill_and_go_on(tmp_path, kills, {"sinks": ["mlflow"], "mlflow": its}, stored)
    (found,) = runs_of(client, tmp_path)
    assert seqs(client, found) == [each["seq"] for each in commits(run)]
    for key in ("loss", "lr"):
        assert attempts.same(shown(client, found, key), attempts.series(run, key))


def test_a_server_that_is_gone_for_a_while_has_every_commit_once_afterwards(
    server: Server, tmp_path: Path
) -> None:
    with start(tmp_path, logger_to(server, tmp_path, timeout_s=2)) as run:
        for step in run.steps(150):
            sl.scalar(loss=step / 8)
            run.commit(step)
            if step == 50:
                assert run.flush()
                server.stop()
            elif step == 100:
                assert not run.flush(1)
                server.start()
        until(lambda: run.flush(1), "the rest")
    client = server.client()
    (found,) = runs_of(client, tmp_path)
    assert seqs(client, found) == list(range(1, 151))
    assert attempts.same(shown(client, found, "loss"), attempts.series(run.dir, "loss"))
    errors = [values_of(each).get("obs/sink/mlflow/errors", 0) for each in commits(run.dir)]
    assert sum(errors) > 0


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_server_in_trouble_costs_training_nothing(trouble: Trouble, tmp_path: Path) -> None:
    """Commits return, the journal and another sink have all of them, and finish returns."""
    with bad_server(trouble) as (port, came), attempts.warnings_said() as said:
        its = {"tracking_uri": f"http://127.0.0.1:{port}", "timeout_s": 0.5}
        logger = sl.StatsLoggerConfig.from_dict(
            {"sinks": ["mlflow", "jsonl"], "mlflow": its, "naming": "off"}
        )
        with start(tmp_path, logger) as run:
            for step in run.steps(20):
                sl.scalar(loss=step)
                run.commit(step)
            until(lambda: any("sink mlflow fails" in each for each in said), "the first failure")
            run.finish(timeout=2)
        assert trouble == "refuses" or came[0].startswith(b"GET /api/2.0/mlflow/experiments/get-by-name")
    assert len(commits(run.dir)) == 20
    assert len((run.dir / "rows.jsonl").read_text().splitlines()) == 20
    assert any("sink mlflow was left 20 commits behind" in each for each in said)
    assert any("sightline sync" in each for each in said)


@pytest.mark.parametrize("body", [b"{}", b'{"run": null}', b'{"experiment": 1}'])
def test_an_answer_without_what_was_asked_for_does_not_say_that_there_is_none(body: bytes) -> None:
    """As a proxy's: else the sink would begin a second run, or a second experiment."""
    from sightline.sinks.mlflow_stores import Server as Calls

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
    with bad_server("answers 500", answer) as (port, came):
        calls = Calls(f"http://127.0.0.1:{port}", 5)
        with pytest.raises(ConnectionError, match="expected"):
            calls.get("a" * 32)
        with pytest.raises(ConnectionError, match="expected"):
            calls.experiment("grpo")
    assert not any(request.startswith(b"POST") for request in came)


def test_a_run_and_an_experiment_that_are_not_there_are_told_from_trouble(server: Server) -> None:
    from sightline.sinks.mlflow_stores import Server as Calls

    calls = Calls(server.uri, 10)
    assert calls.get("a" * 32) is None
    assert calls.experiment("made now") == calls.experiment("made now")


def test_a_request_whose_answer_is_lost_makes_no_second_run(server: Server, tmp_path: Path) -> None:
    """The server creates the run, and the client does not hear of it."""
    from sightline.sinks.mlflow_stores import Server as Calls

    create, lost = Calls.create, []

    def create_unheard(self: Any, *arguments: Any) -> str:
        made = create(self, *arguments)
        if not lost:
            lost.append(made)
            raise ConnectionError("the answer is lost")
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Calls, "create", create_unheard)
        attempt(tmp_path, logger_to(server, tmp_path), 3)
    client = server.client()
    (found,) = runs_of(client, tmp_path)
    assert found.info.run_id == lost[0]
    assert seqs(client, found) == [1, 2, 3]


def test_the_next_attempt_goes_on_with_the_run_and_says_which_parameters_changed(
    server: Server, tmp_path: Path
) -> None:
    with attempts.warnings_said() as said:
        for lr, stop in ((0.1, 2), (0.2, 4)):
            attempt(tmp_path, logger_to(server, tmp_path), stop, config={"lr": lr, f"new_{stop}": 1})
    client = server.client()
    (found,) = runs_of(client, tmp_path)
    assert found.data.params == {"lr": "0.1", "new_2": "1", "new_4": "1"}
    assert found.data.tags["sightline.attempt"] == "2"
    assert seqs(client, found) == [1, 2, 3, 4]
    assert any("keeps the first values of parameters that have changed: lr" in each for each in said)


def test_one_parameter_that_is_refused_costs_no_other(server: Server, tmp_path: Path) -> None:
    """MLflow refuses all of a request for one; names as they come are no reason, here for the second time."""
    config = {
        "https://host/x": 1,
        "a": {"": 2, "..": 3},
        "b\n c": "x" * 9000,
        **{f"p{i}": i for i in range(120)},
    }
    from sightline.sinks.mlflow_stores import RefusedError
    from sightline.sinks.mlflow_stores import Server as Calls

    log = Calls.log

    def log_but_one(self: Any, run: str, metrics: Any, params: Any, tags: Any) -> None:
        if "p7" in params:
            raise RefusedError("p7 is refused")
        log(self, run, metrics, params, tags)

    with pytest.MonkeyPatch.context() as patch, attempts.warnings_said() as said:
        patch.setattr(Calls, "log", log_but_one)
        attempt(tmp_path, logger_to(server, tmp_path), 2, config=config)
    (found,) = runs_of(server.client(), tmp_path)
    others = {"https:/_/host/x": "1", "a.": "2", "a...": "3", "b_ c": "x" * 6000}
    assert found.data.params == others | {f"p{i}": str(i) for i in range(120) if i != 7}
    assert any("refuses 'p7', which is left out" in each for each in said)


def test_credentials_in_its_settings_do_not_reach_the_server(server: Server, tmp_path: Path) -> None:
    tags = {"team": "rl", "api_key": "hunter2", "from": "https://me:hunter2@host/x"}
    attempt(tmp_path, logger_to(server, tmp_path, tags=tags), 1)
    (found,) = runs_of(server.client(), tmp_path)
    shown = {name: found.data.tags[name] for name in tags}
    assert shown == {"team": "rl", "api_key": "[redacted]", "from": "https://me:[redacted]@host/x"}


def test_a_run_that_is_deleted_on_the_server_is_made_again(server: Server, tmp_path: Path) -> None:
    attempt(tmp_path, logger_to(server, tmp_path), 2)
    client = server.client()
    (first,) = runs_of(client, tmp_path)
    client.delete_run(first.info.run_id)
    attempt(tmp_path, logger_to(server, tmp_path), 4)
    (found,) = runs_of(client, tmp_path)
    assert found.info.run_id != first.info.run_id
    assert seqs(client, found) == [1, 2, 3, 4]


def test_a_run_that_fails_is_shown_as_failed(server: Server, tmp_path: Path) -> None:
    def fail() -> None:
        with start(tmp_path, logger_to(server, tmp_path)) as run:
            run.commit(0, {"loss": 1.0})
            assert run.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (found,) = runs_of(server.client(), tmp_path)
    assert found.info.status == "FAILED"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("rewind", ["continue", "fork", "skip"])
def test_a_rewound_run_is_shown_as_wanted(
    rewind: str, announced: bool, server: Server, tmp_path: Path
) -> None:
    rewound(tmp_path, logger_to(server, tmp_path, rewind=rewind), announced=announced)
    first = [(step, float(step)) for step in range(10)]
    again = [(step, 100.0 + step) for step in range(5, 12)]
    client = server.client()
    run, *forks = runs_of(client, tmp_path)
    losses = shown(client, run, "loss")
    if rewind == "continue":
        assert losses == [*first, *again]
        assert seqs(client, run) == list(range(1, 18))
    elif rewind == "skip":
        assert losses == [*first, *again[-2:]]
    else:
        assert losses == first
        (fork,) = forks
        assert fork.info.run_name == "run fork02"
        assert shown(client, fork, "loss") == [*first[:5], *again]


def test_what_mlflow_has_is_known_though_the_steps_went_back(server: Server, tmp_path: Path) -> None:
    """MLflow's latest value of a metric is the one of the highest step, not the one logged last."""
    logger = logger_to(server, tmp_path)
    _, states = attempt(tmp_path, logger, 10)
    run, _ = attempt(tmp_path, logger, 7, add=100.0, state_dict=states[4])
    assert run.dir is not None
    about = sl.SinkRun(str(run.logger.run_id), "run", run.dir, 3)
    assert MLflowSink(logger.mlflow).open(about) == commits(run.dir)[-1]["seq"] == 12


def test_without_an_address_there_is_a_database_in_the_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    for stop in (2, 4):
        run, _ = attempt(tmp_path, settings("mlflow"), stop)
    assert run.dir is not None
    client = MlflowClient(f"sqlite:///{run.dir}/mlflow.db")
    experiment = client.get_experiment_by_name("sightline")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert seqs(client, found) == [1, 2, 3, 4]
    assert shown(client, found, "loss") == attempts.series(run.dir, "loss")
    assert {path.name for path in tmp_path.iterdir()} == {"latest", "run"}


def test_what_is_missing_or_cannot_be_is_refused_at_start_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for its, said in (({"timeout_s": 0}, "timeout_s=0"), ({"rewind": "back"}, "rewind='back'")):
        with pytest.raises(sl.ConfigurationError, match=said):
            settings("mlflow", **its)
    monkeypatch.setattr("sightline.sinks.extras.find_spec", lambda name: None)
    with pytest.raises(sl.ConfigurationError, match=r"needs mlflow: pip install 'sightline\[mlflow\]'"):
        start(tmp_path, settings("mlflow"))
    monkeypatch.setattr(
        "sightline.sinks.extras.find_spec", lambda name: math.__spec__ if name == "mlflow" else None
    )
    with pytest.raises(sl.ConfigurationError, match="needs sqlalchemy: pip install 'mlflow'"):
        MLflowSink(sl.MLflowConfig(tracking_uri="sqlite:///x.db"))
    MLflowSink(sl.MLflowConfig(tracking_uri="http://127.0.0.1:1"))


def test_mlflows_telemetry_is_off() -> None:
    """Where it would be on otherwise: MLflow looks in the environment for tests and their machines too."""
    code = """
import os
from sightline.sinks.mlflow import MLflowSink
MLflowSink()
from mlflow.telemetry.utils import is_telemetry_disabled
with_sink = is_telemetry_disabled()
del os.environ["MLFLOW_DISABLE_TELEMETRY"]
print(with_sink, is_telemetry_disabled())
"""
    off = ("TELEMETRY", "PYTEST", "CI", "DO_NOT_TRACK", "BUILD", "RUNBOT", "CLOUD_RUN", "TRAVIS", "JENKINS")
    kept = {name: value for name, value in os.environ.items() if not any(word in name for word in off)}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, timeout=120)
    assert done.stdout == "True False\n", done.stderr
