"""The demo learns; every number that it claims can be computed again from what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runners.common.comparison import compare
from runners.recommendation.ranking import hit_rate, ndcg
from tests.runners.jobs import train


@pytest.mark.long
def test_grpo_ranks_better_for_held_out_users_than_the_fine_tuning_did(tmp_path: Path) -> None:
    before_that, outputs = ([tmp_path / f"{stage}{i}" for i in range(2)] for stage in ("sft", "rl"))
    for output in (*before_that, *outputs):
        output.mkdir()
    start = train("sid_sft", before_that, timeout=2400)
    run = train("minionerec_rl", outputs, f"start.run={start.dir}", timeout=2400)

    result = json.loads((run.dir / "eval.json").read_text())
    before, after = (np.array(result["ranks"][name]) for name in ("before", "after"))
    assert len(before) == len(after) >= 500
    gain = compare(ndcg(before, 10), ndcg(after, 10))
    assert gain.gain_low > 0
    assert hit_rate(after, 10).mean() >= hit_rate(before, 10).mean()
    assert result["ndcg@10"]["gain_low"] == pytest.approx(gain.gain_low)
    assert result["invalid_predictions"] == 0

    steps = [line for line in run.journal() if "train/loss" in line["values"]]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert all(line["reported"] == 2 for line in steps)
    firsts = [line["values"]["train/pass@1"] for line in steps]
    half = len(firsts) // 2  # of 12,800 prompts each: of a few steps it says nothing
    assert np.mean(firsts[half:]) > np.mean(firsts[:half])
