"""The demo learns; every number that it claims can be computed again from what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runners.common.comparison import compare
from runners.common.config import load
from runners.recommendation.config import load_dataset
from runners.recommendation.ranking import chance, hit_rate, popular, ranks
from runners.sid_sft.config import Config
from tests.runners.jobs import ROOT, train

DEMO = ROOT / "runners" / "sid_sft" / "configs" / "demo.yaml"


@pytest.mark.long
def test_the_model_finds_more_next_items_of_new_users_than_popularity_and_chance(tmp_path: Path) -> None:
    outputs = [tmp_path / "p0", tmp_path / "p1"]
    for output in outputs:
        output.mkdir()
    run = train("sid_sft", outputs, timeout=3000)

    dataset = load_dataset(load(Config, DEMO).data, seed=0)
    assert not set(dataset.test.users) & set(dataset.train.users)
    items, targets = len(dataset.catalogue), dataset.test.targets
    found = json.loads((run.dir / "eval.json").read_text())
    assert len(targets) == len(found["ranks"]["model"]) >= 500
    baseline = ranks(popular(dataset.train, items, dataset.test, 20), targets)
    comparison = compare(hit_rate(baseline, 10), hit_rate(np.array(found["ranks"]["model"]), 10))
    assert comparison.gain_low > 0.1
    assert comparison.after > 4 * chance(items, 10)[0]
    assert found["hr@10_over_popular"]["gain_low"] == comparison.gain_low
    assert found["invalid_predictions"] == 0

    steps = [line for line in run.journal() if "train/loss" in line["values"]]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert all(line["reported"] == 2 for line in steps)
    losses = [line["values"]["train/loss"] for line in steps]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:20])
    full = [line["values"] for line in run.journal() if "eval_full/hr@10" in line["values"]]
    assert full[-1]["eval_full/hr@10"] == pytest.approx(comparison.after)
