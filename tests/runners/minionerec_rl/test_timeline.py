"""The timeline of a run shows which rollout each update trains on."""

from __future__ import annotations

from pathlib import Path

from tests.runners.jobs import Finished
from tests.runners.timelines import check_arrows


def test_arrows_lead_from_each_rollout_over_its_reward_to_its_update(
    one_process: Finished, tmp_path: Path
) -> None:
    check_arrows(one_process, tmp_path / "out.json", "train/rollout", "train/reward", "train/update")
