"""Configs are strict, and `--print-config` says what would run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from runners.common.config import ConfigError, load, to_yaml
from runners.minionerec_rl.__main__ import main
from runners.minionerec_rl.config import Config, check_divisible, check_items
from tests.runners.minionerec_rl.conftest import SFT_SMOKE, SMOKE


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_the_configs_in_the_repository_load_and_survive_printing(name: str, tmp_path: Path) -> None:
    config = load(Config, SMOKE.with_name(f"{name}.yaml"))
    check_divisible(config, devices=2)
    check_items(config, config.data.items)
    (tmp_path / "printed.yaml").write_text(to_yaml(config))
    assert load(Config, tmp_path / "printed.yaml") == config


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_a_config_begins_with_what_the_fine_tuning_of_its_name_leaves_and_with_its_data(name: str) -> None:
    config, sft = (yaml.safe_load(c.with_name(f"{name}.yaml").read_text()) for c in (SMOKE, SFT_SMOKE))
    output = sft.get("output", {}).get("dir", "runs/sid_sft")
    assert config["start"]["run"] == f"{output}/latest"
    assert config["seed"] == sft["seed"]
    assert {**config["data"], "answer_tokens": sft["data"]["answer_tokens"]} == sft["data"]


def test_the_kl_term_weighs_by_default_what_it_weighs_in_the_demo() -> None:
    """With a fiftieth of it, the policy got worse (docs/log.md)."""
    assert Config().grpo.kl_beta == load(Config, SMOKE.with_name("demo.yaml")).grpo.kl_beta == 0.05


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grpo.group_sise=3", "unknown config key 'grpo.group_sise'. Did you mean 'group_size'?"),
        (
            "grpo.candidates=greedy",
            "config key 'grpo.candidates': found 'greedy', possible: 'beam', 'sample'",
        ),
        ("grpo.group_size=1", "grpo.group_size: expected at least 2, found 1"),
        ("grpo.temperature=0", "grpo.temperature: expected more than 0, found 0.0"),
        ("seed=-1", "seed: expected at least 0, found -1"),
        ("grpo.seed=-1", "grpo.seed: expected at least 0, found -1"),
        ("grpo.clip_high=-1", "grpo.clip_high: expected at least 0, found -1.0"),
        ("data.items=0", "data.items: expected at least 1, found 0"),
        ("grpo.kl_beta=-1", "grpo.kl_beta: expected at least 0, found -1.0"),
        ("eval.beams=10", "eval.beams: expected at least 20, found 10"),
    ],
)
def test_a_wrong_override_is_an_error_that_names_the_key_and_what_is_possible(
    override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(Config, None, [override])


def test_prompts_that_do_not_split_evenly_are_named_with_their_numbers() -> None:
    config = load(Config, None, ["grpo.prompts_per_step=12", "grpo.grad_accumulation=4"])
    check_divisible(config, devices=3)
    with pytest.raises(ConfigError, match=r"grpo.prompts_per_step: 12 prompts do not split evenly into 8"):
        check_divisible(config, devices=2)


def test_a_beam_cannot_be_wider_than_the_catalogue_and_draws_can() -> None:
    beam, sample = (
        load(Config, None, ["grpo.group_size=64", f"grpo.candidates={candidates}"])
        for candidates in ("beam", "sample")
    )
    check_items(sample, items=60)
    with pytest.raises(ConfigError, match=r"grpo.group_size: 64 is more than the 60 items"):
        check_items(beam, items=60)
    with pytest.raises(ConfigError, match=r"eval.beams: 20 is more than the 19 items"):
        check_items(sample, items=19)


def test_print_config_prints_the_whole_config_with_files_and_overrides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--config", str(SMOKE), "--set", "start.run=a b", "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["start"]["run"], printed["grpo"]["steps"]) == ("a b", 4)
    assert printed["grpo"]["candidates"] == "beam"
