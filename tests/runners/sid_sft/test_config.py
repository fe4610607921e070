"""The configs in the repository load; `--print-config` says what would run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from runners.common.config import load, to_yaml
from runners.sid_sft.__main__ import main
from runners.sid_sft.config import Config, check_divisible
from tests.runners.sid_sft.conftest import SMOKE


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_the_configs_in_the_repository_load_and_survive_printing(name: str, tmp_path: Path) -> None:
    config = load(Config, SMOKE.with_name(f"{name}.yaml"))
    check_divisible(config, devices=4)
    (tmp_path / "printed.yaml").write_text(to_yaml(config))
    assert load(Config, tmp_path / "printed.yaml") == config


def test_print_config_prints_the_whole_config_with_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(SMOKE), "--set", "tasks.sid_to_title=0.5", "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["tasks"]["sid_to_title"] == 0.5
    assert printed["data"]["items"] == 80
    assert printed["sft"]["weight_decay"] == 0.01
