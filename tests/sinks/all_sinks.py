"""Every sink that there is on one run, and what each of them holds, by its own reader."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mlflow.tracking import MlflowClient

import sightline as sl
from sightline.sinks import Sink, make_sinks
from sightline.sinks.commits import values_of
from sightline.sinks.console import ConsoleSink
from sightline.sinks.prometheus import PrometheusSink
from sightline.sinks.wandb_file import rows as rows_in
from sightline.sinks.wandb_run import SEQ, run_files
from tests.sinks import attempts
from tests.sinks.attempts import commits
from tests.sinks.readers import jsonl, mlflow, prometheus, swanlab, tensorboard, trackio, wandb

STORING = ("jsonl", "mlflow", "swanlab", "tensorboard", "trackio", "wandb")
LINE = "step={step} loss={train/loss:.17g}"


class Held(NamedTuple):
    """What a back end holds of a run.

    Attributes:
        seqs: of all commits, in its order where it has one.
        series: by key: steps and values.
    """

    seqs: list[int]
    series: dict[str, list[tuple[int, float]]]


def settings(database: Path, *sinks: str) -> sl.StatsLoggerConfig:
    """With all sinks that are asked for by name, on this machine alone."""
    return sl.StatsLoggerConfig.from_dict(
        {
            "sinks": sinks,
            "naming": "off",
            "wandb": {"mode": "offline"},
            "mlflow": {"tracking_uri": f"sqlite:///{database}"},
            "console": {"format": LINE},
            "prometheus": {"port": 0},
        }
    )


def sinks_of(logger: sl.StatsLoggerConfig) -> dict[str, Sink]:
    """All of them; the console's lines go into memory, and Prometheus has a port of its own."""
    shown: list[Sink] = [
        ConsoleSink(logger.console, stream=io.StringIO()), PrometheusSink(logger.prometheus)
    ]  # fmt: skip
    return {sink.name: sink for sink in (*shown, *make_sinks(STORING, vars(logger)))}


def held(name: str, run: Path, database: Path) -> Held:
    """By the sink's own reader."""
    reader = {
        "jsonl": _jsonl, "swanlab": _swanlab, "tensorboard": _tensorboard, "trackio": _trackio,
        "wandb": _wandb,
    }.get(name)  # fmt: skip
    return reader(run) if reader is not None else _mlflow(run, database)


def check(run: Path | None, database: Path, names: tuple[str, ...] = STORING) -> None:
    """Each of these holds every commit of the journal once, with the journal's values."""
    assert run is not None
    expected = [commit["seq"] for commit in commits(run)]
    keys = {key for commit in commits(run) for key in commit["values"]}
    for name in names:
        found = held(name, run, database)
        assert found.seqs == expected, (name, found.seqs)
        for key in keys:
            series = attempts.series(run, key)
            if name == "tensorboard":  # which has 32 bits
                series = [(step, float(np.float32(value))) for step, value in series]
            if name == "jsonl":  # in which what is not finite is null
                series = [(step, value) for step, value in series if np.isfinite(value)]
            assert attempts.same(found.series.get(key, []), series), (name, key)


def check_console(run: Path | None, text: str) -> None:
    """Each commit has one line, in order."""
    found = re.findall(r"^step=(\d+) loss=(\S+)$", text, re.MULTILINE)
    assert [(int(step), float(loss)) for step, loss in found] == attempts.series(run, "train/loss")
    assert text.count("\n") == len(found)


def check_prometheus(run: Path | None, port: int) -> None:
    """A scrape shows the latest commit."""
    shown = prometheus.scraped(port)
    last = commits(run)[-1]
    assert shown["sightline_seq"][0] == last["seq"]
    assert shown["sightline_train_loss"][0] == values_of(last)["train/loss"]


def _series(rows: Iterator[tuple[int, dict[str, Any]]]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for step, row in rows:
        for key, value in row.items():
            if isinstance(value, (int, float)):
                found.setdefault(key, []).append((step, value))
    return found


def _jsonl(run: Path) -> Held:
    rows = jsonl.rows(run / "rows.jsonl")
    return Held([row["seq"] for row in rows], _series((row["step"], row) for row in rows))


def _tensorboard(run: Path) -> Held:
    folder = run / "tensorboard"
    shown = tensorboard.read(folder)
    series = {tag: tensorboard.numbers(shown, tag) for tag in shown.Tags()["scalars"]}
    return Held(tensorboard.seqs(folder), series)


def _wandb(run: Path) -> Held:
    rows = wandb.stored(run)
    for path in run_files(run, wandb.run_id(run)):  # W&B's reader agrees with ours
        ours = [row[SEQ] for row in rows_in(path)]
        assert [row["item"][SEQ] for row in wandb.seen_by_wandb(path, "history")] == ours
    return Held([row[SEQ] for row in rows], _series((row["step"], row) for row in rows))


def _swanlab(run: Path) -> Held:
    found = swanlab.experiment(run)
    return Held(sorted(found.seqs), found.series)  # files of one attempt have names without an order


def _trackio(run: Path) -> Held:
    rows = trackio.rows(run / "trackio")
    return Held(trackio.seqs(rows), _series((row["step"], row) for row in rows))


def _mlflow(run: Path, database: Path) -> Held:
    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("sightline")
    assert experiment is not None
    run_id = wandb.run_id(run)
    (stored,) = client.search_runs([experiment.experiment_id], f"tags.`sightline.run` = '{run_id}'")
    series = {key: mlflow.shown(client, stored, key) for key in stored.data.metrics}
    return Held([int(value) for _, value in series.pop(SEQ)], series)
