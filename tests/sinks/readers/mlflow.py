"""What MLflow holds of a run, as its client finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient


def runs_of(client: MlflowClient, experiment: Path) -> list[Any]:
    """The runs of an experiment, the oldest first."""
    found = client.get_experiment_by_name(experiment.name)
    if found is None:
        return []
    runs = client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])
    return [client.get_run(run.info.run_id) for run in runs]


def shown(client: MlflowClient, run: Any, key: str) -> list[tuple[int, float]]:
    """Steps and values, in the order of their times."""
    history = client.get_metric_history(run.info.run_id, key)
    return [(each.step, each.value) for each in sorted(history, key=lambda each: (each.timestamp, each.step))]


def seqs(client: MlflowClient, run: Any) -> list[int]:
    return [int(value) for _, value in shown(client, run, "sightline/seq")]
