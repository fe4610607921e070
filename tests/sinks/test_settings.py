"""Settings of sinks that cannot be are refused where they are made, with the value and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.errors import ConfigurationError
from sightline.sinks.jsonl import JSONLConfig
from sightline.sinks.mlflow import MLflowConfig
from sightline.sinks.prometheus import PrometheusConfig
from sightline.sinks.swanlab import SwanLabConfig
from sightline.sinks.trackio import TrackioConfig


@pytest.mark.parametrize(
    ("make", "name", "value", "expected"),
    [
        (PrometheusConfig, "port", "9464", "an integer"),
        (PrometheusConfig, "port", True, "an integer"),
        (PrometheusConfig, "prefix", None, "text"),
        (MLflowConfig, "timeout_s", "10", "a number"),
        (MLflowConfig, "tracking_uri", 5, "text"),
        (sl.WandbConfig, "init_timeout_s", "x", "a number"),
        (sl.WandbConfig, "id", 5, "text"),
        (sl.WandbConfig, "system_metrics", "no", "true or false"),
        (TrackioConfig, "project", 5, "text"),
        (SwanLabConfig, "project", None, "text"),
        (sl.TensorBoardConfig, "dir", True, "text or a path"),
        (JSONLConfig, "path", 5, "text or a path"),
        (sl.ConsoleConfig, "interval", "1", "a number"),
    ],
)
def test_a_setting_of_another_type_is_refused(
    make: Callable[..., Any], name: str, value: Any, expected: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**{name: value})
    assert str(caught.value).endswith(f" {name}={value!r}: expected {expected}")


def test_settings_of_the_right_types_are_taken() -> None:
    assert MLflowConfig(timeout_s=10).timeout_s == 10
    assert JSONLConfig(path=Path("rows.jsonl")) != JSONLConfig(path="rows.jsonl")
    assert sl.WandbConfig(id="a", dir=None, system_metrics=True).id == "a"
