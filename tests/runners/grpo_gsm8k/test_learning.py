"""The demo learns; every number that it claims can be computed again from what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runners.common.comparison import compare
from tests.runners.jobs import train


@pytest.mark.long
def test_grpo_answers_more_held_out_problems_than_the_warm_up(tmp_path: Path) -> None:
    outputs = [tmp_path / "p0", tmp_path / "p1"]
    for output in outputs:
        output.mkdir()
    run = train("grpo_gsm8k", outputs, timeout=1500)

    sweeps = json.loads((run.dir / "eval.json").read_text())
    before, after = np.array(sweeps["after_warmup"]), np.array(sweeps["after_grpo"])
    assert len(before) == len(after) >= 500
    comparison = compare(before, after)
    assert comparison.gain_low > 0
    assert sweeps["comparison"]["gain_low"] == comparison.gain_low

    steps = [line for line in run.journal() if "train/loss" in line["values"]]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert all(line["reported"] == 2 for line in steps)
    rewards = [line["values"]["train/reward/total/mean"] for line in steps]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5])
    full = [
        line["values"]["eval_full/accuracy/mean"]
        for line in run.journal()
        if "eval_full/split" in line.get("texts", {})
    ]
    np.testing.assert_allclose(full, [before.mean(), after.mean()])
